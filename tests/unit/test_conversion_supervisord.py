"""`ctl import supervisord`: what its programs and groups become."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigError
from contracts.specs import ComponentSpec
from tests.support.conversion import comment, components, imported, imported_text, shop


def one(folder: Path, lines: str, *, name: str = "web") -> ComponentSpec:
    _, result = imported_text("supervisord", folder, f"[program:{name}]\n{lines}\n", name="s.conf")
    (spec,) = components(result).values()
    return spec


class TestExample:
    def test_programs_of_included_files_come_along(self, tmp_path: Path) -> None:
        _, result = imported("supervisord", shop(tmp_path) / "supervisord.conf")
        assert list(components(result)) == ["web", "celery-0", "celery-1", "rq", "flower-ui"]

    def test_options_that_have_a_place_are_carried_over(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        _, result = imported("supervisord", source / "supervisord.conf")
        web = components(result)["web"]
        assert web.command == (f"{source}/venv/bin/gunicorn", "-b", "127.0.0.1:8000", "shop.wsgi")
        assert web.cwd == str(source / "web")
        assert (web.port, web.stop_signal, web.grace_period_s) == (8000, "SIGQUIT", 30)
        assert web.restart.policy == "always"
        assert web.env == {
            "LANG": "en_US.UTF-8", "DJANGO_SETTINGS_MODULE": "shop.settings", "SECRET_KEY": "s3cret",
            "PCT": "100%",
        }  # fmt: skip

    def test_processes_that_differ_become_components_of_their_own(self, tmp_path: Path) -> None:
        _, result = imported("supervisord", shop(tmp_path) / "supervisord.conf")
        found = components(result)
        assert found["celery-1"].command[-1] == "w01@%h"
        assert (found["rq"].replicas, found["rq"].restart.max_restarts) == (4, 10)

    def test_no_shell_ever_read_the_command(self, tmp_path: Path) -> None:
        _, result = imported("supervisord", shop(tmp_path) / "supervisord.conf")
        assert components(result)["flower-ui"].command[-1] == "--basic_auth=user:${PW}"

    def test_group_is_a_profile(self, tmp_path: Path) -> None:
        _, result = imported("supervisord", shop(tmp_path) / "supervisord.conf")
        assert result.settings.profiles["background"].components == ("celery-0", "celery-1", "rq")

    @pytest.mark.parametrize(
        "said",
        [
            "not carried over: user = www-data (programs run as the user who launches)",
            "not carried over: startsecs = 5",
            "not carried over: stdout_logfile, redirect_stderr",
            "not carried over: priority = 20",
            "not carried over: autostart = false",
            "not carried over: [eventlistener:memmon]",
            "not carried over: [unix_http_server], [supervisord], [rpcinterface:supervisor]",
        ],
    )
    def test_what_has_no_place_is_told(self, said: str, tmp_path: Path) -> None:
        converted, _ = imported("supervisord", shop(tmp_path) / "supervisord.conf")
        assert said in comment(converted.text)


class TestOptions:
    @pytest.mark.parametrize(
        ("value", "policy"),
        [("true", "always"), ("false", "never"), ("unexpected", "on-failure"), ("TRUE", "always")],
    )
    def test_autorestart(self, value: str, policy: str, tmp_path: Path) -> None:
        assert one(tmp_path, f"command=a\nautorestart={value}").restart.policy == policy

    def test_environment_with_commas_and_quotes(self, tmp_path: Path) -> None:
        spec = one(tmp_path, """command=a\nenvironment=A="x,y=1",B='q"',URL=redis://h:1/0,""")
        assert spec.env == {"A": "x,y=1", "B": 'q"', "URL": "redis://h:1/0"}

    def test_expansions_see_the_variables_of_the_file(self, tmp_path: Path) -> None:
        """As supervisord has it: an `environment` sees those of [supervisord], the rest its own too."""
        text = (
            '[supervisord]\nenvironment=ROOT="/srv",KEPT="50%%"\n[program:web]\n'
            'environment=PORT="80%(process_num)02d",LOGS="%(ENV_ROOT)s/logs"\n'
            "command=run %(ENV_PORT)s %(ENV_LOGS)s %(ENV_KEPT)s %(ENV_SECRET_KEY)s\n"
        )
        _, result = imported_text("supervisord", tmp_path, text, name="s.conf")
        web = components(result)["web"]
        assert web.command == ("run", "8000", "/srv/logs", "50%", "s3cret")

    def test_group_name_is_that_of_the_group(self, tmp_path: Path) -> None:
        text = (
            "[program:web]\ncommand=run %(group_name)s\n[program:lone]\ncommand=run %(group_name)s\n"
            "[group:shop]\nprograms=web\n"
        )
        _, result = imported_text("supervisord", tmp_path, text, name="s.conf")
        assert [spec.command[1] for spec in components(result).values()] == ["shop", "lone"]

    def test_folder_that_is_not_there_is_told_and_left(self, tmp_path: Path) -> None:
        text = "[program:web]\ncommand=a\ndirectory=/no/such/folder\n"
        converted, _ = imported_text("supervisord", tmp_path, text, name="s.conf")
        assert 'not carried over: cwd = "/no/such/folder" (it is not there' in comment(converted.text)


class TestMalformed:
    @pytest.mark.parametrize(
        ("text", "said"),
        [
            ("command=a\n", "E1002 cannot import s.conf, line 1. There is no section before"),
            ("[program:a]\ncommand\n", "E1002 cannot import s.conf, line 2"),
            (
                "[program:a]\nuser=x\n",
                r"E1002 cannot import s.conf, line 1: \[program:a\]. It has no command",
            ),
            ("[program:a]\ncommand=x 'y\n", "a quotation that is not closed"),
            ("[program:a]\ncommand=x %(nope)s\n", r"E1003 .*%\(nope\)s.*ENV_X, here"),
            ("[program:a]\ncommand=x 100%\n", "Write %% for a '%'"),
            ("[program:a]\ncommand=x\nnumprocs=many\n", "numprocs is 'many'. Expected a whole number"),
            ("[program:a]\ncommand=x\nnumprocs=0\n", "numprocs is '0'"),
            ("[program:a]\ncommand=x\nautorestart=maybe\n", "Expected true, false or unexpected"),
            ("[program:a]\ncommand=x\nenvironment=A\n", "environment is 'not a list of variables'"),
            ("[program:a]\ncommand=x\nstopsignal=9 now\n", "stop_signal is 'SIG9 NOW'"),
            ("[program:a]\ncommand=x\n[group:g]\nprograms=b\n", r"\[group:g\] programs is 'b'"),
            ("[supervisord]\n", "nothing to run"),
        ],
    )
    def test_message_says_where_and_what(self, text: str, said: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=said):
            imported_text("supervisord", tmp_path, text, name="s.conf")
