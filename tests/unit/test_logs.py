"""Log files are read as a person wrote off: merged, rotated, truncated, and full of junk."""

from __future__ import annotations

import asyncio
import json
import os
from contextlib import aclosing
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from control_plane.logs import LogLine, LogReader, folder_watch
from control_plane.logs.tail import MAX_LINE_BYTES
from tests.support.wait import eventually

pytestmark = pytest.mark.anyio

NOON = datetime(2026, 1, 1, 12, tzinfo=UTC)


def record(message: str, *, after_s: float = 0, **fields: Any) -> str:
    at = (NOON + timedelta(seconds=after_s)).isoformat()
    return json.dumps({"at": at, "level": "info", "message": message} | fields) + "\n"


def append(path: Path, text: str | bytes) -> None:
    with open(path, "ab") as file:
        file.write(text.encode() if isinstance(text, str) else text)


def messages(reader: LogReader) -> list[str]:
    return [line.message for line in reader.read()]


class TestHistory:
    def test_files_are_merged_by_time(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.log", record("one") + record("three", after_s=2))
        append(tmp_path / "critic-1.log", record("two", after_s=1) + record("four", after_s=3))

        assert messages(LogReader(tmp_path)) == ["one", "two", "three", "four"]

    def test_rotated_files_come_oldest_first(self, tmp_path: Path) -> None:
        for number, suffix in enumerate(["log.10", "log.2", "log.1", "log"]):
            append(tmp_path / f"writer-1.{suffix}", record(suffix, after_s=number))

        assert messages(LogReader(tmp_path)) == ["log.10", "log.2", "log.1", "log"]

    def test_a_line_that_a_rotation_cut_short_does_not_run_into_the_next_file(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.out.log.1", "half")
        append(tmp_path / "writer-1.out.log", "next\n")

        assert messages(LogReader(tmp_path)) == ["half", "next"]

    def test_extra_fields_and_the_traceback_are_kept(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.log", record("boom", replica="writer-1", story=7, exc="Traceback"))

        (line,) = LogReader(tmp_path).read()

        assert (line.component, line.fields, line.exc) == ("writer", {"story": 7}, "Traceback")
        assert json.loads(json.dumps(line.as_dict()))["story"] == 7

    def test_a_raw_line_belongs_to_the_replica_and_the_time_of_its_file(self, tmp_path: Path) -> None:
        path = tmp_path / "fact-checker-12.out.log"
        append(path, "printed\n")
        os.utime(path, (NOON.timestamp(), NOON.timestamp()))

        (line,) = LogReader(tmp_path).read()

        assert (line.component, line.replica, line.at) == ("fact-checker", "fact-checker-12", NOON)

    @pytest.mark.parametrize(
        "junk",
        [
            b"\xff\xfe\x00binary",
            b"{not json}",
            b'{"message": "no time"}',
            b'{"at": 3, "message": 1}',
            b"[" * 9_000,
            b'{"a":' * 9_000,
        ],
    )
    def test_what_is_no_record_is_shown_as_it_is(self, tmp_path: Path, junk: bytes) -> None:
        append(tmp_path / "writer-1.log", junk + b"\n" + record("after").encode())

        assert len(messages(LogReader(tmp_path))) == 2

    @pytest.mark.parametrize("at", ["0001-01-01T00:00:00+00:00", "9999-12-31T23:59:59+00:00"])
    def test_a_time_at_the_end_of_time_is_none(self, tmp_path: Path, at: str) -> None:
        append(tmp_path / "writer-1.out.log", record("x", at=at))

        (line,) = LogReader(tmp_path).read()

        assert line.at.year not in (1, 9999)

    def test_a_line_of_megabytes_is_cut_and_the_next_one_is_whole(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.out.log", b"x" * (3 * MAX_LINE_BYTES) + b"\nnext\n")

        long, following = messages(LogReader(tmp_path))

        assert long.endswith(f"({2 * MAX_LINE_BYTES} more bytes)")
        assert following == "next"

    def test_the_last_words_of_a_killed_process_are_shown_without_a_line_end(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.out.log", "Segmentation fault")

        assert messages(LogReader(tmp_path)) == ["Segmentation fault"]

    def test_what_is_older_than_since_is_left_out(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.log.1", record("ancient"))
        os.utime(tmp_path / "writer-1.log.1", (0, 0))
        append(tmp_path / "writer-1.log", record("old") + record("new", after_s=60))

        assert messages(LogReader(tmp_path, since=NOON + timedelta(seconds=30))) == ["new"]

    def test_names_choose_components_replicas_and_other_labels(self, tmp_path: Path) -> None:
        for label in ("writer-1", "writer-2", "critic-1", "control", "valkey"):
            append(tmp_path / f"{label}.log", record(label))

        assert sorted(messages(LogReader(tmp_path, names=["writer"]))) == ["writer-1", "writer-2"]
        assert messages(LogReader(tmp_path, names=["writer-2"])) == ["writer-2"]
        assert messages(LogReader(tmp_path, names=["valkey"])) == ["valkey"]
        assert "valkey" not in messages(LogReader(tmp_path))

    def test_a_missing_folder_is_an_empty_one(self, tmp_path: Path) -> None:
        assert messages(LogReader(tmp_path / "none")) == []


class Follower:
    """Follows a folder in a task and keeps what it saw."""

    def __init__(self, reader: LogReader, *, history: bool = False) -> None:
        self._lines = reader.follow(history=history)
        self.seen: list[LogLine] = []

    async def run(self) -> None:
        async with aclosing(self._lines) as lines:
            async for line in lines:
                self.seen.append(line)

    def messages(self) -> list[str]:
        return [line.message for line in self.seen if line.message != "probe"]

    async def until(self, *expected: str) -> None:
        await eventually(lambda: self.messages()[-len(expected) :] == list(expected))


@pytest.fixture(params=["inotify", "polling"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Each way to learn of a change; polling faster than users do."""
    if request.param == "polling":
        monkeypatch.setattr(folder_watch, "_watch", lambda folder: None)
        monkeypatch.setattr(folder_watch, "POLL_S", 0.01)
    return str(request.param)


@pytest.mark.usefixtures("way")
class TestFollowing:
    async def test_lines_appear_as_they_are_written_in_files_old_and_new(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.log", record("before"))
        async with following(LogReader(tmp_path), tmp_path) as follower:
            append(tmp_path / "writer-1.log", record("after"))
            await follower.until("after")
            append(tmp_path / "critic-1.out.log", "printed\n")
            await follower.until("printed")

            assert "before" not in follower.messages()

    async def test_history_comes_first_where_it_is_asked_for(self, tmp_path: Path) -> None:
        append(tmp_path / "writer-1.log", record("before"))
        async with following(LogReader(tmp_path), tmp_path, history=True) as follower:
            assert follower.messages()[0] == "before"

    async def test_nothing_is_lost_or_doubled_across_rotations(self, tmp_path: Path) -> None:
        path = tmp_path / "writer-1.log"
        async with following(LogReader(tmp_path), tmp_path) as follower:
            for number in range(60):
                append(path, record(str(number)))
                if number % 7 == 6:
                    rotate(path)
                if number % 20 == 19:
                    await follower.until(str(number))

            assert follower.messages() == [str(number) for number in range(60)]

    async def test_a_file_that_was_emptied_is_read_from_its_start(self, tmp_path: Path) -> None:
        path = tmp_path / "writer-1.log"
        async with following(LogReader(tmp_path), tmp_path) as follower:
            append(path, record("a line that is longer than what follows"))
            await follower.until("a line that is longer than what follows")
            path.write_text(record("short"))
            await follower.until("short")

    async def test_a_line_is_shown_once_it_is_whole(self, tmp_path: Path) -> None:
        async with following(LogReader(tmp_path), tmp_path) as follower:
            append(tmp_path / "writer-1.out.log", "half ")
            append(tmp_path / "critic-1.out.log", "other\n")
            await follower.until("other")
            append(tmp_path / "writer-1.out.log", "and half\n")
            await follower.until("half and half")


def rotate(path: Path) -> None:
    """Rename as logging's RotatingFileHandler does."""
    for number in (2, 1):
        older = path.with_name(f"{path.name}.{number}")
        if older.exists():
            older.rename(path.with_name(f"{path.name}.{number + 1}"))
    path.rename(path.with_name(f"{path.name}.1"))


class following:  # noqa: N801 - reads as a verb in `async with`
    """Follow for the length of a block; begins once the follower has seen a first line."""

    def __init__(self, reader: LogReader, folder: Path, *, history: bool = False) -> None:
        self._follower = Follower(reader, history=history)
        self._probe = folder / "probe.out.log"

    async def __aenter__(self) -> Follower:
        self._task = asyncio.ensure_future(self._follower.run())

        def seen() -> bool:
            if not self._follower.seen:
                append(self._probe, "probe\n")
            return bool(self._follower.seen)

        await eventually(seen, every_s=0.15)
        return self._follower

    async def __aexit__(self, *exc_info: object) -> None:
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
