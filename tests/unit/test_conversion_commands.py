"""Command lines: what needs a shell, where `exec` goes, which port a server takes."""

from __future__ import annotations

import shlex
import subprocess

import pytest
from hypothesis import given
from hypothesis import strategies as st

from control_plane.conversion.commands import parse, split
from control_plane.conversion.naming import MAX_CHARS, Names, valid
from control_plane.conversion.references import References, split_references
from control_plane.conversion.servers import port_in
from control_plane.conversion.values import mebibytes, milliseconds, seconds


class TestParse:
    @pytest.mark.parametrize(
        ("line", "words"),
        [
            ("python worker.py --name 'a b'", ("python", "worker.py", "--name", "a b")),
            ("exec gunicorn app:app", ("gunicorn", "app:app")),
            ("echo '$HOME | x'", ("echo", "$HOME | x")),
            (
                "pip install 'uvicorn[standard]' a#b a~b",
                ("pip", "install", "uvicorn[standard]", "a#b", "a~b"),
            ),
            (r"echo \$HOME a\ b", ("echo", "$HOME", "a b")),
            ("echo 5$ {}", ("echo", "5$", "{}")),
        ],
    )
    def test_plain_line_is_split_into_words(self, line: str, words: tuple[str, ...]) -> None:
        assert parse(line).words == words

    @pytest.mark.parametrize(
        ("line", "script"),
        [
            ("gunicorn --bind :$PORT", "exec gunicorn --bind :$PORT"),
            ("A=\"$X\" prog '$Y' $Y", "A=\"$X\" exec prog '$Y' $Y"),
            ("gunicorn -w $(nproc) a", "exec gunicorn -w $(nproc) a"),
            ("a && b || c *.py", "a && b || exec c *.py"),
            ("prog > log 2>&1", "exec prog > log 2>&1"),
            ("ls ~/x", "exec ls ~/x"),
            (r'echo "\$HOME"', r'exec echo "\$HOME"'),
        ],
    )
    def test_line_for_a_shell_execs_its_last_command(self, line: str, script: str) -> None:
        assert parse(line).words == ("sh", "-c", script)

    @pytest.mark.parametrize(
        "line",
        [
            "tail -f log | grep x",
            "while true; do x; sleep 1; done",
            "a & b & wait",
            "test -f x && (a; b)",
            "prog || exit 1",
            "a;",
            "exec prog $X",
            "trap 'rm -f x.pid' EXIT; prog $X",
            "alias p=prog; p $X",
            "go() { prog $X; }; go $Y",
            "go ( ) { prog $X; }\ngo",
        ],
    )
    def test_exec_is_left_out_where_it_would_change_the_meaning(self, line: str) -> None:
        assert parse(line).words == ("sh", "-c", line)

    def test_leading_variables_and_folder_are_taken_out_of_a_plain_line(self) -> None:
        command = parse("cd frontend && exec env A=1 B='x y' npm start")

        assert command.words == ("npm", "start")
        assert command.env == {"A": "1", "B": "x y"}
        assert command.cwd == "frontend"

    @pytest.mark.parametrize("line", ["echo 'a", 'echo "a', "a \\", "", "A=b"])
    def test_line_that_no_shell_would_run_is_refused(self, line: str) -> None:
        with pytest.raises(ValueError, match=r"nothing to run|quotation|backslash"):
            parse(line)

    @given(st.lists(st.text(st.characters(min_codepoint=32, max_codepoint=126)), min_size=1, max_size=4))
    def test_whatever_is_quoted_comes_back_as_it_was(self, arguments: list[str]) -> None:
        words = ("prog", *arguments)
        assert parse(shlex.join(words)).words == words

    def test_a_shell_agrees_about_what_a_plain_line_means(self) -> None:
        line = r"""printf %s\\n a\ b 'c$d' "e\"f" g=h 5$ a#b {x}"""
        by_shell = subprocess.run(["sh", "-c", line], capture_output=True, text=True, check=True)
        by_us = subprocess.run(parse(line).words, capture_output=True, text=True, check=True)
        assert by_us.stdout == by_shell.stdout


class TestServers:
    @pytest.mark.parametrize(
        ("line", "port"),
        [
            ("uvicorn a:b", 8000),
            ("uvicorn a:b --port=8081", 8081),
            ("gunicorn -b 0.0.0.0:9000 x", 9000),
            ("gunicorn -b:9001 x", 9001),
            ("gunicorn x", 4000),
            ("gunicorn -b unix:/x.sock x", None),
            ("python manage.py runserver 0.0.0.0:8001", 8001),
            ("python -m http.server", 8000),
            ("poetry run flask run -p 3000", 3000),
            ("wait-for uvicorn", None),
            ("celery -A uvicorn worker", None),
            ("python uvicorn.py", None),
        ],
    )
    def test_port_of_a_well_known_server_is_known(self, line: str, port: int | None) -> None:
        assert port_in(split(line), {"PORT": "4000"}) == port


class TestNames:
    def test_every_name_is_valid_and_given_once(self) -> None:
        names = Names()
        given_names = [names.give(each) for each in ("Web App", "web-app", "gateway", "1st", "é", "x" * 80)]
        assert given_names == ["web-app", "web-app-2", "gateway-2", "c-1st", "component", "x" * MAX_CHARS]

    @given(st.text(max_size=100))
    def test_any_text_becomes_a_valid_name(self, text: str) -> None:
        import re

        assert re.fullmatch(r"[a-z][a-z0-9_-]{0,62}", valid(text))


class TestReferences:
    @pytest.mark.parametrize(
        ("text", "written"),
        [
            ("${A:-b}", "${A:-b}"),
            ("$A", "${A:-}"),
            ("${A}", "${A:-}"),
            ("${A:?must be set}", "${A}"),
            ("${A-b}", "${A:-b}"),
            ("5$$", "5$"),
            ("$${A}", "$${A}"),
            ("${A:-5$$}", "${A:-5$}"),
        ],
    )
    def test_variable_is_written_as_it_means_the_same(self, text: str, written: str) -> None:
        references = References()
        assert references.fill([text]) == [written]
        assert references.lost == []

    @pytest.mark.parametrize("text", ["${A:-${B:-c}}", "${A:+b}", "$$${A}"])
    def test_what_cannot_be_said_is_told(self, text: str) -> None:
        references = References()
        references.fill(text)
        assert len(references.lost) == 1

    @pytest.mark.parametrize("text", ["5$", "$1", "${A", "${}"])
    def test_lone_dollar_is_refused(self, text: str) -> None:
        with pytest.raises(ValueError, match=r"\$\$"):
            References().fill(text)

    def test_default_with_a_space_stays_one_word(self) -> None:
        assert split_references("run -c ${N:-4 x} 'a b'") == ("run", "-c", "${N:-4 x}", "a b")


class TestValues:
    def test_durations_and_sizes(self) -> None:
        assert [seconds(text) for text in ("1m30s", "500ms", "2h", "7", "1.5s")] == [90, 0.5, 7200, 7, 1.5]
        assert [seconds(text) for text in ("", "soon", "1x", "s")] == [None] * 4
        assert [mebibytes(text) for text in ("300M", "1g", "1.5 GiB", "1", "x")] == [300, 1024, 1536, 1, None]
        assert [milliseconds(value) for value in (1600, "3000", "3s", True, -1)] == [
            1.6,
            3.0,
            3.0,
            None,
            None,
        ]
