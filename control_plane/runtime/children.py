"""Child processes of a single-threaded parent: forks hosts and programs, ends groups, reaps.

Every child leads a process group of its own, so that it can be ended with what it started. What leaves that
group (a session of its own) stays below the nearest subreaper (Linux): its host, and after that the anchor.
Nothing here knows of sockets or messages.
"""

from __future__ import annotations

import atexit
import contextlib
import ctypes
import functools
import importlib
import os
import signal
import sys
import tempfile
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

import psutil

from contracts.specs import HostSpec
from control_plane.runtime.losses import LOSSES, forgive_output

MAX_OUTPUT_BYTES = 10_000_000
FAILED = 1
MAX_REASON_CHARS = 100
MAX_LINE_BYTES = 4 * MAX_REASON_CHARS + 1
END_TIMEOUT_S = 5.0
END_PAUSE_S = 0.005
PR_SET_PDEATHSIG = 1
PR_SET_NAME = 15
PR_SET_CHILD_SUBREAPER = 36
_THREADS = "/proc/self/task"
CAUGHT = (signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD)


@dataclass(frozen=True)
class Ended:
    """A child that was reaped: with an exit code, or killed by a signal."""

    pid: int
    exit_code: int | None
    signal: int | None


@dataclass(frozen=True)
class HostEntry:
    """What a host runs: `function(spec) -> exit code`, or the module with the spec on standard input."""

    module: str
    function: str

    @classmethod
    def parse(cls, entry: str) -> HostEntry:
        """Read "module:function"."""
        module, _, function = entry.partition(":")
        return cls(module, function)

    def run(self, spec: HostSpec) -> int:
        """Run the host in this process until its end."""
        code: int = getattr(importlib.import_module(self.module), self.function)(spec)
        return code


def fork_host(spec: HostSpec, entry: HostEntry, *, release: Callable[[], None]) -> int:
    """Fork a host from this process's image; `release` closes there what belongs to the parent."""

    def run() -> int:
        release()
        adopt_orphans()
        LOSSES.reset()
        redirect(Path(spec.home) / "logs" / f"{spec.label}.out.log")
        _name_process(spec.label)
        return entry.run(spec)

    return _fork(run)


def fork_companion(run: Callable[[], int], *, name: str) -> int:
    """Fork a process that goes on from here with `run`, and is killed when this one dies (Linux)."""
    parent = os.getpid()

    def begin() -> NoReturn:
        code = FAILED
        try:
            _die_with_parent(parent, signal.SIGKILL)
            _name_process(name)
            code = run()
        except BaseException:  # the end of the process: there is nobody above to raise it to
            traceback.print_exc()
        finally:
            os._exit(code)  # exit functions are for those who go on from here

    return _fork(begin)


def spawn_host(spec: HostSpec, entry: HostEntry) -> int:
    """Start a host in a new interpreter, where a fork without exec is not safe."""
    output = Path(spec.home) / "logs" / f"{spec.label}.out.log"
    with tempfile.TemporaryFile() as stdin:
        stdin.write(spec.model_dump_json().encode())
        stdin.seek(0)
        return fork_program(
            [sys.executable, "-P", "-m", entry.module],
            output=output,
            stdin=stdin.fileno(),
            keep_fds=tuple(fd for fd in (spec.lifeline_fd, *spec.public_fds) if fd is not None),
            adopts=True,
        )


def give_away(makes: Sequence[Callable[[Callable[[], None]], int]]) -> list[int | str]:
    """Have children made by a process that ends at once, so that the nearest subreaper is their parent.

    Args:
        makes: each makes one and returns its process id; in the child it calls what it is given, which closes
            there what is not the child's.

    Returns:
        For each the process id, or why there is none. Their parent is the subreaper by now.

    Raises:
        OSError: the process between could not be made.
    """
    reading, writing = os.pipe()

    def close() -> None:
        os.close(reading)
        os.close(writing)

    def run() -> NoReturn:
        for make in makes:
            try:
                said = str(make(close))
            except OSError as exc:
                said = f"! {exc}"[:MAX_REASON_CHARS]
            os.write(writing, f"{said}\n".encode())
        os._exit(0)

    try:
        between = _fork(run)
        with contextlib.suppress(ChildProcessError):  # where somebody else reaps whatever ends
            os.waitpid(between, 0)
        told = _what_is_there(reading, max_bytes=len(makes) * MAX_LINE_BYTES).splitlines()
    finally:
        close()
    told += ["! the process that was to make it has died"] * (len(makes) - len(told))
    return [int(said) if said.isdigit() else said.removeprefix("! ") for said in told]


