"""A real backend, launched by the real command, for end-to-end tests.

Every process it starts carries a mark in its environment, so that a test can prove that none is left.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import urllib.error
import urllib.request
import uuid
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import psutil

from tests.support.wait import wait_until

REPOSITORY = Path(__file__).resolve().parents[2]
DEMO = REPOSITORY / "ctl.toml"
MARK = "COPLANE_TEST_MARK"
LAST_LINES = 40


class Backend:
    """One launch of one configuration in a runtime folder of its own."""

    def __init__(self, config: Path = DEMO, *, env: Mapping[str, str] | None = None) -> None:
        self.config = config
        self.mark = uuid.uuid4().hex
        self.home = Path(tempfile.mkdtemp(prefix="ctl-e2e-", dir="/tmp"))
        self.env = {
            **os.environ,
            "CTL_HOME": str(self.home),
            "CTL_GATEWAY__PORT": "0",
            "CTL_CONTROL__PORT": "0",
            MARK: self.mark,
            **(env or {}),
        }
        self.launch: subprocess.Popen[str] | None = None

    # The command.

    def ctl(self, *args: str, timeout_s: float = 60.0) -> subprocess.CompletedProcess[str]:
        """Run `ctl` to its end."""
        return subprocess.run(
            [sys.executable, "-m", "control_plane.cli", *self._with_config(args)],
            env=self.env,
            capture_output=True,
            text=True,
            timeout=timeout_s,
            check=False,
            stdin=subprocess.DEVNULL,
        )

    def start(self, *args: str) -> Backend:
        """Run `ctl launch` in the background; its output goes to files in the runtime folder."""
        with open(self.home / "stdout.txt", "w") as out, open(self.home / "stderr.txt", "w") as err:
            self.launch = subprocess.Popen(
                [sys.executable, "-m", "control_plane.cli", *self._with_config(("launch", *args))],
                env=self.env,
                stdout=out,
                stderr=err,
                stdin=subprocess.DEVNULL,
                text=True,
                start_new_session=True,
            )
        return self

    def ctl_launch_detached(self, mode: str) -> dict[str, Any]:
        """Run `ctl launch --detach`, which returns when the backend is ready; return its status."""
        done = self.ctl("launch", "--detach", "--mode", mode)
        assert done.returncode == 0, f"exit {done.returncode}:\n{done.stdout}{done.stderr}"
        status = self.status()
        assert status is not None
        assert status["ready"], status
        return status

    def _with_config(self, args: tuple[str, ...]) -> list[str]:
        return [args[0], "--config", str(self.config), *args[1:]]

    @property
    def output(self) -> str:
        """What the launch has printed so far, both streams."""
        return (self.home / "stdout.txt").read_text() + (self.home / "stderr.txt").read_text()

    def told(self) -> str:
        """Return what helps where a test fails: output, status, processes, the ends of the logs."""
        parts = [f"the launch: {self.launch and self.launch.poll()}", self.output, str(self.status())]
        parts += [f"process {pid}: {command}" for pid, command in map(_described, self.processes())]
        for path in sorted((self.home / "logs").glob("*.log")):
            parts += [f"--- {path.name}", *path.read_text(errors="replace").splitlines()[-LAST_LINES:]]
        return "\n".join(parts)

    # Its state.

    def status(self) -> dict[str, Any] | None:
        """Return the status, or None while nobody answers."""
        done = self.ctl("status", "--json")
        return (
            json.loads(done.stdout)
            if done.stdout.strip().startswith("{") and '"components"' in done.stdout
            else None
        )

    def until_ready(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """Wait until the application is ready; return its status."""

        def ready() -> dict[str, Any] | None:
            if self.launch is not None and self.launch.poll() is not None:
                raise AssertionError(f"the launch ended with {self.launch.returncode}:\n{self.output}")
            status = self.status()
            return status if status and status["ready"] else None

        try:
            return wait_until(ready, timeout_s, every_s=0.1)
        except AssertionError as exc:
            raise AssertionError(f"{exc}\n{self.told()}") from exc

    def replica(self, replica_id: str) -> dict[str, Any]:
        """Return one replica's status."""
        status = self.status()
        assert status is not None, "no control plane answers"
        return next(r for c in status["components"] for r in c["replicas"] if r["id"] == replica_id)

    # Its end.

    def interrupt(self, *, number: int = signal.SIGINT, timeout_s: float = 60.0) -> int:
        """Send a signal to the launch, wait for its end, return its exit code."""
        assert self.launch is not None
        self.launch.send_signal(number)
        return self.launch.wait(timeout_s)

    def processes(self) -> list[psutil.Process]:
        """Return every living process that this backend started, at any depth.

        Valkey writes its title over its environment, so it is found through its command line.
        """
        return [process for process in psutil.process_iter() if self.is_ours(process)]

    def is_ours(self, process: psutil.Process) -> bool:
        """Tell whether this backend started a process, and it still lives."""
        try:
            if process.status() == psutil.STATUS_ZOMBIE:
                return False
            return process.environ().get(MARK) == self.mark or f"{self.home}/" in " ".join(process.cmdline())
        except psutil.Error:
            return False

    def named(self, name: str) -> set[int]:
        """Return the ids of the living processes with this name that the backend started, at any depth."""
        found = set()
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                if process.name() == name:
                    found.add(process.pid)
        return found

    def leftovers(self) -> list[str]:
        """Return what is still there: processes, sockets, temporary files."""
        processes = [f"process {pid}: {command}" for pid, command in map(_described, self.processes())]
        files = [
            str(path) for path in self.home.rglob("*") if path.is_socket() or path.suffix in {".pid", ".lock"}
        ]
        return processes + files

    def assert_nothing_left(self, timeout_s: float = 5.0) -> None:
        """Fail if anything is still there after `timeout_s`."""
        try:
            wait_until(lambda: not self.leftovers(), timeout_s, every_s=0.1)
        except AssertionError:
            raise AssertionError(f"left behind: {self.leftovers()}\n{self.told()}") from None

    def destroy(self) -> None:
        """Kill everything and remove the folder."""
        for process in self.processes():
            with contextlib.suppress(psutil.Error):
                process.kill()
        if self.launch is not None:
            self.launch.wait(10)
        shutil.rmtree(self.home, ignore_errors=True)


