"""Where a replica listens: `unix:///path` or `tcp://host:port`."""

from __future__ import annotations

from urllib.parse import urlsplit


class Address:
    """A parsed address; `path` is empty for TCP."""

    def __init__(self, text: str) -> None:
        parts = urlsplit(text)
        is_unix = parts.scheme == "unix"
        self.path = parts.path if is_unix else ""
        self.host = "localhost" if is_unix else parts.hostname or ""
        self.port = 80 if is_unix else parts.port or 80