def _what_is_there(pipe: int, *, max_bytes: int) -> str:
    os.set_blocking(pipe, False)
    with contextlib.suppress(BlockingIOError):
        return os.read(pipe, max_bytes).decode()
    return ""


def fork_program(
    command: list[str],
    *,
    output: Path,
    stdin: int | None = None,
    keep_fds: tuple[int, ...] = (),
    environment: dict[str, str] | None = None,
    dies_with_parent: bool = False,
    adopts: bool = False,
) -> int:
    """Start a program with its output appended to a file, and no other file of ours open.

    Args:
        adopts: it becomes the parent of what its children leave behind.
    """
    parent = os.getpid()

    def run() -> NoReturn:
        if adopts:
            adopt_orphans()
        if dies_with_parent:
            _die_with_parent(parent, signal.SIGTERM)
        redirect(output, stdin=stdin)
        for fd in keep_fds:
            os.set_inheritable(fd, True)
        _exec(command, {**os.environ, **(environment or {})})

    return _fork(run)


def _exec(command: list[str], environment: dict[str, str]) -> NoReturn:
    try:
        os.execve(command[0], command, environment)
    except OSError:
        traceback.print_exc()
        os._exit(FAILED)


def flush_output() -> None:
    """Write out what is buffered, lest a fork copies it and it is written twice."""
    sys.stdout.flush()
    sys.stderr.flush()


def _fork(run: Callable[[], int]) -> int:
    flush_output()
    # Until the child has undone our handlers, a signal to it would be written into our own wake-up socket.
    before = signal.pthread_sigmask(signal.SIG_BLOCK, CAUGHT)
    try:
        pid = os.fork()
        if pid == 0:
            _live_as_child(run)
    finally:
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
    # Both sides set the group, so that it exists for whoever comes first.
    with contextlib.suppress(OSError):
        os.setpgid(pid, pid)
    return pid


def _live_as_child(run: Callable[[], int]) -> NoReturn:
    """Run to the end without ever returning into the parent's frames."""
    code = FAILED
    try:
        os.setpgid(0, 0)
        reset_signals()
        code = run()
    except SystemExit as exc:
        code = exc.code if isinstance(exc.code, int) else FAILED if exc.code else 0
    except BaseException:  # the end of the process: there is nobody above to raise it to
        traceback.print_exc()
    finally:
        _end_process(code)


def _end_process(code: int) -> NoReturn:
    """End as any interpreter does, but for threads that are left: they are cut off, not waited for."""
    try:
        atexit._run_exitfuncs()
        flush_output()
    finally:
        os._exit(code)


def reset_signals() -> None:
    """Undo what this process, or the one it was forked from, arranged for signals."""
    signal.set_wakeup_fd(-1)
    for number in (*CAUGHT, signal.SIGINT):
        signal.signal(number, signal.SIG_DFL)
    signal.pthread_sigmask(signal.SIG_SETMASK, [])


def redirect(output: Path, *, stdin: int | None = None) -> None:
    """Send standard output and error to a file, and take standard input from `stdin` or nowhere."""
    source = os.open(os.devnull, os.O_RDONLY) if stdin is None else stdin
    os.dup2(source, 0)
    os.close(source)
    target = open_output(output)
    os.dup2(target, 1)
    os.dup2(target, 2)
    os.close(target)
    forgive_output()


