"""Reads a pm2 ecosystem file: JSON, YAML or JavaScript; one component an app."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path, PurePosixPath
from typing import Any

from contracts.errors import ConfigError
from control_plane.conversion.commands import parse, split
from control_plane.conversion.javascript import evaluate
from control_plane.conversion.model import (
    Imported,
    Program,
    escaped,
    escaped_all,
    escaped_values,
    not_carried_over,
)
from control_plane.conversion.naming import Names, renaming
from control_plane.conversion.reading import malformed, nothing_in, read_tree, wrong_value
from control_plane.conversion.servers import port_in
from control_plane.conversion.values import mebibytes, milliseconds

# The program that pm2 runs a script with, by the script's ending.
INTERPRETERS = {
    ".js": "node", ".mjs": "node", ".cjs": "node", ".ts": "bun", ".tsx": "bun", ".py": "python3",
    ".sh": "bash", ".rb": "ruby", ".php": "php", ".pl": "perl", ".coffee": "coffee",
}  # fmt: skip
MAX_REPLICAS = 256
_LOOKED_AT_BYTES = 512
STOP_SIGNAL = "SIGINT"  # pm2's own, where PM2_KILL_SIGNAL is not set

_LOGS = (
    "out_file", "output", "out", "error_file", "error", "err", "log_file", "log", "log_date_format",
    "log_type", "merge_logs", "combine_logs", "time", "disable_logs", "pid_file", "pid",
)  # fmt: skip
_LEFT: tuple[tuple[tuple[str, ...], str], ...] = (
    (("watch", "watch_delay", "watch_options", "ignore_watch"), "files are not watched"),
    (("cron_restart", "cron"), "nothing is restarted by the clock; call `ctl restart NAME` from cron"),
    (("wait_ready",), "process.send('ready') reaches nobody; name a line it prints as `health.log`, or a "
                      "path as `health.path`"),
    (("min_uptime",), "restarts are counted within `restart.window_s`, however long each run was"),
    (("shutdown_with_message",), "a program is asked to end by `stop_signal`"),
    (("user", "username", "uid", "gid", "group"), "programs run as the user who launches"),
    (("namespace",), "name components on the command line, or in a profile"),
    (("autostart",), "everything starts; `ctl launch --exclude NAME` leaves one out"),
    (("append_env_to_name", "filter_env", "instance_var", "interpreter_options", "disable_trace",
      "source_map_support", "treekill", "vizion", "automation", "force", "pmx", "post_update", "version",
      "trace", "deep_monitoring", "increment_var_step"), "there is no such option"),
)  # fmt: skip
_KNOWN = {
    "name", "script", "exec", "args", "interpreter", "exec_interpreter", "interpreter_args", "node_args",
    "cwd", "instances", "exec_mode", "env", "increment_var", "max_restarts", "autorestart", "kill_timeout",
    "listen_timeout", "max_memory_restart", "restart_delay", "exp_backoff_restart_delay", "env_file",
    "stop_exit_codes",
}  # fmt: skip


def read(path: Path) -> Imported:
    """Read an ecosystem file.

    Raises:
        ConfigError: it cannot be read or evaluated, or something is wrong in it.
    """
    tree = evaluate(path) if path.suffix.lower() in (".js", ".cjs", ".mjs") else read_tree(path)
    apps = _apps(path, tree)
    names = Names()
    programs = [program for app in apps for program in app.programs(names)]
    deploy = isinstance(tree, dict) and "deploy" in tree
    remarks = (not_carried_over("deploy", "Coplane installs nothing on other machines"),) if deploy else ()
    return Imported(tuple(programs), remarks=remarks)


def _apps(path: Path, tree: Any) -> list[App]:
    values = tree
    if isinstance(tree, dict):
        values = tree.get("apps", tree.get("pm2", [tree] if "script" in tree else []))
    if isinstance(values, dict):
        values = [values]
    if not isinstance(values, list):
        raise wrong_value(path, "apps", values, expected="a list of apps")
    if not values:
        raise nothing_in(path, expected="a list `apps`, each with a `script`")
    return [App(path, index, value) for index, value in enumerate(values)]


class App:
    """One entry of `apps`."""

    def __init__(self, path: Path, index: int, value: Any) -> None:
        self._path = path
        self._where = f"apps[{index}]"
        if not isinstance(value, dict):
            raise wrong_value(path, self._where, value, expected="a table with a `script`")
        self._app: dict[str, Any] = {key: item for key, item in value.items() if item is not None}
        script = self._text("script") or self._text("exec")
        if not script.strip():
            raise malformed(path, "It has no `script`", at=self._where, fix="Name the file or program to run")
        self._script = script
        self.name = self._text("name") or PurePosixPath(script.split()[0]).stem

    def programs(self, names: Names) -> Iterator[Program]:
        """Yield the app's program, or one for each instance where each has a variable of its own."""
        instances, remarks = self._instances()
        counted = self._text("increment_var")
        first = self._env().get(counted, "")
        program = self._program(remarks)
        if instances == 1 or not first.isdecimal():
            yield self._named(replace(program, replicas=instances), names, self.name)
            return
        for index in range(instances):
            number = str(int(first) + index)
            port = int(number) if counted == "PORT" else program.port
            copy = replace(program, env={**program.env, counted: number}, port=port)
            yield self._named(copy, names, self.name if index == 0 else f"{self.name}-{index + 1}")

    def _named(self, program: Program, names: Names, original: str) -> Program:
        name = names.give(original)
        return replace(program, name=name, remarks=(*renaming(original, name), *program.remarks))

    def _program(self, remarks: tuple[str, ...]) -> Program:
        words, taken = self._command()
        env = self._env()
        port = env.get("PORT", "")
        return Program(
            name="",
            command=escaped_all(words),
            cwd=escaped(self._text("cwd")),
            env=escaped_values(env),
            env_file=escaped(self._text("env_file")),
            port=int(port) if port.isdecimal() and 0 < int(port) <= 65535 else port_in(words, env),
            stop_signal=STOP_SIGNAL,
            grace_period_s=self._milliseconds("kill_timeout"),
            startup_timeout_s=self._milliseconds("listen_timeout") or None,
            memory_mb=self._memory(),
            restart=dict(self._restart()),
            remarks=(*taken, *remarks, *self._remarks()),
        )

    def _command(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        try:
            return self._words()
        except ValueError as exc:
            raise malformed(self._path, str(exc), at=self._where) from exc

    def _words(self) -> tuple[tuple[str, ...], tuple[str, ...]]:
        args = self._list("args")
        if " " in self._script and not args and not (self._folder_path() / self._script).exists():
            return parse(self._script).words, self._without_options()  # pm2 hands such a line to a shell
        interpreter = self._text("interpreter") or self._text("exec_interpreter")
        options = (*self._list("interpreter_args"), *self._list("node_args"))
        remarks: tuple[str, ...] = ()
        if not interpreter:
            interpreter, remarks = self._interpreter()
        if interpreter == "none":
            return (self._own_program(), *args), (*remarks, *self._without_options())
        return (interpreter, *options, self._script, *args), remarks

    def _interpreter(self) -> tuple[str, tuple[str, ...]]:
        known = INTERPRETERS.get(PurePosixPath(self._script).suffix)
        if known == "bun":
            return known, ("pm2 runs TypeScript with bun; write another program where you have another.",)
        if known:
            return known, ()
        if self._is_text_file():
            return "node", ("pm2 runs text files with node; write another program where you have another.",)
        return "none", ()

    def _is_text_file(self) -> bool:
        try:
            with (self._folder_path() / self._script).open("rb") as file:
                return b"\0" not in file.read(_LOOKED_AT_BYTES)
        except OSError:
            return False

    def _without_options(self) -> tuple[str, ...]:
        given = [key for key in ("interpreter_args", "node_args") if self._list(key)]
        why = "there is no interpreter that they are for"
        return (not_carried_over(", ".join(given), why),) if given else ()

    def _own_program(self) -> str:
        # Without a slash it would be looked for on the PATH.
        beside = "/" not in self._script and (self._folder_path() / self._script).is_file()
        return f"./{self._script}" if beside else self._script

    def _folder_path(self) -> Path:
        return self._path.parent / self._text("cwd")

    def _env(self) -> dict[str, str]:
        env = self._app.get("env", {})
        if not isinstance(env, dict):
            raise wrong_value(self._path, f"{self._where}.env", env, expected="a table of variables")
        return {str(name): _as_text(value) for name, value in env.items() if value is not None}

    def _instances(self) -> tuple[int, tuple[str, ...]]:
        given = self._app.get("instances", 1)
        text = str(given).strip()
        if text in ("max", "0", "-1"):
            why = "pm2 starts one for each processor of the machine; set `replicas` to the number you want"
            return 1, (not_carried_over(f"instances = {given}", why),)
        if not text.isdecimal() or int(text) > MAX_REPLICAS:
            expected = f"1 to {MAX_REPLICAS}, or 'max'"
            raise wrong_value(self._path, f"{self._where}.instances", given, expected=expected)
        count = int(text)
        if count == 1 or not self._in_cluster() or "increment_var" in self._app:
            return count, ()
        why = "pm2 lets instances share one port; set `replicas` where the program can do so by itself"
        if "PORT" in self._env():
            return 1, (not_carried_over(f"instances = {count} in cluster mode", why),)
        return count, (not_carried_over("exec_mode = cluster", why),)

    def _in_cluster(self) -> bool:
        mode = self._text("exec_mode")
        # Where nothing is said, pm2 takes cluster mode for node.
        return mode.startswith("cluster") or (not mode and self._words()[0][0] == "node")

    def _restart(self) -> Iterator[tuple[str, Any]]:
        # pm2 starts a program again whatever its exit code was.
        expected = self._app.get("stop_exit_codes")
        codes = expected if isinstance(expected, list) else [expected]
        ends_well = any(str(code) == "0" for code in codes)
        policy = "on-failure" if ends_well else "always"
        yield "policy", policy if _is_on(self._app.get("autorestart", True)) else "never"
        if "max_restarts" in self._app:
            given = self._app["max_restarts"]
            if isinstance(given, bool) or not str(given).isdecimal():
                raise wrong_value(self._path, f"{self._where}.max_restarts", given, expected="a whole number")
            yield "max_restarts", int(given)
        for key in ("restart_delay", "exp_backoff_restart_delay"):
            delay_s = self._milliseconds(key)
            if delay_s:
                yield "backoff_s", delay_s
                if delay_s > 30:
                    yield "backoff_max_s", delay_s
                return

    def _memory(self) -> int | None:
        given = self._app.get("max_memory_restart")
        if given is None:
            return None
        size = mebibytes(str(given))
        if size is None:
            where = f"{self._where}.max_memory_restart"
            raise wrong_value(self._path, where, given, expected="a size such as 300M")
        return size

    def _remarks(self) -> Iterator[str]:
        for keys, why in _LEFT:
            if given := [key for key in keys if self._app.get(key, False) not in (False, [], "")]:
                yield not_carried_over(", ".join(_told(key, self._app[key]) for key in given), why)
        if given := [key for key in _LOGS if key in self._app]:
            yield not_carried_over(", ".join(given), "what it prints is below .ctl/logs: see `ctl logs`")
        for key in sorted(self._app):
            if re.fullmatch(r"env_\w+", key) and key != "env_file":
                count = len(self._app[key]) if isinstance(self._app[key], dict) else 0
                why = "set them in the environment where you launch, as CTL_COMPONENTS__NAME__ENV__VARIABLE"
                yield not_carried_over(f"{key}, {count} variable{'' if count == 1 else 's'}", why)
        left = {key for keys, _ in _LEFT for key in keys}
        unknown = sorted(
            key for key in self._app.keys() - _KNOWN - left - {*_LOGS} if not key.startswith("env_")
        )
        if unknown:
            yield not_carried_over(", ".join(unknown), "not an option of pm2 that is known here")

    def _text(self, key: str) -> str:
        value = self._app.get(key, "")
        if isinstance(value, str):
            return value
        if isinstance(value, int | float) and not isinstance(value, bool):
            return str(value)
        raise self._not_text(key, value)

    def _not_text(self, key: str, value: Any) -> ConfigError:
        return wrong_value(self._path, f"{self._where}.{key}", value, expected="text")

    def _list(self, key: str) -> tuple[str, ...]:
        value = self._app.get(key, [])
        if isinstance(value, list):
            return tuple(_as_text(item) for item in value)
        return split(self._text(key))

    def _milliseconds(self, key: str) -> float | None:
        if key not in self._app:
            return None
        duration_s = milliseconds(self._app[key])
        if duration_s is None:
            where = f"{self._where}.{key}"
            raise wrong_value(self._path, where, self._app[key], expected="a number of milliseconds")
        return duration_s


def _as_text(value: Any) -> str:
    match value:
        case bool():
            return str(value).lower()
        case Mapping() | list():
            import json

            return json.dumps(value)
    return str(value)


def _is_on(value: Any) -> bool:
    return value not in (False, "false", 0)


def _told(key: str, value: Any) -> str:
    return f"{key} = {_as_text(value)}" if isinstance(value, str | int | float) else key
