"""Whole applications below prefixes, in one table that is swapped as a whole and never edited."""

from __future__ import annotations

from collections.abc import Mapping

from contracts.component import AsgiApp, Receive, Scope, Send
from control_plane.runtime.problem import send_problem


class MountTable:
    """Answers with the application whose prefix is the longest that fits, on path segments."""

    def __init__(self, apps: Mapping[str, AsgiApp]) -> None:
        by_length = sorted(apps.items(), key=lambda item: len(item[0]), reverse=True)
        self._mounts = [(prefix.rstrip("/"), app) for prefix, app in by_length]

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass the request on, with the prefix as `root_path`, as ASGI mounts do."""
        path: str = scope["path"]
        for prefix, app in self._mounts:
            if not prefix:
                await app(scope, receive, send)
                return
            if path == prefix or path.startswith(prefix + "/"):
                await app(_below(scope, prefix), receive, send)
                return
        await send_problem(scope, send, 404, "Not Found", code="E5014", detail=f"nothing is mounted at {path}")


def _below(scope: Scope, prefix: str) -> Scope:
    # The bare prefix means the application's root: without the slash it would answer with a redirect.
    path = scope["path"] if scope["path"] != prefix else prefix + "/"
    return {**scope, "path": path, "root_path": scope.get("root_path", "") + prefix}
