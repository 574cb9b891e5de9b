"""`ctl import procfile` and `honcho`: what a Procfile becomes."""

from __future__ import annotations

from pathlib import Path

import pytest

from contracts.errors import ConfigError
from control_plane.conversion.importing import convert
from tests.support.conversion import comment, components, imported, imported_text, shop


class TestExample:
    def test_every_line_becomes_a_component_in_its_order(self, tmp_path: Path) -> None:
        _, result = imported("procfile", shop(tmp_path) / "Procfile")
        names = ["web", "api", "worker", "beat", "release", "assets", "gateway-2", "tail"]
        assert list(components(result)) == names

    def test_ports_are_those_that_foreman_gives(self, tmp_path: Path) -> None:
        _, result = imported("procfile", shop(tmp_path) / "Procfile")
        found = components(result)
        assert (found["web"].port, found["web"].env["PORT"]) == (5000, "5000")
        assert (found["worker"].port, found["worker"].env["PORT"]) == (None, "5200")

    def test_port_in_the_command_beats_the_one_that_is_given(self, tmp_path: Path) -> None:
        _, result = imported("procfile", shop(tmp_path) / "Procfile")
        assert components(result)["api"].port == 8000

    def test_gateway_makes_way_for_a_program_on_its_port(self, tmp_path: Path) -> None:
        converted, result = imported("procfile", shop(tmp_path) / "Procfile")
        assert result.settings.gateway.port == 8001
        assert "8000 by default, which 'api' uses" in converted.text

    def test_variables_for_the_shell_are_left_to_the_shell(self, tmp_path: Path) -> None:
        _, result = imported("procfile", shop(tmp_path) / "Procfile")
        assert components(result)["web"].command == (
            "sh", "-c", "exec gunicorn shop.wsgi --bind 0.0.0.0:$PORT --workers ${WEB_CONCURRENCY:-2}",
        )  # fmt: skip

    def test_folder_and_variables_of_a_line_become_options(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        _, result = imported("procfile", source / "Procfile")
        found = components(result)
        assert found["assets"].command == ("npm", "run", "watch")
        assert found["assets"].cwd == str(source / "frontend")
        assert found["beat"].env["DJANGO_SETTINGS_MODULE"] == "shop.settings"

    def test_name_of_the_gateway_is_changed_and_the_change_told(self, tmp_path: Path) -> None:
        converted, _ = imported("procfile", shop(tmp_path) / "Procfile")
        assert "# renamed from 'Gateway': that is the name of Coplane's own entrance" in converted.text

    def test_honcho_hands_the_dotenv_on_and_counts_from_its_port(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        _, result = imported("honcho", source / "Procfile")
        web = components(result)["web"]
        assert (web.port, web.env_file) == (7000, str(source / ".env"))

    def test_procfile_says_that_it_left_the_dotenv(self, tmp_path: Path) -> None:
        converted, result = imported("procfile", shop(tmp_path) / "Procfile")
        assert components(result)["web"].env_file == ""
        assert "`ctl import honcho` carries it over" in comment(converted.text)

    def test_paths_are_seen_from_where_the_file_is_written(self, tmp_path: Path) -> None:
        source = shop(tmp_path)
        converted = convert("honcho", source / "Procfile", target=tmp_path / "deploy" / "here")
        assert 'env_file = "../../shop/.env"' in converted.text
        assert 'cwd = "../../shop/frontend"' in converted.text
        assert 'cwd = "../../shop"' in converted.text


class TestFormation:
    def test_copies_that_listen_have_a_port_each(self, tmp_path: Path) -> None:
        (tmp_path / ".foreman").write_text("port: 3000\nformation: web=2,worker=3,cron=0\n")
        text = "web: serve -p $PORT\nworker: work\ncron: tick\n"
        converted, result = imported_text("procfile", tmp_path, text, name="Procfile")
        found = components(result)
        assert {name: (spec.port, spec.replicas) for name, spec in found.items()} == {
            "web": (3000, 1), "web-2": (3001, 1), "worker": (None, 3),
        }  # fmt: skip
        assert found["web-2"].env["PORT"] == "3001"
        assert "not carried over: cron" in converted.text

    @pytest.mark.parametrize(
        ("formation", "copies"),
        [
            ("formation: mail=2", {"mail": 2}),
            ("concurrency: mail=2", {"mail": 2}),
            ("formation: all=3,mail=1", {"mail": 1, "work": 3}),
            ("port: 3000", {"mail": 1, "work": 1}),
        ],
    )
    def test_what_a_formation_leaves_out_does_not_run(
        self, formation: str, copies: dict[str, int], tmp_path: Path
    ) -> None:
        (tmp_path / ".foreman").write_text(f"{formation}\n")
        _, result = imported_text("procfile", tmp_path, "mail: x\nwork: y\n", name="Procfile")
        assert {name: spec.replicas for name, spec in components(result).items()} == copies


class TestMalformed:
    @pytest.mark.parametrize(
        ("text", "code", "said"),
        [
            ("web: a\nnonsense\n", "E1002", "Procfile, line 2"),
            ("web: a\n\nweb: b\n", "E1002", "'web' is there already, in line 1"),
            ("web: echo 'a\n", "E1002", "a quotation that is not closed: echo 'a"),
            ("we b: a\n", "E1002", "letters, digits"),
            ("web:\n", "E1002", "line 1"),
            ("# nothing\n", "E1002", "nothing to run"),
        ],
    )
    def test_message_has_the_line_and_what_is_wrong(
        self, text: str, code: str, said: str, tmp_path: Path
    ) -> None:
        with pytest.raises(ConfigError) as caught:
            imported_text("procfile", tmp_path, text, name="Procfile")
        assert caught.value.code == code
        assert said in str(caught.value).replace("There is n", "n")

    def test_bytes_that_are_no_text_are_refused(self, tmp_path: Path) -> None:
        (tmp_path / "Procfile").write_bytes(b"web: \xff\xfe\n")
        with pytest.raises(ConfigError, match="E1002 Procfile is not UTF-8"):
            imported("procfile", tmp_path / "Procfile")

    def test_dotenv_that_is_no_utf8_text_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_bytes("NAME=Ren\u00e9\n".encode("latin-1"))
        with pytest.raises(ConfigError, match=r"E1002 \.env is not UTF-8"):
            imported_text("honcho", tmp_path, "web: a\n", name="Procfile")

    def test_formation_of_nothing_is_refused(self, tmp_path: Path) -> None:
        (tmp_path / ".foreman").write_text("formation: other=1\n")
        with pytest.raises(ConfigError, match="nothing to run"):
            imported_text("procfile", tmp_path, "web: a\n", name="Procfile")

    def test_port_of_the_dotenv_must_be_a_number(self, tmp_path: Path) -> None:
        (tmp_path / ".env").write_text("PORT=http\n")
        with pytest.raises(ConfigError, match="PORT is 'http'"):
            imported_text("honcho", tmp_path, "web: a\n", name="Procfile")

    @pytest.mark.parametrize(
        ("kind", "name"),
        [
            ("procfile", "Procfile"),
            ("honcho", "Procfile"),
            ("supervisord", "x.conf"),
            ("compose", "x.yaml"),
            ("pm2", "x.json"),
            ("pm2", "x.config.js"),
        ],
    )
    def test_file_that_is_not_there_is_named(self, kind: str, name: str, tmp_path: Path) -> None:
        with pytest.raises(ConfigError, match=f"E1006 cannot read .*{name}. No such file"):
            imported(kind, tmp_path / name)
