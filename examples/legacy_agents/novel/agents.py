"""Ten agents. Each blocks in `start()` until `stop()` is called; one of them is easily upset."""

import asyncio
import logging
import signal
import threading
import time

from novel import settings

log = logging.getLogger("novel")


class Agent:
    def __init__(self, name):
        self.name = name
        self.is_running = False
        self.ticks = 0

    async def start(self):
        """Work until somebody says stop."""
        self._install_signal_handlers()
        self.is_running = True
        log.info("%s agent is at work, in a %s tone", self.name, settings.TONE)
        while self.is_running:
            self.ticks += 1
            await asyncio.sleep(settings.TICK_S)
        log.info("%s agent has left after %d ticks", self.name, self.ticks)

    async def stop(self):
        self.is_running = False

    def health_check(self):
        return {"status": "ok" if self.is_running else "resting", "ticks": self.ticks}

    def _install_signal_handlers(self):
        """What a script of one agent needs, and what a shared process could do without."""
        if threading.current_thread() is threading.main_thread():
            signal.signal(signal.SIGTERM, self._on_signal)
            signal.signal(signal.SIGINT, self._on_signal)

    def _on_signal(self, number, _frame):
        print(f"{self.name}: signal {number}", flush=True)
        self.is_running = False


class FactChecker(Agent):
    """It still does its work in blocking calls."""

    def start(self):
        self.is_running = True
        while self.is_running:
            self.ticks += 1
            time.sleep(settings.TICK_S)

    def stop(self):
        self.is_running = False


class Critic(Agent):
    """It fails on its third look at the text."""

    async def start(self):
        self.is_running = True
        for _ in range(3):
            self.ticks += 1
            await asyncio.sleep(settings.TICK_S)
        raise RuntimeError("the critic cannot bear it any longer")
