"""Binds public TCP sockets, and explains why one cannot be bound."""

from __future__ import annotations

import errno
import os
import socket

import psutil

from contracts.errors import LaunchError
from contracts.specs import Settings

BACKLOG = 2048
COMMAND_CHARS = 120


def bind_public(host: str, port: int) -> socket.socket:
    """Return a listening socket. Port 0 takes any free port; an IPv6 address needs no brackets.

    Raises:
        LaunchError: the address cannot be bound (E2001): by whom it is taken, where that can be known.
    """
    try:
        family = socket.getaddrinfo(host or None, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)[0][
            0
        ]
        return socket.create_server((host, port), family=family, backlog=BACKLOG)
    except OSError as exc:
        raise _cannot_listen(host, port, exc) from exc


def bind_all(settings: Settings) -> list[socket.socket]:
    """Return the gateway's sockets: the one for all components, and those that are for one alone.

    Raises:
        LaunchError: an address cannot be bound (E2001).
    """
    gateway = settings.gateway
    bound: list[socket.socket] = []
    try:
        for port in (gateway.port, *settings.listeners):
            bound.append(bind_public(gateway.host, port))
    except LaunchError:
        for sock in bound:
            sock.close()
        raise
    return bound


def url_of(listener: socket.socket) -> str:
    """Return the HTTP address of a listening TCP socket."""
    host, port = listener.getsockname()[:2]
    return f"http://[{host}]:{port}" if ":" in host else f"http://{host}:{port}"


def _cannot_listen(host: str, port: int, exc: OSError) -> LaunchError:
    if exc.errno == errno.EADDRINUSE:
        return LaunchError(
            f"port {port} on {host} is taken",
            why=_holder(port),
            fix="stop that process, or choose another port (0 takes any free one)",
            code="E2001",
        )
    if exc.errno in {errno.EACCES, errno.EPERM}:
        return LaunchError(
            f"no permission to listen on port {port}",
            why="ports below 1024 are reserved for the superuser",
            fix="choose a port from 1024 on",
            code="E2001",
        )
    return LaunchError(
        f"cannot listen on {host}:{port}",
        why=exc.strerror or str(exc),
        fix="check the host: it must be a name or address of this machine",
        code="E2001",
    )


def _holder(port: int) -> str:
    """Say who listens on the port; processes of other users do not show."""
    try:
        holders = {
            connection.pid
            for connection in psutil.net_connections(kind="tcp")
            if connection.status == psutil.CONN_LISTEN and connection.laddr and connection.laddr.port == port
        }
        return "; ".join(_describe(pid) for pid in sorted(pid for pid in holders if pid is not None))
    except psutil.Error:
        return ""


def _describe(pid: int) -> str:
    if pid == os.getpid():
        return "this process listens on it"
    command = " ".join(psutil.Process(pid).cmdline())
    return f"process {pid} listens on it: {command[:COMMAND_CHARS]}"