def open_output(path: Path) -> int:
    """Open a file to append to; a large one is put aside as `.1` first. Without room for it, open nothing."""
    with contextlib.suppress(OSError):
        if path.stat().st_size > MAX_OUTPUT_BYTES:
            path.replace(path.with_name(path.name + ".1"))
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as exc:
        LOSSES.add(exc)
        return os.open(os.devnull, os.O_RDWR)


# Ends.


def reap() -> Iterator[Ended]:
    """Yield every child that has ended, those that we adopted included."""
    while True:
        try:
            pid, status = os.waitpid(-1, os.WNOHANG)
        except ChildProcessError:
            return
        if pid == 0:
            return
        code = os.waitstatus_to_exitcode(status)
        yield Ended(pid, code, None) if code >= 0 else Ended(pid, None, -code)


def kill_group(leader: int) -> None:
    """Kill a child and everything in its group.

    Once is enough: the kernel signals all members at once, and none of them can fork after that.
    """
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(leader, signal.SIGKILL)


def kill(pid: int) -> None:
    """Kill a process that is no child of ours by birth, and its group if it leads one."""
    kill_group(pid)
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.kill(pid, signal.SIGKILL)


def child_pids() -> set[int]:
    """Return our children, those that we adopted and those that wait to be reaped included."""
    return {child.pid for child in psutil.Process().children()}


def _has_no_children() -> bool:
    """Tell so without a look at every process; False where the system has no list of them (Linux has)."""
    try:
        return not any(Path(_THREADS, thread, "children").read_bytes() for thread in os.listdir(_THREADS))
    except OSError:  # another system, or a thread has just ended
        return False


@contextlib.contextmanager
def leaving_nothing() -> Iterator[None]:
    """End whatever this process starts in the block, in sessions of their own too."""
    before = set() if _has_no_children() else child_pids()
    adopt_orphans()
    try:
        yield
    finally:
        _end_children(kept=before)
        adopt_orphans(wanted=False)


def _end_children(*, kept: set[int]) -> None:
    """Kill our children until there are no others than `kept`: those of a killed child become ours."""
    deadline_s = time.monotonic() + END_TIMEOUT_S
    kept = kept | _trackers()
    while (found := child_pids() - kept) and time.monotonic() < deadline_s:
        for pid in found:
            kill(pid)
            with contextlib.suppress(ChildProcessError):
                os.waitpid(pid, os.WNOHANG)
        time.sleep(END_PAUSE_S)


def _trackers() -> set[int]:
    """Return multiprocessing's helper: it removes shared memory after our end, and then ends by itself."""
    module = sys.modules.get("multiprocessing.resource_tracker")
    pid = getattr(getattr(module, "_resource_tracker", None), "_pid", None)
    return set() if pid is None else {pid}


def kill_descendants() -> bool:
    """Kill whatever else descends from this process; tell whether there was anything."""
    found = psutil.Process().children(recursive=True)
    for process in found:
        with contextlib.suppress(psutil.Error):
            process.kill()
    return bool(found)


def adopt_orphans(*, wanted: bool = True) -> None:
    """Become the parent of what our children leave behind, sessions of their own included (Linux).

    It outlasts an exec, and is not inherited by children.
    """
    if sys.platform == "linux":
        _prctl(PR_SET_CHILD_SUBREAPER, int(wanted))


def _die_with_parent(parent: int, number: signal.Signals) -> None:
    if sys.platform == "linux":
        _prctl(PR_SET_PDEATHSIG, number)
    if os.getppid() != parent:
        os._exit(FAILED)


def _name_process(name: str) -> None:
    """Give the process a name of its own in `top` and `ps` (Linux, 15 characters)."""
    if sys.platform == "linux":
        _prctl(PR_SET_NAME, ctypes.c_char_p(name.encode()))


@functools.cache
def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _prctl(option: int, value: int | ctypes.c_char_p) -> None:
    argument = ctypes.c_ulong(value) if isinstance(value, int) else value
    if _libc().prctl(option, argument, 0, 0, 0) != 0:
        raise OSError(ctypes.get_errno(), "prctl")
