"""Logs of a host: JSON lines, one file a replica, written straight to the file and rotated.

A record belongs to the replica whose task, handler or request wrote it (a context variable says
which), or to the replica that its logger is named after; everything else belongs to the host.
"""

from __future__ import annotations

import contextlib
import json
import logging
import sys
import threading
from collections.abc import Iterator
from concurrent.futures.thread import _worker as _pool_worker
from contextvars import ContextVar
from datetime import UTC, datetime
from io import TextIOBase
from logging.handlers import RotatingFileHandler
from pathlib import Path
from typing import Any

from control_plane.runtime.losses import LOSSES

MAX_FILE_BYTES = 10_000_000
FILES_KEPT = 3
MAX_VALUE_CHARS = 16_384
# Not for the handlers of users' code: what we say, and what was printed.
OWN_LOGGERS = ("coplane", "stdout", "stderr")
OUR_PREFIXES = (*OWN_LOGGERS, "component.")

current_replica: ContextVar[str] = ContextVar("current_replica", default="")

_STANDARD = frozenset(vars(logging.makeLogRecord({}))) | {"message", "asctime", "taskName"}


class JsonLines(logging.Formatter):
    """One JSON object a line: at, level, component, replica, logger, message, extra fields, exc."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the record as JSON; what JSON cannot say is shown by its repr."""
        replica = getattr(record, "replica", "")
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "component": replica.rpartition("-")[0],
            "replica": replica,
            "logger": record.name,
            "message": record.getMessage()[:MAX_VALUE_CHARS],
        }
        line |= {key: value for key, value in vars(record).items() if key not in _STANDARD | set(line)}
        if record.exc_info:
            line["exc"] = self.formatException(record.exc_info)[-MAX_VALUE_CHARS:]
        return json.dumps(line, default=repr, ensure_ascii=False)


class ReplicaFiles(logging.Handler):
    """Writes each record to `{replica}.log`, and what belongs to no replica to `{label}.log`."""

    def __init__(self, folder: Path, label: str) -> None:
        super().__init__()
        self._folder = folder
        self._label = label
        self._files: dict[str, RotatingFileHandler] = {}
        self.setFormatter(JsonLines())

    def emit(self, record: logging.LogRecord) -> None:
        """Write the record; a full disk costs the line, not the backend."""
        replica = current_replica.get()
        if not replica and record.name.startswith("component."):
            replica = record.name.removeprefix("component.")
        record.replica = replica
        self._file(replica or self._label).handle(record)

    def _file(self, name: str) -> RotatingFileHandler:
        if name not in self._files:
            handler = _QuietFile(
                self._folder / f"{name}.log",
                maxBytes=MAX_FILE_BYTES,
                backupCount=FILES_KEPT,
                encoding="utf-8",
                errors="backslashreplace",
                delay=True,
            )
            handler.setFormatter(self.formatter)
            self._files[name] = handler
        return self._files[name]

    def close(self) -> None:
        """Close every file."""
        for handler in self._files.values():
            handler.close()
        super().close()


class _QuietFile(RotatingFileHandler):
    """A file whose failures are counted instead of printed; the next line is tried anew."""

    def doRollover(self) -> None:  # noqa: N802 - logging's own name
        """Put the file aside; where that fails it grows on, since its lines are worth more than its size."""
        try:
            super().doRollover()
        except OSError as exc:
            LOSSES.add(exc, lines=0)

    def handleError(self, record: logging.LogRecord) -> None:  # noqa: N802 - logging's own name
        """Count the lost line, and forget what is buffered: it would be written when it counts as lost."""
        LOSSES.add(sys.exc_info()[1])
        stream, self.stream = self.stream, None
        if stream is not None:
            with contextlib.suppress(OSError, ValueError):
                stream.buffer.raw.close()  # type: ignore[attr-defined]
                stream.close()


class _SharedRoot(logging.RootLogger):
    """The root logger where users' code has it: nothing is in the log twice.

    A handler for the console is muted: what it would print is in the log already, with its level and
    component. Others, for files above all, work as ever.
    """

    def addHandler(self, hdlr: logging.Handler) -> None:  # noqa: N802 - logging's own name
        """Add a handler of users' code."""
        _mute_console(hdlr)
        super().addHandler(hdlr)


