"""Starts an anchor as a launcher does, says what came of it, and goes: for tests, in a process of its own."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path

from control_plane.runtime.anchor import AnchorOptions, start_anchor
from control_plane.runtime.paths import RuntimeDir
from control_plane.runtime.ports import bind_public


def main() -> None:
    """Read options as JSON on standard input; with `"public_fds": [0]`, bind a port for it."""
    given = json.load(sys.stdin)
    runtime = RuntimeDir.open(Path(given["project"]), os.environ)
    public = bind_public("127.0.0.1", 0) if "public_fds" in given else None
    given |= {"home": str(runtime.home), "sockets": str(runtime.sockets)}
    if public is not None:
        given["public_fds"] = [public.fileno()]
    with runtime.acquire_lock():
        print(start_anchor(AnchorOptions.model_validate(given)))


if __name__ == "__main__":
    main()
