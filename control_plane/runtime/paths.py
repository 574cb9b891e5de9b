"""The runtime folder: where one launch keeps its sockets, logs and data.

Stale files are cleaned, never refused: whether a socket is in use is asked of the socket, and whether a
launch is running is asked of the lock. Logs and data outlive a launch, everything else goes with it.
Imports contracts.errors and what is quick to load, since `ctl status` needs the paths too; what only a
launch needs loads where it is used.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
import stat
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import NamedTuple

from contracts.errors import LaunchError

FOLDER_NAME = ".ctl"
# sockaddr_un.sun_path is 108 bytes on Linux and 104 elsewhere, with the closing NUL.
SOCKET_PATH_BYTES = 107 if sys.platform == "linux" else 103
SOCKET_NAME_BYTES = 48


class RuntimeDir(NamedTuple):
    """The paths of one runtime folder; `sockets` is `home`, or a short folder where that is too long."""

    home: Path
    project: Path
    sockets: Path

    @classmethod
    def locate(cls, project: Path, environ: Mapping[str, str]) -> RuntimeDir:
        """Return the paths without creating anything. `CTL_HOME` overrides `.ctl` in the project."""
        project = project.resolve()
        home = project / (environ.get("CTL_HOME") or FOLDER_NAME)
        fits = len(os.fsencode(home)) + 1 + SOCKET_NAME_BYTES <= SOCKET_PATH_BYTES
        return cls(home, project, home if fits else _short_folder(home, environ))

    @classmethod
    def open(cls, project: Path, environ: Mapping[str, str]) -> RuntimeDir:
        """Return the paths after creating the folders, for our eyes only.

        Raises:
            LaunchError: a folder cannot be created or written to, or is not ours alone (E2007).
        """
        runtime = cls.locate(project, environ)
        for folder in dict.fromkeys((runtime.home, runtime.sockets, runtime.logs, runtime.data)):
            _make_private(folder)
        return runtime

    @property
    def control_socket(self) -> Path:
        """Where the control plane's API listens."""
        return self.sockets / "control.sock"

    @property
    def anchor_socket(self) -> Path:
        """Where the anchor takes orders."""
        return self.sockets / "anchor.sock"

    @property
    def bus_socket(self) -> Path:
        """Where the embedded Valkey listens."""
        return self.sockets / "bus.sock"

    def host_socket(self, host: str) -> Path:
        """Return where a host listens; a long id is replaced by its hash."""
        name = f"h-{host}.sock"
        if len(name) > SOCKET_NAME_BYTES:
            name = f"h-{_digest(host.encode())[:24]}.sock"
        return self.sockets / name

    @property
    def logs(self) -> Path:
        """The folder of log files; it outlives the launch."""
        return self.home / "logs"

    @property
    def data(self) -> Path:
        """The folder of the embedded Valkey's append-only file; it outlives the launch."""
        return self.home / "data"

    @property
    def token(self) -> Path:
        """The file with the token for the API over TCP."""
        return self.home / "token"

    @property
    def leader(self) -> Path:
        """The file that tells this folder from a copy; launches of one folder inherit the leader's lease."""
        return self.home / "leader"

    @property
    def lock(self) -> Path:
        """The file that a running launch holds locked."""
        return self.home / "launch.lock"

    @contextlib.contextmanager
    def acquire_lock(self) -> Iterator[None]:
        """Hold the folder for this launch; the kernel lets go of it if we die.

        Raises:
            LaunchError: another launch holds it (E2006), or the folder has become unusable (E2007).
        """
        fd = self._locked_file()
        try:
            os.ftruncate(fd, 0)
            os.pwrite(fd, f"{os.getpid()}\n".encode(), 0)
            # The launch before us may have removed it after we had opened the folder.
            _make_private(self.sockets)
            yield
        finally:
            # Unlinked while still locked: whoever waits for this file then finds that it has no name.
            self.lock.unlink(missing_ok=True)
            os.close(fd)

    def _locked_file(self) -> int:
        while True:
            fd = os.open(self.lock, os.O_RDWR | os.O_CREAT, 0o600)
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except OSError as exc:
                holder = os.pread(fd, 32, 0).decode().strip()
                os.close(fd)
                raise self._occupied(holder) from exc
            if _same_file(fd, self.lock):
                return fd
            os.close(fd)

    def _occupied(self, holder: str) -> LaunchError:
        return LaunchError(
            f"a launch is already running in {self.home}",
            why=f"process {holder} holds {self.lock.name}" if holder else f"{self.lock.name} is held",
            fix="stop it with `ctl stop`, or set CTL_HOME to another folder",
            code="E2006",
        )

    def anchor_alive(self) -> bool:
        """Tell whether an anchor answers on its socket."""
        return _somebody_listens(self.anchor_socket)

    def clean_stale(self) -> None:
        """Remove the sockets on which nobody listens any more."""
        for path in self.sockets.glob("*.sock"):
            if path.is_socket() and not _somebody_listens(path):
                path.unlink(missing_ok=True)

    def remove_ephemeral(self) -> None:
        """Remove what must not outlive a launch; call it while holding the lock.

        What an anchor or a host still listens on is theirs, and stays.
        """
        self.control_socket.unlink(missing_ok=True)
        self.clean_stale()
        if self.sockets != self.home:
            with contextlib.suppress(OSError):
                self.sockets.rmdir()


def _short_folder(home: Path, environ: Mapping[str, str]) -> Path:
    digest = _digest(os.fsencode(home))[:12]
    session = environ.get("XDG_RUNTIME_DIR", "")
    if session and len(os.fsencode(session)) <= SOCKET_PATH_BYTES - SOCKET_NAME_BYTES - len(
        f"/ctl-{digest}/"
    ):
        return Path(session) / f"ctl-{digest}"
    return Path("/tmp") / f"ctl-{os.geteuid()}-{digest}"


def _digest(name: bytes) -> str:
    import hashlib

    return hashlib.sha256(name).hexdigest()


def _make_private(folder: Path) -> None:
    import tempfile

    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        info = folder.lstat()
        if stat.S_ISLNK(info.st_mode) and folder.parent == Path("/tmp"):
            raise _unusable(folder, "it is a symbolic link in a folder that others write to")
        info = folder.stat()
        if info.st_uid != os.geteuid():
            raise _unusable(folder, f"it belongs to user {info.st_uid}, not to {os.geteuid()}")
        if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
            raise _unusable(folder, "other users may write to it")
        # Access bits do not tell of a read-only or full disk; a file does.
        tempfile.TemporaryFile(dir=folder).close()
    except OSError as exc:
        raise _unusable(folder, exc.strerror or str(exc)) from exc


def _unusable(folder: Path, why: str) -> LaunchError:
    return LaunchError(
        f"the runtime folder {folder} cannot be used",
        why=why,
        fix="set CTL_HOME to a folder of your own that you may write to",
        code="E2007",
    )


def _same_file(fd: int, path: Path) -> bool:
    """Tell whether the path still names the open file: its last holder may have unlinked it meanwhile."""
    try:
        return os.path.samestat(os.fstat(fd), path.stat())
    except FileNotFoundError:
        return False


def _somebody_listens(path: Path) -> bool:
    import socket

    with socket.socket(socket.AF_UNIX) as probe:
        probe.setblocking(False)
        try:
            probe.connect(str(path))
        except OSError as exc:
            # A full backlog is a listener too, if a busy one.
            return exc.errno in {errno.EAGAIN, errno.EINPROGRESS}
    return True