def _mute_console(handler: logging.Handler) -> None:
    if type(handler) is logging.StreamHandler and handler.stream in _consoles():
        handler.addFilter(_nothing)


def _consoles() -> tuple[object, ...]:
    return (sys.stdout, sys.stderr, sys.__stdout__, sys.__stderr__)


def _nothing(_record: logging.LogRecord) -> bool:
    return False


_start_thread = threading.Thread.start


def _start_for_replica(thread: threading.Thread) -> None:
    """Start a thread that belongs to the replica which starts it; those of a pool work for anybody."""
    replica, run = current_replica.get(), thread.run
    if replica and getattr(thread, "_target", None) is not _pool_worker:

        def run_for_replica() -> None:
            current_replica.set(replica)
            run()

        thread.run = run_for_replica  # type: ignore[method-assign]
    _start_thread(thread)


class PrintsToLog(TextIOBase):
    """Stands in for stdout or stderr where replicas share the terminal's process."""

    def __init__(self, name: str) -> None:
        self._log = logging.getLogger(name)
        self._partial = ""
        self._writing = threading.local()

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, text: str) -> int:
        """Log every completed line; a line without end is cut at `MAX_VALUE_CHARS`.

        What a log handler prints of such a line would be logged again, and so on: it is left out.
        """
        if getattr(self._writing, "now", False):
            return len(text)
        self._writing.now = True
        try:
            self._take(text)
        finally:
            self._writing.now = False
        return len(text)

    def _take(self, text: str) -> None:
        *lines, self._partial = (self._partial + text).split("\n")
        if len(self._partial) > MAX_VALUE_CHARS:
            lines.append(self._partial)
            self._partial = ""
        for line in lines:
            if line.strip():
                self._log.info("%s", line.rstrip())

    def flush(self) -> None:
        """Log the line that has not ended."""
        if self._partial.strip():
            self._log.info("%s", self._partial)
        self._partial = ""


def configure(folder: Path, *, label: str, level: int = logging.INFO) -> ReplicaFiles:
    """Send every record of this process to files below `folder`.

    Returns:
        The handler, for `release`.
    """
    handler = ReplicaFiles(folder, label)
    root = logging.getLogger()
    root.__class__ = _SharedRoot
    for theirs in root.handlers:  # of modules that were imported before the fork
        _mute_console(theirs)
    if root.level == logging.WARNING:  # Python's default
        root.setLevel(level)
    put_above_root(handler, level=level)
    for name in OWN_LOGGERS:
        own = logging.getLogger(name)
        own.handlers[:], own.propagate = [handler], False
        own.setLevel(level)
    logging.captureWarnings(True)
    threading.Thread.start = _start_for_replica  # type: ignore[assignment, method-assign]
    return handler


def put_above_root(handler: logging.Handler, *, level: int = logging.INFO) -> None:
    """Let a handler have every record, and the root logger be for users' code to configure."""
    above = logging.Logger("log", level)
    above.addHandler(handler)
    logging.getLogger().parent = above


def assert_again() -> None:
    """Undo what users' code may have done to our loggers, as `logging.config.dictConfig` does by default."""
    for name, logger in logging.Logger.manager.loggerDict.items():
        if name.startswith(OUR_PREFIXES) and isinstance(logger, logging.Logger):
            logger.disabled = False


def release(handler: ReplicaFiles) -> None:
    """Undo `configure`."""
    logging.captureWarnings(False)
    threading.Thread.start = _start_thread  # type: ignore[method-assign]
    root = logging.getLogger()
    root.__class__ = logging.RootLogger
    root.parent = None
    for logger in map(logging.getLogger, OWN_LOGGERS):
        logger.removeHandler(handler)
        logger.propagate = True
    handler.close()


@contextlib.contextmanager
def prints_to_log() -> Iterator[None]:
    """Send what components print into the log, where hosts share their process with the launcher."""
    with contextlib.redirect_stdout(PrintsToLog("stdout")), contextlib.redirect_stderr(PrintsToLog("stderr")):
        yield
