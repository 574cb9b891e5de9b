"""Talks to a running control plane over its Unix socket.

Every answer has a deadline; a stream has one for its beginning, and then stays open until the control plane
closes it. Imports nothing that takes long, since `ctl status` has to answer at once.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, NamedTuple

from contracts.errors import ControlError, CoplaneError, NoControlPlane
from control_plane.cli.answer import Answer, BrokenAnswer

TIMEOUT_S = 15.0


class ServerSentEvent(NamedTuple):
    """One event of a stream; the data is parsed JSON."""

    id: str
    event: str
    data: Any


class ControlClient:
    """A client of the API on a socket; each call is a connection of its own. `home` is the runtime folder."""

    def __init__(self, path: Path, *, home: Path) -> None:
        self._path = path
        self._home = home

    def get(self, target: str) -> Any:
        """Return the JSON answer to a GET.

        Raises:
            NoControlPlane: nobody answers.
            CoplaneError: what the control plane refused, with its code.
        """
        with self._answer("GET", target) as answer:
            return json.loads(answer.read())

    def post(self, target: str, body: Any = None, *, timeout_s: float = TIMEOUT_S) -> Any:
        """Return the JSON answer to a POST; raises as `get` does."""
        with self._answer("POST", target, body=body, timeout_s=timeout_s) as answer:
            return json.loads(answer.read())

    def lines(self, target: str) -> Generator[dict[str, Any], None, None]:
        """Iterate over the JSON lines that answer a POST."""
        with self._answer("POST", target, stream=True) as answer:
            while line := _line(answer):
                if line.strip():
                    yield json.loads(line)

    def events(self, target: str) -> Generator[ServerSentEvent, None, None]:
        """Iterate over server-sent events; an event of the type `error` is raised."""
        with self._answer("GET", target, stream=True) as answer:
            fields: dict[str, str] = {}
            while line := _line(answer):
                name, _, value = line.rstrip("\n").partition(": ")
                if name in ("id", "event", "data"):
                    fields[name] = value
                elif not name and fields:
                    yield _event(fields)
                    fields = {}

    @contextmanager
    def _answer(
        self,
        method: str,
        target: str,
        *,
        body: Any = None,
        timeout_s: float = TIMEOUT_S,
        stream: bool = False,
    ) -> Generator[Answer, None, None]:
        connection = socket.socket(socket.AF_UNIX)
        try:
            connection.settimeout(timeout_s)
            connection.connect(str(self._path))
            connection.sendall(_request(method, target, body))
            answer = Answer(connection)
            if answer.status >= 400:
                raise _refusal(answer)
            if stream:
                connection.settimeout(None)
            yield answer
        except TimeoutError as exc:
            raise ControlError(
                f"the control plane did not answer within {timeout_s:g} s",
                fix=f"see control.log in {self._home / 'logs'}",
                code="E3004",
            ) from exc
        except (OSError, BrokenAnswer) as exc:
            raise self._nobody(exc) from exc
        finally:
            connection.close()

    def _nobody(self, cause: Exception) -> NoControlPlane:
        if isinstance(cause, FileNotFoundError | ConnectionRefusedError):
            return NoControlPlane(
                f"no control plane answers in {self._home}", fix="Start one with `ctl launch`"
            )
        return NoControlPlane(
            f"the control plane in {self._home} went away", why=str(cause), fix="See `ctl status`"
        )


def _request(method: str, target: str, body: Any) -> bytes:
    content = b"" if body is None else json.dumps(body).encode()
    head = (
        f"{method} {target} HTTP/1.1",
        "host: localhost",
        "content-type: application/json",
        f"content-length: {len(content)}",
    )
    return "\r\n".join((*head, "", "")).encode("ascii") + content


def _line(answer: Answer) -> str:
    return answer.readline().decode()


def _event(fields: dict[str, str]) -> ServerSentEvent:
    event = ServerSentEvent(
        fields.get("id", ""), fields.get("event", ""), json.loads(fields.get("data", "null"))
    )
    # What has an id is an entry of the event stream, and its type is whatever somebody wrote there.
    if event.event == "error" and not event.id:
        raise CoplaneError.from_dict(event.data)
    return event


def _refusal(answer: Answer) -> CoplaneError:
    text = answer.read().decode(errors="replace")
    try:
        return CoplaneError.from_dict(json.loads(text))
    except (ValueError, AttributeError):
        return ControlError(f"the control plane answered {answer.status}", why=text[:200], code="E3003")
