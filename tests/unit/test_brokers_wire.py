"""The wire form of bus entries: readable, and the same value back."""

from __future__ import annotations

import json
import math
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st
from pydantic import BaseModel

from contracts.errors import BusError
from control_plane.brokers import wire
from control_plane.brokers.errors import Undeliverable

JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=8,
)


def encodable(value: Any) -> bool:
    """Return whether the text in a value can be UTF-8; lone surrogates cannot."""
    try:
        repr(value).encode()
        str(value).encode()
    except UnicodeEncodeError:
        return False
    return "\\ud" not in repr(value)


class TestJsonValues:
    @given(JSON.filter(encodable))
    def test_come_back_as_they_were(self, value: Any) -> None:
        assert wire.decode(wire.encode(value)) == value

    @given(JSON)
    @example("\ud800")
    @example(10**40)
    @example(1.7976931348623157e308)
    @example(-0.0)
    def test_are_read_as_the_standard_library_reads_them(self, value: Any) -> None:
        text = json.dumps(value)
        read = wire.decode({"data": text})
        assert read == json.loads(text)
        assert type(read) is type(json.loads(text))

    def test_may_be_nested_deeply(self) -> None:
        text = "[" * 500 + "]" * 500
        assert wire.decode({"data": text}) == json.loads(text)

    @pytest.mark.parametrize("data", ["", "{", "nul", "[1,]", "1 2", "'x'"])
    def test_what_is_none_is_undeliverable(self, data: str) -> None:
        with pytest.raises(Undeliverable, match="is not JSON"):
            wire.decode({"data": data})

    def test_are_the_only_field(self) -> None:
        """A person reads them, and can write them, without knowing anything else."""
        assert wire.encode({"title": "Ö", "n": 1}) == {"data": '{"title":"Ö","n":1}'}

    def test_models_and_times_are_written_as_json(self) -> None:
        class Chapter(BaseModel):
            at: datetime

        fields = wire.encode(Chapter(at=datetime(2026, 1, 2, tzinfo=UTC)))
        assert fields == {"data": '{"at":"2026-01-02T00:00:00Z"}'}

    def test_infinity_survives(self) -> None:
        assert wire.decode(wire.encode(math.inf)) == math.inf

    def test_what_has_no_json_form_is_refused(self) -> None:
        with pytest.raises(BusError, match="E4003"):
            wire.encode(object())


class TestBytes:
    @given(st.binary())
    def test_come_back_as_they_were(self, value: bytes) -> None:
        assert wire.decode(wire.encode(value)) == value

    def test_stay_readable_where_they_are_text(self) -> None:
        assert wire.encode(b"plain") == {"data": "plain", "content_type": "application/octet-stream"}
        assert wire.encode(b"\xff")["encoding"] == "base64"


class TestWhatAPersonWrites:
    def test_text_is_taken_as_it_stands_where_it_says_so(self) -> None:
        assert wire.decode({"data": "plain", "content_type": "text/plain"}) == "plain"

    @pytest.mark.parametrize("fields", [{}, {"data": "{"}, {"data": ""}])
    def test_what_is_no_json_is_undeliverable(self, fields: dict[str, str]) -> None:
        with pytest.raises(Undeliverable):
            wire.decode(fields)

    def test_headers_are_fields_with_a_prefix(self) -> None:
        fields = wire.encode_headers({"tone": "noir", "chapter": 3})
        assert fields == {"h-tone": "noir", "h-chapter": "3"}
        assert wire.decode_headers({**fields, "data": "1"}) == {"tone": "noir", "chapter": "3"}
