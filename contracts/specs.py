"""What is wanted: the configuration tree, and the host specs derived from it.

Frozen models that forbid unknown keys. Times are in seconds, sizes in the unit of the name.
"""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated, Any, Final, Literal

from pydantic import BaseModel, ConfigDict, Field

# The component that holds the public socket, by its name.
GATEWAY: Final = "gateway"

LOCALHOST: Final = "127.0.0.1"

# What stands for the component's port in the words of a program.
PORT_PLACE: Final = "{port}"

# How an object is stopped that does not say so: by the first of these that it has.
STOP_NAMES: Final = ("stop", "shutdown", "aclose", "close")

# The name of a method or attribute, or none.
IDENTIFIER: Final = r"^([A-Za-z_]\w*)?$"
# The same, or the port where it listens, after an address where that is not this machine's.
SIGN_OF_READINESS: Final = r"^([A-Za-z_]\w*|([A-Za-z0-9.-]+:)?\d{1,5})?$"

Name = Annotated[str, Field(pattern=r"^[a-z][a-z0-9_-]{0,62}$")]


class Spec(BaseModel):
    """Base of every spec: immutable, and strict about keys."""

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)


class Mode(StrEnum):
    """How replicas are placed into processes."""

    SINGLE = "single"
    MULTI = "multi"
    HYBRID = "hybrid"
    AUTO = "auto"


class RestartSpec(Spec):
    """When and how often a replica is started again.

    The first restart inside the window is immediate; then `backoff_s` doubles up to `backoff_max_s`.
    """

    policy: Literal["always", "on-failure", "never"] = "on-failure"
    max_restarts: int = Field(5, ge=0)
    window_s: float = Field(60.0, gt=0)
    backoff_s: float = Field(0.5, ge=0)
    backoff_max_s: float = Field(30.0, ge=0)


class HealthSpec(Spec):
    """How often health is asked for, how long an answer may take, and who is asked.

    A component with a health check of its own answers by itself. For what has none: `path` is asked for
    by GET, and 2xx is well; `exec` is run, and exit code 0 is well. `log` is a regular expression for the
    line with which a program says that it is ready.
    """

    interval_s: float = Field(2.0, gt=0)
    timeout_s: float = Field(0.2, gt=0)
    path: str = Field("", pattern=r"^(/\S*)?$")
    exec: tuple[str, ...] = ()
    log: str = ""


class LimitsSpec(Spec):
    """Resource limits of a host that holds the component."""

    memory_mb: int | None = Field(None, gt=0)


class Kind(StrEnum):
    """What `use` names, found out from its shape where nobody says it."""

    COMPONENT = "component"
    ASGI = "asgi"
    WSGI = "wsgi"
    FASTSTREAM = "faststream"
    OBJECT = "object"
    TASK = "task"
    LAUNCHER = "launcher"


class ComponentSpec(Spec):
    """One component, as `[components.NAME]` declares it.

    Attributes:
        use: `module:attribute` of Python code, of this `kind`; where `factory` is set, it is called first.
        command: a program and its arguments, in place of `use`.
        run: the method of an object that starts it; `stop` the one that stops it.
        ready: the attribute, method or event of an object that says that it has started; or the port,
            such as `8025` or `10.0.0.1:8025`, at which it listens then.
        agent: the one agent that a launcher object is to load; `agents` stand for a component each, and are
            replaced by these when the configuration is read.
        host: the virtual host that it is served at alone, such as `shop.localhost`.
        port: of code, a listener of its own, at which it is served alone; of a program, where that listens.
        strip_prefix: it sees paths without its prefix, and is told of it by `X-Forwarded-Prefix`.
        aliases: other names for it on the command line of a launch.
        adopt_bus: the streams of a FastStream application are the bus's, and its own broker connects nowhere.
        exclusive: the code bears no second instance of itself in one process.

    `on_dependency_failure`: a running replica ignores that nothing it depends on serves any longer, or
    stops and waits for it, or is replaced whenever a replica of it fails (OTP's rest-for-one).
    """

    name: Name
    use: str = Field("", pattern=r"^([A-Za-z_][\w.]*:[A-Za-z_][\w.]*)?$")
    kind: Kind | None = None
    factory: bool = False
    run: str = Field("", pattern=IDENTIFIER)
    stop: str = Field("", pattern=IDENTIFIER)
    ready: str = Field("", pattern=SIGN_OF_READINESS)
    agent: str = ""
    agents: tuple[str, ...] = ()
    adopt_bus: bool = False
    exclusive: bool = False
    aliases: tuple[Name, ...] = ()
    command: tuple[str, ...] = ()
    cwd: str = ""
    port: int | None = Field(None, ge=0, le=65535)
    stop_signal: str = Field("SIGTERM", pattern=r"^SIG[A-Z0-9]+$")
    pty: bool = False
    depends_on: tuple[Name, ...] = ()
    on_dependency_failure: Literal["ignore", "wait", "restart"] = "ignore"
    prefix: str = Field("", pattern=r"^(/[^\s?#]*)?$")
    strip_prefix: bool = False
    host: str = Field("", pattern=r"^[a-z0-9.-]*$")
    replicas: int = Field(1, ge=1, le=256)
    group: Name | None = None
    preload: bool = True
    essential: bool = False
    config: dict[str, Any] = Field(default_factory=dict)
    env: dict[str, str] = Field(default_factory=dict)
    env_file: str = ""
    pythonpath: tuple[str, ...] = ()
    restart: RestartSpec = RestartSpec()
    grace_period_s: float = Field(15.0, ge=0)
    startup_timeout_s: float = Field(60.0, gt=0)
    health: HealthSpec = HealthSpec()
    limits: LimitsSpec = LimitsSpec()

    @property
    def address(self) -> str:
        """Return where it is served: `/prefix`, `//host/prefix` or `//:port/prefix`."""
        place = self.host or (f":{self.listener}" if self.listener else "")
        return f"//{place}{self.prefix}" if place else self.prefix

    @property
    def ready_at(self) -> tuple[str, int] | None:
        """Return host and port at which an object listens once it is ready, where `ready` names these."""
        host, _, port = self.ready.rpartition(":")
        return (host or LOCALHOST, int(port)) if port.isdigit() else None

    @property
    def listener(self) -> int | None:
        """Return the port at which the gateway listens for this component alone."""
        return self.port if self.use else None


