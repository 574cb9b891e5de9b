"""Imports run one way, and some modules stay light: the rules of docs/architecture.md."""

from __future__ import annotations

import ast
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

PROJECT = Path(__file__).parents[2]
LINTER = Path(sys.executable).with_name("lint-imports")
PURE = {
    "__future__", "collections", "contracts", "control_plane", "dataclasses", "enum", "functools", "graphlib",
    "heapq", "itertools", "json", "math", "operator", "pydantic", "pydantic_core", "re", "string", "types",
    "typing",
}  # fmt: skip
HEAVY = {"pydantic", "fastapi", "faststream", "redis", "aiohttp", "rich", "uvicorn"}


def imports_of(source: Path) -> Iterator[str]:
    """Yield every module that a file names in an import, wherever in the file it stands."""
    for node in ast.walk(ast.parse(source.read_text())):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            yield node.module or ""


def files_below(folder: str) -> list[Path]:
    files = sorted((PROJECT / folder).rglob("*.py"))
    assert files, f"{folder} has no modules: the test looks in the wrong place"
    return files


def test_layers_hold() -> None:
    """The contracts of `[tool.importlinter]` in pyproject.toml."""
    result = subprocess.run([LINTER, "--no-cache"], cwd=PROJECT, capture_output=True, text=True, timeout=100)
    assert result.returncode == 0, result.stdout + result.stderr


@pytest.mark.parametrize("source", files_below("control_plane/core"), ids=lambda path: path.stem)
def test_core_imports_nothing_that_does_io_or_has_a_clock(source: Path) -> None:
    """An allow-list, so that a new way to do I/O has to be argued for here."""
    roots = {name.partition(".")[0] for name in imports_of(source)}
    assert roots <= PURE
    ours = {name for name in imports_of(source) if name.startswith("control_plane")}
    assert all(name.startswith("control_plane.core") for name in ours)


@pytest.mark.parametrize("source", files_below("control_plane/core"), ids=lambda path: path.stem)
def test_core_has_no_async_function(source: Path) -> None:
    asynchronous = (ast.AsyncFunctionDef, ast.AsyncFor, ast.AsyncWith, ast.Await)
    assert not [node for node in ast.walk(ast.parse(source.read_text())) if isinstance(node, asynchronous)]


def test_only_brokers_know_the_redis_side_of_faststream() -> None:
    users = {
        source.relative_to(PROJECT).as_posix()
        for folder in ("contracts", "components", "control_plane")
        for source in files_below(folder)
        if any(name.startswith("faststream.redis") for name in imports_of(source))
    }
    assert all(user.startswith("control_plane/brokers/") for user in users), users


def test_components_is_a_namespace_that_a_users_own_folder_joins(tmp_path: Path) -> None:
    assert not (PROJECT / "components" / "__init__.py").exists()
    own = tmp_path / "components" / "mine"
    own.mkdir(parents=True)
    (own / "__init__.py").write_text("")
    code = f"import sys; sys.path.insert(0, {str(tmp_path)!r}); import components.mine, components.agents"
    subprocess.run([sys.executable, "-c", code], cwd=PROJECT, check=True, timeout=60)


def test_one_process_loads_no_client_of_a_bus_or_of_other_processes() -> None:
    code = (
        "import sys, components.gateway, control_plane.brokers.faststream\n"
        "from control_plane.launcher import one_process, root\n"
        "from control_plane.hosting import inline\n"
        "print(*sorted({'redis', 'hiredis', 'aiohttp', 'websockets.asyncio.client'} & set(sys.modules)))\n"
    )
    loaded = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60, check=True
    )
    assert loaded.stdout.split() == []


@pytest.mark.parametrize("arguments", [["--help"], ["status", "--help"]], ids=" ".join)
def test_the_command_line_loads_nothing_heavy(arguments: list[str]) -> None:
    """`ctl status` must answer at once; what a launch needs loads with the launch."""
    code = (
        "import sys\n"
        "from control_plane.cli.main import main\n"
        f"sys.argv = ['ctl', *{arguments!r}]\n"
        "try: code = main()\n"
        "except SystemExit as end: code = end.code\n"
        f"print('LOADED', *sorted({HEAVY!r} & set(sys.modules)))\n"
        "sys.exit(code)\n"
    )
    result = subprocess.run(
        [sys.executable, "-c", code], cwd=PROJECT, capture_output=True, text=True, timeout=60
    )
    assert result.returncode == 0, result.stderr
    assert result.stdout.splitlines()[-1] == "LOADED"