def _described(process: psutil.Process) -> tuple[int, str]:
    with contextlib.suppress(psutil.Error):
        return process.pid, " ".join(process.cmdline())
    return process.pid, "(has just ended)"


@contextlib.contextmanager
def backend(config: Path = DEMO, *, env: Mapping[str, str] | None = None) -> Iterator[Backend]:
    """Give a backend that is destroyed afterwards, whatever happened."""
    made = Backend(config, env=env)
    try:
        yield made
    finally:
        made.destroy()


def request(
    url: str,
    *,
    method: str = "GET",
    body: Any = None,
    headers: Mapping[str, str] | None = None,
    timeout_s: float = 10,
) -> tuple[int, dict[str, str], bytes]:
    """Send one HTTP request; return status, headers and body, whatever the status is."""
    data = None if body is None else json.dumps(body).encode()
    sent = {"content-type": "application/json", **(headers or {})}
    try:
        with urllib.request.urlopen(
            urllib.request.Request(url, data=data, method=method, headers=sent), timeout=timeout_s
        ) as answer:
            return answer.status, _titled(answer.headers), answer.read()
    except urllib.error.HTTPError as exc:
        return exc.code, _titled(exc.headers), exc.read()


def _titled(headers: Any) -> dict[str, str]:
    return {name.title(): value for name, value in headers.items()}


def write_story(base_url: str, story: Mapping[str, Any], *, timeout_s: float = 60.0) -> bytes:
    """Post a story, wait until it is finished, return its text."""
    status, headers, body = request(f"{base_url}/api/v1/stories", method="POST", body=story)
    assert status == 202, (status, body)
    location = base_url + headers["Location"] if headers["Location"].startswith("/") else headers["Location"]

    def finished() -> bool:
        status, _, body = request(location)
        assert status == 200, (status, body)
        return bool(json.loads(body)["status"] == "finished")

    wait_until(finished, timeout_s, every_s=0.1)
    return request(f"{location}/text")[2]