class GroupSpec(Spec):
    """`[groups.NAME]`: components that belong together.

    `one-for-one`: a failure concerns its replica alone; `one-for-all`: the whole group is replaced (OTP).
    """

    strategy: Literal["one-for-one", "one-for-all"] = "one-for-one"


class AppSpec(Spec):
    """`[app]`."""

    name: Name = "app"
    mode: Mode = Mode.SINGLE
    launcher: Literal["coplane", "legacy"] = "coplane"
    orphan_grace_s: float = Field(30.0, gt=0)


class GatewaySpec(Spec):
    """`[gateway]`: where clients of the backend connect. Port 0 takes any free port."""

    host: str = LOCALHOST
    port: int = Field(8000, ge=0, le=65535)


class BusSpec(Spec):
    """`[bus]`. `auto`: memory in single mode, else an embedded Valkey."""

    url: str = Field("auto", pattern=r"^(auto|memory://|(redis|rediss|unix)://\S+)$")


class ControlSpec(Spec):
    """`[control]`: the control plane's API over TCP; the Unix socket is always there."""

    host: str = LOCALHOST
    port: int = Field(8900, ge=0, le=65535)


class ProfileSpec(Spec):
    """`[profiles.NAME]`: a named choice of components."""

    components: tuple[Name, ...]


class LegacySpec(Spec):
    """`[legacy]`: how the backend was started before, for the way back.

    A text is a command line for the shell, a list a program and its arguments.
    """

    commands: dict[Name, str | tuple[str, ...]] = Field(default_factory=dict)


class Settings(Spec):
    """The whole configuration, validated."""

    app: AppSpec = AppSpec()
    gateway: GatewaySpec = GatewaySpec()
    bus: BusSpec = BusSpec()
    control: ControlSpec = ControlSpec()
    components: dict[Name, ComponentSpec] = Field(default_factory=dict)
    groups: dict[Name, GroupSpec] = Field(default_factory=dict)
    profiles: dict[Name, ProfileSpec] = Field(default_factory=dict)
    legacy: LegacySpec = LegacySpec()

    @property
    def listeners(self) -> tuple[int, ...]:
        """Return the ports at which the gateway listens for some components alone, each once."""
        return tuple(dict.fromkeys(spec.listener for spec in self.components.values() if spec.listener))


class ReplicaSpec(Spec):
    """One replica that a host is to hold."""

    id: str
    component: ComponentSpec


class HostSpec(Spec):
    """Everything a host needs to know to run; it crosses a process boundary as JSON.

    `label` names the host's own log files: the replica's id, or the group that shares the host. `epoch`
    is that of the control plane that wanted the host; one that takes over has a higher one.
    `public_fds` are inherited listening sockets for the gateway, the one that is there for all first.
    `autostart` is for hosts that somebody else placed (`ctl host NAME`): they start their replicas without
    waiting for a command.
    """

    id: str
    label: str
    epoch: int = 1
    app: Name
    mode: Mode
    node: str = "local"
    bus_url: str = ""
    home: str = ""
    project: str = ""
    replicas: tuple[ReplicaSpec, ...]
    listen: str = ""
    public_fds: tuple[int, ...] = ()
    lifeline_fd: int | None = None
    autostart: bool = False
