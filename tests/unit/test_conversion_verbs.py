"""`ctl import` and `ctl export` as a user types them: what is written, and what is not."""

from __future__ import annotations

import errno
import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from contracts.specs import HostSpec
from control_plane.cli.main import main
from tests.support.conversion import shop


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The example project as the working folder."""
    for name in ("CTL_HOME", "CTL_CONFIG"):
        monkeypatch.delenv(name, raising=False)
    path = shop(tmp_path)
    monkeypatch.chdir(path)
    return path


class TestImport:
    def test_ctl_toml_is_written_beside_the_file_and_is_valid(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["import", "honcho", "Procfile"]) == 0
        assert "wrote ctl.toml: 8 components" in capsys.readouterr().out
        assert main(["config", "validate"]) == 0

    def test_dash_prints_it_and_writes_nothing(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["import", "procfile", "Procfile", "--output", "-"]) == 0
        assert capsys.readouterr().out.startswith("# Written by `ctl import` from Procfile.\n")
        assert not (folder / "ctl.toml").exists()

    def test_file_that_is_there_is_written_over_only_by_force(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "ctl.toml").write_text("mine")
        assert main(["import", "procfile", "Procfile"]) == 2
        assert "E1012 ctl.toml exists already. Write over it with --force" in capsys.readouterr().err
        assert (folder / "ctl.toml").read_text() == "mine"
        assert main(["import", "procfile", "Procfile", "--force"]) == 0
        assert "[components.web]" in (folder / "ctl.toml").read_text()

    def test_malformed_file_leaves_what_is_there(self, folder: Path) -> None:
        (folder / "ctl.toml").write_text("mine")
        (folder / "Procfile").write_text("nonsense\n")
        assert main(["import", "procfile", "Procfile", "--force"]) == 2
        assert (folder / "ctl.toml").read_text() == "mine"

    @pytest.mark.parametrize("output", ["ctl.toml", "-"])
    def test_text_that_is_no_utf8_leaves_what_is_there(
        self, output: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        (folder / "ctl.toml").write_text("mine")
        (folder / "p.json").write_text('{"script": "a.js", "env": {"A": "\\ud800"}}')
        assert main(["import", "pm2", "p.json", "--force", "--output", output]) == 2
        assert capsys.readouterr().err.startswith("E1012 cannot write")
        assert (folder / "ctl.toml").read_text() == "mine"

    def test_full_disk_leaves_what_is_there(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        (folder / "ctl.toml").write_text("mine")
        before = sorted(folder.iterdir())

        def full(*_: object) -> None:
            raise OSError(errno.ENOSPC, "No space left on device")

        monkeypatch.setattr("os.replace", full)
        assert main(["import", "procfile", "Procfile", "--force"]) == 2
        assert (folder / "ctl.toml").read_text() == "mine"
        assert sorted(folder.iterdir()) == before

    def test_file_that_is_there_keeps_its_mode_and_its_link(self, folder: Path) -> None:
        (folder / "real.toml").write_text("mine")
        (folder / "real.toml").chmod(0o640)
        (folder / "ctl.toml").symlink_to("real.toml")
        assert main(["import", "procfile", "Procfile", "--force"]) == 0
        assert (folder / "ctl.toml").is_symlink()
        assert "[components.web]" in (folder / "real.toml").read_text()
        assert (folder / "real.toml").stat().st_mode & 0o777 == 0o640

    def test_device_is_never_replaced(self, folder: Path, capsys: pytest.CaptureFixture[str]) -> None:
        os.mkfifo(folder / "x.toml")
        assert main(["import", "procfile", "Procfile", "--force", "--output", "x.toml"]) == 2
        assert "E1012 x.toml is no plain file" in capsys.readouterr().err

    def test_json_says_what_was_not_carried_over(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["--json", "import", "pm2", "ecosystem.config.json"]) == 0
        said = json.loads(capsys.readouterr().out)
        assert said["components"] == ["mailer", "cluster"]
        assert any("instances = 4" in text for text in said["not_carried_over"])

    @pytest.mark.parametrize(
        ("arguments", "code", "said"),
        [
            (["circus", "x.ini"], "E1009", "supervisord"),
            (["procfile", "Procfile", "--output", "ctl.yaml"], "E1009", "no name of a TOML file"),
            (["procfile", "web"], "E1006", "Is a directory"),
            (["procfile", "Procfile", "--output", "Procfile/ctl.toml"], "E1012", "cannot write"),
        ],
    )
    def test_wrong_argument_is_explained(
        self, arguments: list[str], code: str, said: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        assert main(["import", *arguments]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith(code)
        assert said in shown


class TestExport:
    @pytest.mark.parametrize(
        ("kind", "written"),
        [("procfile", "Procfile"), ("systemd", "systemd/shop.target"), ("compose", "compose.yaml")],
    )
    def test_files_are_written_beside_the_configuration(
        self, kind: str, written: str, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["import", "honcho", "Procfile"])
        assert main(["export", kind, "--force"]) == 0
        assert f"wrote {folder / written}\n" in capsys.readouterr().out
        assert "ctl export" in (folder / written).read_text()

    def test_only_the_user_may_read_what_is_written(self, folder: Path) -> None:
        main(["import", "honcho", "Procfile"])
        (folder / "Procfile").unlink()
        assert main(["export", "procfile"]) == 0
        assert (folder / "Procfile").stat().st_mode & 0o777 == 0o600

    def test_nothing_is_written_where_one_file_is_there(
        self, folder: Path, capsys: pytest.CaptureFixture[str]
    ) -> None:
        main(["import", "honcho", "Procfile"])
        (folder / "units").mkdir()
        (folder / "units" / "shop-tail.service").write_text("mine")
        assert main(["export", "systemd", "--output", "units"]) == 2
        assert "E1012" in capsys.readouterr().err
        assert [path.name for path in (folder / "units").iterdir()] == ["shop-tail.service"]

    def test_format_that_is_not_there_lists_those_that_are(self, capsys: pytest.CaptureFixture[str]) -> None:
        assert main(["export", "kubernetes"]) == 2
        shown = capsys.readouterr().err
        assert shown.startswith("E1009")
        assert all(name in shown for name in ("procfile", "systemd", "compose"))


class TestHost:
    def test_host_of_the_gateway_listens_where_clients_connect(
        self, folder: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """Whoever runs an exported file has no launch that would have bound that address."""
        (folder / "ctl.toml").write_text('[gateway]\nport = 0\n[bus]\nurl = "redis://127.0.0.1:1/0"\n')
        specs: list[HostSpec] = []

        def run_host(spec: HostSpec) -> int:
            specs.append(spec)
            return 0

        monkeypatch.setattr("control_plane.runtime.host_main.run_host", run_host)
        monkeypatch.setattr(sys, "path", [*sys.path])

        assert main(["host", "gateway"]) == 0

        assert specs[0].public_fds
        with socket.socket(fileno=specs[0].public_fds[0]) as listener:
            socket.create_connection(listener.getsockname()).close()


def test_help_loads_nothing_of_the_formats() -> None:
    code = (
        "import sys\n"
        "from control_plane.cli.main import main\n"
        "main(['--help'])\n"
        "print('LOADED', *sorted({'tomlkit', 'yaml', 'dotenv', 'pydantic'} & set(sys.modules)))\n"
    )
    shown = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert shown.stdout.splitlines()[-1] == "LOADED"
