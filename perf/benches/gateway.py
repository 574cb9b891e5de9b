"""The gateway's throughput beside its floor, the same routes under uvicorn, and beside nginx.

`local`: the component runs in the gateway's process. `remote`: it is behind a Unix socket, in a process
of its own, as the application that nginx is in front of.
"""

from __future__ import annotations

import grp
import os
import pwd
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager, suppress
from importlib.metadata import version
from pathlib import Path
from urllib.parse import urlsplit

from perf.load import load_in_turn, missing, path_of
from perf.peers.bare import PREFIX
from perf.record import Record
from perf.wire import Target, answers
from tests.support.backend import REPOSITORY, backend
from tests.support.wait import wait_until

HOST = "127.0.0.1"
PATH = f"{PREFIX}/"
START_LIMIT_S = 20.0
STOP_LIMIT_S = 10.0

CONFIG = f"""
[app]
name = "bench"

[components.gateway]
use = "components.gateway:Gateway"

[components.hello]
use = "perf.peers.bare:Hello"
prefix = "{PREFIX}"
"""

# Kept-open connections on both sides, which would else be closed after 1000 requests; no log, and no file
# but for the process id. It says as much of the client as Coplane's gateway does.
NGINX = """
daemon off;
user {user};
worker_processes auto;
pid {folder}/nginx.pid;
error_log stderr warn;

events {{
    worker_connections 1024;
}}

http {{
    access_log off;
    keepalive_requests 1000000000;
    client_body_temp_path {folder}/client_body;
    proxy_temp_path {folder}/proxy;
    fastcgi_temp_path {folder}/fastcgi;
    uwsgi_temp_path {folder}/uwsgi;
    scgi_temp_path {folder}/scgi;

    upstream hello {{
        server unix:{upstream};
        keepalive 64;
        keepalive_requests 1000000000;
    }}

    server {{
        listen {host}:{port};

        location / {{
            proxy_pass http://hello;
            proxy_http_version 1.1;
            proxy_set_header Connection "";
            proxy_set_header Host $host;
            proxy_set_header X-Forwarded-For $remote_addr;
            proxy_set_header X-Forwarded-Proto $scheme;
            proxy_set_header X-Forwarded-Host $host;
        }}
    }}
}}
"""


def measure(record: Record) -> None:
    """Run every system at once, and measure one after another: those that nobody asks are idle."""
    if why := missing("wrk"):
        record.leave_out("wrk", why)
        return
    record.versions.update({name: version(name) for name in ("fastapi", "uvicorn")})
    systems = {"local": _coplane("single"), "floor": _uvicorn(), "remote": _coplane("multi")}
    if why := missing("nginx"):
        record.leave_out("nginx", why)
    else:
        record.versions["nginx"] = _nginx_version()
        systems["nginx"] = _nginx()
    with ExitStack() as running:
        results = load_in_turn({name: _url(running.enter_context(made)) for name, made in systems.items()})
    record.add("local_rps", "coplane", results["local"].rps)
    record.add("local_rps", "fastapi", results["floor"].rps)
    for system, name in (("uvicorn", "floor"), ("coplane", "remote"), ("nginx", "nginx")):
        if name in results:
            record.add("remote_rps", system, results[name].rps)
            record.add("remote_p99_ms", system, results[name].p99_ms)


def _url(target: Target) -> str:
    wait_until(lambda: answers(target), START_LIMIT_S)
    (host, port), path = target
    return f"http://{host}:{port}{path}"


@contextmanager
def _coplane(mode: str) -> Iterator[Target]:
    """Launch the component behind the gateway."""
    with tempfile.TemporaryDirectory() as folder:
        config = Path(folder) / "ctl.toml"
        config.write_text(CONFIG)
        with backend(config, env={"PYTHONPATH": str(REPOSITORY)}) as made:
            url = urlsplit(made.start("--mode", mode).until_ready()["gateway"]["url"])
            yield (str(url.hostname), int(url.port or 0)), PATH


@contextmanager
def _uvicorn() -> Iterator[Target]:
    """Serve the bare application at a port."""
    port = _free_port()
    with tempfile.TemporaryDirectory() as folder, _running(_bare("--port", str(port)), Path(folder)):
        yield (HOST, port), PATH


@contextmanager
def _nginx() -> Iterator[Target]:
    """Serve the bare application on a Unix socket, with nginx in front of it."""
    with tempfile.TemporaryDirectory(dir="/tmp") as name:  # a short path, for the socket
        folder, port = Path(name), _free_port()
        upstream, config = folder / "bare.sock", folder / "nginx.conf"
        config.write_text(NGINX.format(user=_user(), folder=folder, upstream=upstream, host=HOST, port=port))
        command = [str(path_of("nginx")), "-e", "stderr", "-p", name, "-c", str(config)]
        with _running(_bare("--uds", str(upstream)), folder):
            wait_until(upstream.exists, START_LIMIT_S)
            with _running(command, folder):
                yield (HOST, port), PATH


def _bare(*where: str) -> list[str]:
    fast = ["--loop", "uvloop", "--http", "httptools", "--no-access-log", "--log-level", "warning"]
    return [sys.executable, "-m", "uvicorn", "perf.peers.bare:app", *fast, *where]


@contextmanager
def _running(command: Sequence[str], folder: Path) -> Iterator[None]:
    """Run a server, and end it with all that it started."""
    output = folder / f"{Path(command[0]).name}.txt"
    with open(output, "w") as file:
        server = subprocess.Popen(
            command,
            cwd=REPOSITORY,
            stdin=subprocess.DEVNULL,
            stdout=file,
            stderr=file,
            start_new_session=True,
        )
    try:
        yield
        if server.poll() is not None:
            raise RuntimeError(f"{command[0]} ended with {server.returncode}: {output.read_text()}")
    finally:
        server.terminate()
        with suppress(subprocess.TimeoutExpired):
            server.wait(STOP_LIMIT_S)
        with suppress(ProcessLookupError):
            os.killpg(server.pid, signal.SIGKILL)
        server.wait()


def _free_port() -> int:
    with socket.create_server((HOST, 0)) as taken:
        return int(taken.getsockname()[1])


def _user() -> str:
    """Return who runs this: nginx's workers would else be somebody who may not open the socket."""
    return f"{pwd.getpwuid(os.getuid()).pw_name} {grp.getgrgid(os.getgid()).gr_name}"


def _nginx_version() -> str:
    told = subprocess.run([str(path_of("nginx")), "-v"], capture_output=True, text=True, check=True)
    return told.stderr.strip().rpartition("/")[2]
