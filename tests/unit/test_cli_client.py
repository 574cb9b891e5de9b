"""The client of the API, against a control plane that answers byte for byte what the test says."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contracts.errors import ControlError, NoControlPlane
from control_plane.cli.client import ControlClient

OK = b"HTTP/1.1 200 OK\r\n"
CHUNKED = OK + b"transfer-encoding: chunked\r\n\r\n"


@contextmanager
def answering(folder: Path, *pieces: bytes, stays: bool = False) -> Iterator[ControlClient]:
    """Answer one request with the pieces, each in a packet of its own, and then close or stay silent."""
    over = threading.Event()

    def answer() -> None:
        connection, _ = listener.accept()
        with connection:
            connection.recv(65_536)
            for piece in pieces:
                connection.sendall(piece)
            over.wait(10 if stays else 0)

    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(folder / "control.sock"))
        listener.listen()
        server = threading.Thread(target=answer)
        server.start()
        try:
            yield ControlClient(folder / "control.sock", home=folder)
        finally:
            over.set()
            server.join()


def chunk(data: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(data), data)


class TestWhole:
    def test_an_answer_may_come_in_any_pieces(self, tmp_path: Path) -> None:
        whole = OK + b'content-length: 8\r\n\r\n{"a": 1}'
        with answering(tmp_path, *(whole[i : i + 1] for i in range(len(whole)))) as client:
            assert client.get("/v1/status") == {"a": 1}

    def test_an_answer_may_be_chunked(self, tmp_path: Path) -> None:
        with answering(tmp_path, CHUNKED, chunk(b'{"a"'), chunk(b": 1}"), b"0\r\n\r\n", stays=True) as client:
            assert client.post("/v1/x", {"wait_s": 1}) == {"a": 1}

    def test_what_is_refused_in_words_of_others_is_quoted(self, tmp_path: Path) -> None:
        refusal = b"HTTP/1.1 502 Bad Gateway\r\ncontent-length: 6\r\n\r\nno way"
        with (
            answering(tmp_path, refusal) as client,
            pytest.raises(ControlError, match=r"E3003 the control plane answered 502\. No way"),
        ):
            client.get("/v1/status")

    @pytest.mark.parametrize(
        "begun",
        [
            b"",
            OK,
            OK + b"content-length: 8\r\n\r\n{",
            CHUNKED + b'8\r\n{"a"',
            CHUNKED + chunk(b"{"),
            b"bye\r\n",
        ],
    )
    def test_what_breaks_off_or_is_no_http_is_an_error(self, begun: bytes, tmp_path: Path) -> None:
        with (
            answering(tmp_path, begun) as client,
            pytest.raises(NoControlPlane, match=r"E3001 the control plane in .* went away"),
        ):
            client.get("/v1/status")

    @pytest.mark.parametrize("begun", [b"", OK, OK + b"content-length: 8\r\n\r\n{"])
    def test_what_does_not_come_in_time_is_an_error(self, begun: bytes, tmp_path: Path) -> None:
        with (
            answering(tmp_path, begun, stays=True) as client,
            pytest.raises(ControlError, match=r"E3004 .* did not answer within 0\.05 s"),
        ):
            client.post("/v1/x", timeout_s=0.05)


class TestStreams:
    def test_lines_come_before_the_stream_has_ended(self, tmp_path: Path) -> None:
        with answering(tmp_path, CHUNKED, chunk(b'{"n": 1}\n{"n"'), chunk(b": 2}\n\n"), stays=True) as client:
            lines = client.lines("/v1/stop")
            assert [next(lines), next(lines)] == [{"n": 1}, {"n": 2}]

    def test_an_event_may_be_of_many_chunks(self, tmp_path: Path) -> None:
        pieces = chunk(b"id: 1-0\nevent: x\nda"), chunk(b'ta: "y"\n\n: ping\n\n'), b"0\r\n\r\n"
        with answering(tmp_path, CHUNKED, *pieces) as client:
            events = list(client.events("/v1/events"))

        assert [(event.id, event.event, event.data) for event in events] == [("1-0", "x", "y")]

    @pytest.mark.parametrize("end", [b"0\r\n\r\n", b""])
    def test_a_stream_ends_by_its_mark_or_with_its_connection(self, end: bytes, tmp_path: Path) -> None:
        with answering(tmp_path, CHUNKED + chunk(b"1\n") + chunk(b"2\n") + end) as client:
            assert list(client.lines("/v1/stop")) == [1, 2]

    def test_one_that_breaks_off_inside_a_chunk_is_an_error(self, tmp_path: Path) -> None:
        with answering(tmp_path, CHUNKED, chunk(b"1\n"), b"8\r\n22\n") as client:
            lines = client.lines("/v1/stop")
            assert [next(lines), next(lines)] == [1, 22]
            with pytest.raises(NoControlPlane, match="went away"):
                next(lines)
