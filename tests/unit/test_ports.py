"""Public sockets, and who is in their way."""

from __future__ import annotations

import os
import socket
import subprocess
import sys

import pytest

from contracts.errors import LaunchError
from control_plane.runtime.ports import bind_public, url_of

HOLDER = """
import socket, sys
listener = socket.create_server(("127.0.0.1", 0))
print(listener.getsockname()[1], flush=True)
sys.stdin.read()
"""


def test_port_zero_takes_any_free_port() -> None:
    with bind_public("127.0.0.1", 0) as listener:
        assert listener.getsockname()[1] > 0
        with socket.create_connection(listener.getsockname()):
            pass


def test_a_taken_port_is_refused_with_the_process_that_listens_on_it() -> None:
    with subprocess.Popen(
        [sys.executable, "-c", HOLDER], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    ) as holder:
        assert holder.stdout is not None
        port = int(holder.stdout.readline())

        with pytest.raises(
            LaunchError,
            match=rf"E2001 port {port} on 127.0.0.1 is taken. Process {holder.pid} listens on it: ",
        ):
            bind_public("127.0.0.1", port)
        holder.communicate("")


def test_a_port_that_is_free_again_is_taken_at_once() -> None:
    with bind_public("127.0.0.1", 0) as listener:
        address = listener.getsockname()
        with socket.create_connection(address):
            accepted, _ = listener.accept()
            accepted.close()

    with bind_public(*address):
        pass


def test_a_host_that_is_not_of_this_machine_is_refused() -> None:
    with pytest.raises(LaunchError, match=r"E2001 cannot listen on 192.0.2.1:0"):
        bind_public("192.0.2.1", 0)


def test_an_unknown_host_is_refused() -> None:
    with pytest.raises(LaunchError, match=r"E2001 cannot listen on no-such-host.invalid:0"):
        bind_public("no-such-host.invalid", 0)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may take any port")
def test_a_reserved_port_is_refused_with_the_reason() -> None:
    with pytest.raises(LaunchError, match="E2001 no permission to listen on port 80"):
        bind_public("127.0.0.1", 80)


@pytest.mark.skipif(not socket.has_ipv6, reason="no IPv6 here")
def test_ipv6_addresses_are_bound_and_shown_in_brackets() -> None:
    try:
        listener = bind_public("::1", 0)
    except LaunchError:
        pytest.skip("no IPv6 loopback here")
    with listener:
        assert url_of(listener) == f"http://[::1]:{listener.getsockname()[1]}"
