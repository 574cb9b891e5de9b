"""Lines and messages between anchor and control plane."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from control_plane.runtime.anchor_protocol import (
    BusGone,
    Done,
    Hello,
    HostGone,
    Lines,
    LineTooLong,
    Record,
    Refused,
    Shutdown,
    SignalHost,
    read_answer,
    read_request,
    to_line,
)


class TestLines:
    @given(st.lists(st.binary().map(lambda b: b.replace(b"\n", b""))), st.data())
    def test_lines_are_the_same_however_the_bytes_arrive(
        self, lines: list[bytes], data: st.DataObject
    ) -> None:
        stream = b"".join(line + b"\n" for line in lines)
        cuts = sorted(data.draw(st.lists(st.integers(0, len(stream)))))
        pieces = [stream[a:b] for a, b in zip([0, *cuts], [*cuts, len(stream)], strict=True)]
        reader = Lines(1 << 20)

        assert [line for piece in pieces for line in reader.feed(piece)] == lines

    def test_a_line_above_the_bound_is_an_error(self) -> None:
        with pytest.raises(LineTooLong):
            Lines(4).feed(b"abcde")

    def test_many_short_lines_above_the_bound_are_none(self) -> None:
        assert len(Lines(4).feed(b"abc\n" * 100)) == 100


class TestMessages:
    @pytest.mark.parametrize(
        "request_", [Hello(id=1, pid=2, epoch=3), SignalHost(id=1, host="a", signum=9), Shutdown(id=4)]
    )
    def test_requests_are_read_as_they_were_written(self, request_: Record) -> None:
        assert read_request(to_line(request_)) == request_

    @pytest.mark.parametrize(
        "answer",
        [
            Done(re=1),
            Refused(re=None, error={}),
            HostGone(host="a", pid=1, exit_code=None, signal=9),
            BusGone(pid=1, exit_code=0, signal=None),
        ],
    )
    def test_answers_and_events_are_read_as_they_were_written(self, answer: Record) -> None:
        assert read_answer(to_line(answer)) == answer

    def test_a_field_of_a_newer_version_is_ignored(self) -> None:
        assert read_request(b'{"op": "shutdown", "id": 1, "gently": true}') == Shutdown(id=1)

    @pytest.mark.parametrize("signum", [0, 65, -9])
    def test_a_number_that_is_no_signal_is_refused(self, signum: int) -> None:
        with pytest.raises(ValidationError):
            read_request(f'{{"op": "signal", "id": 1, "host": "a", "signum": {signum}}}'.encode())
