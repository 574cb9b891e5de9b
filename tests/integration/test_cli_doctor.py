"""`ctl doctor` says what components are and what their code does, and starts none of them."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from control_plane.cli.main import main

MODULE = """
import {imports}
{at_import}

class Agent:
    def start(self): raise AssertionError("nothing is started")
    def stop(self): ...

async def work(): ...

async def app(scope, receive, send): ...

def make(context): ...

class Odd: ...
"""


def examined(
    folder: Path, capsys: pytest.CaptureFixture[str], table: str, *, at_import: str = "", imports: str = "os"
) -> tuple[int, dict[str, Any]]:
    """Examine the component `it`; return exit code and finding."""
    (folder / "mine.py").write_text(MODULE.format(at_import=at_import, imports=imports))
    (folder / "ctl.toml").write_text(f"[components.it]\n{table}\n")
    code = main(["doctor", "it", "--config", str(folder / "ctl.toml"), "--json", "--timeout", "5"])
    (finding,) = json.loads(capsys.readouterr().out)
    return code, finding


@pytest.mark.parametrize(
    ("table", "kind", "why"),
    [
        ('use = "mine:Agent"', "object", "it is the class Agent with the method start"),
        ('use = "mine:work"', "task", "it is a coroutine function"),
        ('use = "mine:app"', "asgi", "it is an async callable of scope, receive and send"),
        ('use = "mine:make"', "factory", "it is a function, which makes what is to run"),
        ('use = "mine:Odd"\nkind = "wsgi"', "wsgi", "`kind` says so"),
        ('command = ["sleep", "1"]', "program", "it has a `command`"),
    ],
)
def test_it_says_what_was_found_and_why(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], table: str, kind: str, why: str
) -> None:
    code, finding = examined(tmp_path, capsys, table)
    assert (code, finding["kind"], finding["why"]) == (0, kind, why)
    assert finding["hints"] == []


@pytest.mark.parametrize(
    ("at_import", "imports", "hint"),
    [
        (
            "threading.Thread(target=threading.Event().wait, daemon=True).start()",
            "threading",
            "starts thread",
        ),
        ("signal.signal(signal.SIGTERM, lambda *_: None)", "signal", "installs signal handlers"),
        ("logging.basicConfig()", "logging", "configures the root logger"),
        ("os.chdir('/')", "os", "changes the working folder to /"),
        ("sys.path.append('elsewhere')", "sys", "changes sys.path"),
        ("uvicorn.Server.handle_exit = lambda *_: None", "uvicorn", "patches uvicorn's end"),
        ("time.sleep(2.1)", "time", "its import takes 2.1 s"),
    ],
)
def test_it_says_what_the_code_does_behind_ones_back(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], at_import: str, imports: str, hint: str
) -> None:
    code, finding = examined(tmp_path, capsys, 'use = "mine:Agent"', at_import=at_import, imports=imports)
    assert code == 0
    (said,) = finding["hints"]
    assert hint in said


@pytest.mark.parametrize(
    ("use", "at_import", "error"),
    [
        ("mine:Agnet", "", "has no attribute 'Agnet'"),
        ("mine:Odd", "", "is nothing that can be hosted"),
        ("mine:Agent", "print('bye'); os._exit(3)", "ended the process with exit code 3"),
        ("mine:Agent", "1 / 0", "raised ZeroDivisionError"),
        ("mine:Agent", "import time; time.sleep(60)", "takes longer than 5 s"),
    ],
)
def test_what_cannot_be_hosted_is_an_error(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], use: str, at_import: str, error: str
) -> None:
    code, finding = examined(tmp_path, capsys, f'use = "{use}"', at_import=at_import)
    assert code == 1
    assert error in finding["error"]["what"]


def test_people_read_it_and_unknown_names_are_refused(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    examined(tmp_path, capsys, 'use = "mine:Agent"\nready = "up"')
    assert main(["doctor", "it", "--config", str(tmp_path / "ctl.toml")]) == 0
    told = capsys.readouterr().out
    assert told.startswith("it: object, because it is the class Agent with the method start")
    assert "ready when `up` says so" in told

    assert main(["doctor", "itt", "--config", str(tmp_path / "ctl.toml")]) == 2
    assert "Did you mean 'it'?" in capsys.readouterr().err


OVERLAP = """
from fastapi import FastAPI

site = FastAPI()
shop = FastAPI()

@site.get("/shop/stock")
async def stock(): ...

@site.get("/about")
async def about(): ...
"""


def test_routes_that_another_component_answers_are_named(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.py").write_text(OVERLAP)
    tables = ('[components.site]\nuse = "mine:site"\nprefix = "/"', '[components.shop]\nuse = "mine:shop"')
    (tmp_path / "ctl.toml").write_text("\n".join([*tables, 'prefix = "/shop"']))

    assert main(["doctor", "site", "--config", str(tmp_path / "ctl.toml")]) == 0

    assert "note: 'shop' at /shop answers 1 route of 'site': GET /shop/stock" in capsys.readouterr().out
