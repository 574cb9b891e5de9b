"""The entry of a host process: logs, event loop, signals, lifeline; then `Host.run`."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
import socket
import sys
from pathlib import Path

from contracts.errors import CoplaneError, ExitCode
from contracts.specs import HostSpec
from control_plane.brokers import open_transport
from control_plane.runtime import children, host_logging, images
from control_plane.runtime.environment import is_particular, take_on
from control_plane.runtime.host import Host
from control_plane.runtime.losses import forgive_output
from control_plane.runtime.signal_guard import GuardedLoop, SignalGuard
from control_plane.stores import open_state

log = logging.getLogger("coplane.host")

END_MARGIN_S = 10.0
STOP_SIGNALS = (signal.SIGTERM, signal.SIGINT)


def run_host(spec: HostSpec) -> int:
    """Run a host in this process until it is told to stop.

    Returns:
        The exit code: 0 after a graceful stop, 1 when the host itself failed.
    """
    components = [replica.component for replica in spec.replicas]
    if any(map(is_particular, components)):
        images.forget_users_modules(Path(spec.project))
    take_on(components)
    handler = host_logging.configure(Path(spec.home) / "logs", label=spec.label)
    exit_code = ExitCode.DONE
    try:
        # The anchor does so too, but may be gone before us, and `ctl host` has none.
        with children.leaving_nothing(), asyncio.Runner(loop_factory=GuardedLoop) as runner:
            runner.run(_serve(spec))
    except* CoplaneError as errors:
        for error in errors.exceptions:
            log.error("host.failed", extra={"error": str(error)})
        exit_code = ExitCode.FAILED
    except* Exception:
        # The supervision boundary of a process: logged, and told by the exit code.
        log.exception("host.crashed")
        exit_code = ExitCode.FAILED
    finally:
        host_logging.release(handler)
    return exit_code


async def _serve(spec: HostSpec) -> None:
    transport = await open_transport(spec.bus_url)
    try:
        async with open_state(spec.app, spec.bus_url) as state:
            public = [socket.socket(fileno=fd) for fd in spec.public_fds]
            host = Host(spec, transport=transport, state=state, public_sockets=public)
            alone = len({replica.component.name for replica in spec.replicas}) == 1
            guard = SignalGuard(STOP_SIGNALS, alone=alone)
            _listen_for_the_end(host, spec, guard)
            with guard:
                await host.run()
    finally:
        await transport.close()


def _listen_for_the_end(host: Host, spec: HostSpec, guard: SignalGuard) -> None:
    loop = asyncio.get_running_loop()

    def signalled(number: signal.Signals) -> None:
        host.stop(number.name)
        guard.call_theirs(number)

    for number in STOP_SIGNALS:
        loop.add_signal_handler(number, signalled, number)
    lifeline_fd = spec.lifeline_fd
    if lifeline_fd is None:
        return

    def anchor_died() -> None:
        loop.remove_reader(lifeline_fd)
        # Nobody is left to kill us, and a thread that hangs would keep this process for ever.
        grace_s = max(replica.component.grace_period_s for replica in spec.replicas)
        signal.setitimer(signal.ITIMER_REAL, grace_s + END_MARGIN_S)
        host.stop("the anchor died")

    loop.add_reader(lifeline_fd, anchor_died)


def main() -> int:
    """Run the host whose spec comes as JSON on standard input; where hosts are spawned, not forked."""
    spec = HostSpec.model_validate_json(sys.stdin.buffer.read())
    forgive_output()
    os.chdir(spec.project)
    sys.path.insert(0, spec.project)
    return run_host(spec)


if __name__ == "__main__":
    sys.exit(main())
