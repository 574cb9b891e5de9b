"""A real anchor for tests, and hosts that stand in for a backend's."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from contracts.specs import ComponentSpec, HostSpec, Mode, ReplicaSpec
from control_plane.runtime.anchor_client import AnchorClient
from control_plane.runtime.paths import RuntimeDir
from tests.support.wait import eventually, wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
ANSWER_TIMEOUT_S = 20.0


def anchor_above(hosts: Iterable[int]) -> int | None:
    """Return the parent that all these processes have in common, unless it is a fork of their image.

    Hosts can be ready before the process that forked them, a fork of their image, has ended.
    """
    parents = set()
    for pid in hosts:
        with contextlib.suppress(psutil.Error):
            parents.add(psutil.Process(pid).parent())
    parent = parents.pop() if len(parents) == 1 else None
    with contextlib.suppress(psutil.Error):
        return parent.pid if parent is not None and parent.name() != "ctl-image" else None
    return None


@dataclass
class Anchored:
    """One anchor in a runtime folder of its own."""

    runtime: RuntimeDir
    pid: int

    def spec(
        self, host: str, *, module: str = "sample", env: dict[str, str] | None = None, **config: Any
    ) -> HostSpec:
        """Return the spec of a stand-in host, for a component of this module."""
        component = ComponentSpec(name="sample", use=f"{module}:Sample", config=config, env=env or {})
        return HostSpec(
            id=host,
            label=host,
            app="test",
            mode=Mode.MULTI,
            bus_url="memory://",
            home=str(self.runtime.home),
            project=str(self.runtime.project),
            replicas=(ReplicaSpec(id=host, component=component),),
        )

    async def connect(self, *, epoch: int = 0) -> AnchorClient:
        """Take control."""
        return await AnchorClient.connect(
            self.runtime.anchor_socket, pid=os.getpid(), epoch=epoch, timeout_s=ANSWER_TIMEOUT_S
        )

    async def said(self, host: str, what: str = "started") -> dict[str, Any]:
        """Wait for what a stand-in host wrote down."""
        path = self.runtime.home / f"{host}.{what}.json"
        await eventually(path.exists, 10)
        content: dict[str, Any] = json.loads(path.read_text())
        return content

    def images(self) -> list[psutil.Process]:
        """Return the processes that the anchor forks hosts from."""
        found = []
        for child in psutil.Process(self.pid).children():
            with contextlib.suppress(psutil.NoSuchProcess):
                if child.name() == "ctl-image":
                    found.append(child)
        return found

    def log(self, name: str = "anchor.log") -> str:
        """Return what is in a log file so far."""
        path = self.runtime.logs / name
        return path.read_text() if path.exists() else ""

    def kill(self) -> None:
        """End the anchor as a crash would."""
        os.kill(self.pid, signal.SIGKILL)
        wait_until(lambda: gone(self.pid), 5)


@contextlib.contextmanager
def anchored(
    *, modules: dict[str, str] | None = None, env: dict[str, str] | None = None, **options: Any
) -> Iterator[Anchored]:
    """Start an anchor; afterwards end whatever is left of it.

    Args:
        modules: files of the project folder, to be preloaded, each as a component of that name.
    """
    with tempfile.TemporaryDirectory(prefix="ctl-anchor-") as folder:
        project = Path(folder)
        for name, source in (modules or {}).items():
            (project / f"{name}.py").write_text(source)
        given = {
            "app": "test",
            "project": folder,
            "preload": list(modules or {}),
            "host_entry": "tests.support.stand_in_host:run",
            "orphan_grace_s": 20.0,
            "stop_timeout_s": 5.0,
            **options,
        }
        started = subprocess.run(
            [sys.executable, "-m", "tests.support.start_anchor"],
            input=json.dumps(given),
            env={**os.environ, "PYTHONPATH": str(REPOSITORY), "PYTHONUNBUFFERED": "", **(env or {})},
            cwd=REPOSITORY,
            stdout=subprocess.PIPE,
            text=True,
            check=True,
            timeout=60,
        )
        runtime = RuntimeDir.locate(project, env or {})
        anchor = Anchored(runtime, int(started.stdout))
        try:
            yield anchor
        finally:
            for process in processes_in(runtime):
                with contextlib.suppress(psutil.Error):
                    process.kill()
            wait_until(lambda: not processes_in(runtime), 5)


def processes_in(runtime: RuntimeDir) -> list[psutil.Process]:
    """Return the living processes that work in the project of the runtime folder."""
    found = []
    for process in psutil.process_iter():
        with contextlib.suppress(psutil.Error, OSError):
            if process.status() != psutil.STATUS_ZOMBIE and process.cwd().startswith(str(runtime.project)):
                found.append(process)
    return found


def gone(pid: int) -> bool:
    """Tell whether a process is gone, or only waits to be reaped."""
    try:
        return psutil.Process(pid).status() == psutil.STATUS_ZOMBIE
    except psutil.NoSuchProcess:
        return True
