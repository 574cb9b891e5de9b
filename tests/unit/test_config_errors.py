"""What a user reads when the configuration is wrong: the code, the place, the near miss."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any

import pytest

from contracts.errors import ConfigError, ExitCode
from control_plane.config import load

WRITER = '[components.writer]\nuse = "a:Writer"\n'
OUTLINER = '[components.outliner]\nuse = "a:Outliner"\n'


def refusal(folder: Path, text: str, *, name: str = "ctl.toml", **options: Any) -> ConfigError:
    (folder / name).write_text(text)
    with pytest.raises(ConfigError) as caught:
        load(environ=options.pop("environ", {}), cwd=folder, **options)
    assert caught.value.exit_code is ExitCode.USAGE
    return caught.value


class TestUnknownComponent:
    def test_depends_on_gets_the_near_miss(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER + 'depends_on = ["outlinr"]\n' + OUTLINER)
        assert str(error) == (
            "E1001 unknown component 'outlinr' in components.writer.depends_on (ctl.toml). "
            "Did you mean 'outliner'? Known: gateway, outliner, writer."
        )

    def test_profile_gets_the_near_miss(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER + '[profiles.minimal]\ncomponents = ["wirter"]')
        assert error.code == "E1001"
        assert "profiles.minimal.components" in error.what
        assert "'writer'" in error.why

    @pytest.mark.parametrize(
        "options",
        [
            {"environ": {"CTL_COMPONENTS__WIRTER__REPLICAS": "2"}},
            {"overrides": {"components.wirter.replicas": 2}},
        ],
    )
    def test_override_of_an_undeclared_component_is_refused(self, tmp_path: Path, options: Any) -> None:
        error = refusal(tmp_path, WRITER, **options)
        assert error.code == "E1001"
        assert "Did you mean 'writer'?" in error.why


class TestSyntax:
    def test_toml_is_shown_with_line_column_and_caret(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, '[app]\nname = "novel"\n\tmode = singel\n')
        assert str(error) == "E1002 ctl.toml is not valid TOML. Line 3, column 9: Invalid value."
        assert error.detail == "3 | \tmode = singel\n  | \t       ^"

    def test_toml_that_ends_too_early_is_shown_at_its_end(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, "[app]\nname =")
        assert error.why.startswith("Line 2, column 7")
        assert error.detail == "2 | name =\n  |       ^"

    def test_json_is_shown_with_line_and_column(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, '{"app": {\n  "name": novel}}', name="ctl.json")
        assert error.code == "E1002"
        assert error.why.startswith("Line 2, column 11")
        assert error.detail.endswith('"name": novel}}\n  |           ^')

    def test_yaml_is_shown_with_line_and_column(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, "app:\n  name: [novel\ngateway: 1\n", name="ctl.yaml")
        assert error.code == "E1002"
        assert "ctl.yaml is not valid YAML" in error.what
        assert error.why.startswith("Line 3, column 8")

    def test_endless_line_is_cut_around_the_caret(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, f'{{"a": "{"x" * 5000}", nonsense: "{"y" * 5000}"}}', name="ctl.json")
        source, caret = error.detail.split("\n")
        assert len(source) < 120
        assert source[caret.index("^")] == "n"

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "ctl.toml").write_bytes(b"name = '\xff'")
        with pytest.raises(ConfigError, match=r"E1002 ctl\.toml is not UTF-8 text\. Byte 8"):
            load(environ={}, cwd=tmp_path)

    def test_missing_yaml_package_is_asked_for(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setitem(sys.modules, "yaml", None)
        error = refusal(tmp_path, "app: {}", name="ctl.yaml")
        assert "coplane[yaml]" in error.fix


class TestValues:
    @pytest.mark.parametrize(
        ("text", "message"),
        [
            (
                WRITER + 'replicas = "two"',
                "components.writer.replicas is 'two'. Expected a whole number from 1 to 256.",
            ),
            (
                WRITER + "replicas = 0",
                "components.writer.replicas is 0. Expected a whole number from 1 to 256.",
            ),
            (
                WRITER + "restart = { window_s = -1 }",
                "components.writer.restart.window_s is -1. Expected a number above 0.",
            ),
            (
                WRITER + "grace_period_s = inf",
                "components.writer.grace_period_s is inf. Expected a number of at least 0.",
            ),
            (WRITER + "preload = 7", "components.writer.preload is 7. Expected true or false."),
            (
                WRITER + 'depends_on = "outliner"',
                "components.writer.depends_on is 'outliner'. Expected a list, such as [\"writer\"].",
            ),
            (WRITER + "env = { PORT = 80 }", "components.writer.env.PORT is 80. Expected a text in quotes."),
            (
                "[components.writer]\nreplicas = 1",
                "components.writer.use is missing. "
                "Expected 'module:attribute', such as 'components.agents.writer:Writer', or `command` with a",
            ),
            ("[app]\nmode = 'singel'", "app.mode is 'singel'. Expected one of single, multi, hybrid, auto."),
            ("app = 3", "app is 3. Expected a table."),
            ("components = []", "components is a list. Expected a table."),
            ("[components]\nwriter = 'a:B'", "components.writer is 'a:B'. Expected a table."),
            (
                "[bus]\nurl = 'http://x'",
                "bus.url is 'http://x'. Expected 'auto', 'memory://', or a redis://, rediss:// or unix://",
            ),
            (
                WRITER + "replica = 2",
                "unknown key components.writer.replica. Did you mean 'replicas'? Known: ",
            ),
            ("[gatway]\nport = 1", "unknown key gatway. Did you mean 'gateway'? Known: app, bus, "),
            (
                "[components.Writer]\nuse = 'a:B'",
                "components.Writer is 'Writer'. Expected a name of at most 63 lower-case letters",
            ),
            (
                WRITER + "name = 'writer'",
                "components.writer.name is not an option. The component's name is that",
            ),
        ],
    )
    def test_message_has_path_given_and_expected(self, tmp_path: Path, text: str, message: str) -> None:
        assert str(refusal(tmp_path, text)).startswith(f"E1003 ctl.toml: {message}")

    def test_every_problem_is_said_at_once(self, tmp_path: Path) -> None:
        error = refusal(
            tmp_path, "[app]\nmode = 'x'\n[gateway]\nport = -1\n" + WRITER + "name = 'w'\nusee = 1"
        )
        assert (error.code, error.what) == ("E1003", "4 problems in the configuration (ctl.toml)")
        assert [line.split(". ")[0] for line in error.detail.splitlines()] == [
            "E1003 ctl.toml: components.writer.name is not an option",
            "E1003 ctl.toml: app.mode is 'x'",
            "E1003 ctl.toml: gateway.port is -1",
            "E1003 ctl.toml: unknown key components.writer.usee",
        ]

    def test_wrong_override_is_blamed_and_not_the_file(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER, environ={"CTL_COMPONENTS__WRITER__REPLICAS": "two"})
        assert (
            error.what == "environment CTL_COMPONENTS__WRITER__REPLICAS: components.writer.replicas is 'two'"
        )

    def test_variable_of_an_unknown_section_is_refused(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER, environ={"CTL_GATWAY__PORT": "1"})
        assert error.code == "E1003"
        assert error.what == "environment CTL_GATWAY__PORT: unknown section 'gatway'"
        assert "Did you mean 'gateway'?" in error.why

    def test_password_of_a_wrong_value_is_not_repeated(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, "[bus]\nurl = 'redsi://user:hunter2@host'")
        assert "hunter2" not in str(error)
        assert "redsi://user:***@host" in str(error)

    def test_file_that_holds_no_table_is_refused(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, "[1, 2]", name="ctl.json")
        assert (error.code, error.what) == ("E1003", "ctl.json holds a list")

    def test_unknown_format_is_refused(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, "", name="ctl.ini", path=Path("ctl.ini"))
        assert error.code == "E1006"
        assert ".toml" in error.fix


class TestVariables:
    def test_unset_variables_are_named_with_their_places(self, tmp_path: Path) -> None:
        text = WRITER + "config = { key = '${API_KEY}', list = ['${OTHER}'] }"
        error = refusal(tmp_path, text)
        assert error.code == "E1007"
        assert "ctl.toml: components.writer.config.key needs the variable 'API_KEY'" in error.detail
        assert "components.writer.config.list[0] needs the variable 'OTHER'" in error.detail
        assert "${API_KEY:-default}" in error.detail

    @pytest.mark.parametrize("text", ["${}", "${A", "${A-b}", "${A:-${B}}", "${1A}"])
    def test_malformed_reference_is_refused(self, tmp_path: Path, text: str) -> None:
        error = refusal(tmp_path, WRITER + f"config = {{ key = '{text}' }}")
        assert error.code == "E1003"
        assert "components.writer.config.key contains" in error.what


class TestBetweenValues:
    def test_cycle_is_shown(self, tmp_path: Path) -> None:
        text = WRITER + 'depends_on = ["critic"]\n[components.critic]\nuse = "a:C"\ndepends_on = ["writer"]'
        error = refusal(tmp_path, text)
        assert error.code == "E1004"
        assert error.what == "dependency cycle: critic -> writer -> critic"
        assert "'writer' out of components.critic.depends_on" in error.fix

    def test_component_that_depends_on_itself_is_a_cycle(self, tmp_path: Path) -> None:
        assert "writer -> writer" in refusal(tmp_path, WRITER + 'depends_on = ["writer"]').what

    def test_prefix_claimed_twice_names_both_owners(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER + 'prefix = "/x/"\n' + OUTLINER + 'prefix = "/x"')
        assert (error.code, error.what) == ("E1005", "prefix '/x' is claimed by 'writer' and by 'outliner'")

    def test_one_component_may_have_the_root_and_two_may_not(self, tmp_path: Path) -> None:
        both = WRITER + 'prefix = "/"\n' + OUTLINER + 'prefix = "/"'
        assert "'writer' and by 'outliner'" in refusal(tmp_path, both).what
        (tmp_path / "ctl.toml").write_text(WRITER + 'prefix = "/"')
        assert (
            load(tmp_path / "ctl.toml", environ={}, cwd=tmp_path).settings.components["writer"].prefix == "/"
        )

    def test_pages_of_the_gateway_cannot_be_claimed(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER + 'prefix = "/-/health"')
        assert error.code == "E1005"
        assert "gateway's own pages" in error.what

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('command = ["a"]\nuse = "a:B"', "has both `use` and `command`"),
            ('command = ["a"]\nkind = "asgi"', "kind is for Python code"),
            ('command = ["a"]\nstop_signal = "SIGTREM"', "stop_signal is 'SIGTREM'. Did you mean 'SIGTERM'?"),
            ('command = ["a"]\nhealth = { log = "(" }', "health.log is no regular expression: '('"),
            ('command = ["a", "{port}"]', "command has {port}, and there is no port"),
            ('command = ["a"]\nport = 80\nreplicas = 2', "has port 80 and 2 replicas"),
            ('use = "a:B"\npty = true', "pty is for a program"),
            ('use = "a:B"\nport = 0', "has port 0"),
            ('use = "a:B"\nport = 80\nhost = "a.b"', "has `port` and `host`"),
            ('use = "a:B"\nport = 8000', "gateway.port and components.it.port are both 8000"),
            ('use = "a:B"\nport = 8900', "control.port and components.it.port are both 8900"),
            ('command = ["a"]\nport = 8000', "gateway.port and components.it.port are both 8000"),
            (
                'use = "a:B"\n[components.gateway]\nport = 1',
                "components.gateway.port is for other components",
            ),
            (
                'use = "a:B"\n[gateway]\nhost = "0.0.0.0"\nport = 8900',
                "gateway.port and control.port are both",
            ),
            ('use = "a:B"\nhealth = { log = "up" }', "health.log is for a program"),
            ('use = "a:B"\naliases = ["gateway"]', "aliases has 'gateway', which is 'gateway' already"),
        ],
    )
    def test_what_means_nothing_together_is_refused(self, tmp_path: Path, text: str, message: str) -> None:
        error = refusal(tmp_path, f"[components.it]\n{text}")
        assert error.code == "E1010"
        assert message in str(error)

    @pytest.mark.parametrize(
        ("text", "message"),
        [
            ('cwd = "nowhere"', "components.it.cwd is '"),
            ('env_file = "no.env"', "components.it.env_file is '"),
            ('pythonpath = ["nowhere"]', "components.it.pythonpath is '"),
        ],
    )
    def test_a_path_that_is_not_there_is_named(self, tmp_path: Path, text: str, message: str) -> None:
        error = refusal(tmp_path, f'[components.it]\nuse = "a:B"\n{text}')
        assert error.code == "E1003"
        assert message in str(error)
        assert "that is there" in str(error)

    @pytest.mark.parametrize("mode", ["multi", "hybrid"])
    def test_many_processes_cannot_share_a_bus_in_memory(self, tmp_path: Path, mode: str) -> None:
        error = refusal(tmp_path, f"[app]\nmode = '{mode}'\n[bus]\nurl = 'memory://'")
        assert error.code == "E1010"
        assert f"'{mode}'" in error.what

    def test_gateway_and_control_plane_cannot_share_a_port(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, "[gateway]\nport = 8900")
        assert (error.code, error.what) == ("E1010", "gateway.port and control.port are both 8900")

    def test_both_ports_may_be_any_free_port(self, tmp_path: Path) -> None:
        (tmp_path / "ctl.toml").write_text("[gateway]\nport = 0\n[control]\nport = 0")
        assert load(environ={}, cwd=tmp_path).settings.control.port == 0

    def test_first_backoff_cannot_exceed_the_longest(self, tmp_path: Path) -> None:
        error = refusal(tmp_path, WRITER + "restart = { backoff_s = 40 }")
        assert error.code == "E1010"
        assert "backoff_s is 40 and backoff_max_s is 30" in error.what

    def test_replicas_in_single_mode_are_allowed(self, tmp_path: Path) -> None:
        (tmp_path / "ctl.toml").write_text(WRITER + "replicas = 3")
        assert load(environ={}, cwd=tmp_path).settings.components["writer"].replicas == 3
