"""The launcher that this backend has always had: `python -m novel.launcher`."""

import asyncio
import logging
import sys

from novel.agents import Agent, Critic, FactChecker

AGENTS = {
    "director": Agent,
    "worldbuilder": Agent,
    "character_expert": Agent,
    "outliner": Agent,
    "plotmaster": Agent,
    "writer": Agent,
    "rewriter": Agent,
    "worldsmith": Agent,
    "fact_checker": FactChecker,
    "critic": Critic,
}


def configure_logging():
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(message)s"))
    logging.basicConfig(level=logging.INFO, handlers=[handler], force=True)


class AgentLauncher:
    def __init__(self):
        configure_logging()
        self.agents = {}

    def load_agents(self, names):
        for name in names:
            self.agents[name] = AGENTS[name](name)

    async def start_all(self):
        await asyncio.gather(*(asyncio.ensure_future(_started(agent)) for agent in self.agents.values()))

    async def stop_all(self):
        for agent in self.agents.values():
            stopping = agent.stop()
            if stopping is not None:
                await stopping


async def _started(agent):
    if asyncio.iscoroutinefunction(agent.start):
        await agent.start()
    else:
        await asyncio.to_thread(agent.start)


if __name__ == "__main__":
    launcher = AgentLauncher()
    launcher.load_agents(sys.argv[1:] or list(AGENTS))
    asyncio.run(launcher.start_all())
