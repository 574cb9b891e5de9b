"""What ties messages together."""

from __future__ import annotations

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from control_plane.brokers import correlation

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_outside_of_a_handler_there_is_nothing_to_inherit() -> None:
    assert correlation.current() == ("", "")


def test_inside_of_a_handler_it_is_that_of_the_message() -> None:
    first = correlation.handled.set(("c-1", TRACE))
    assert correlation.current() == ("c-1", TRACE)
    second = correlation.handled.set(("c-2", ""))
    assert correlation.current() == ("c-2", "")
    correlation.handled.reset(second)
    assert correlation.current() == ("c-1", TRACE)
    correlation.handled.reset(first)
    assert correlation.current() == ("", "")


def test_an_active_span_wins_over_the_messages_trace() -> None:
    span = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    handled = correlation.handled.set(("c-1", TRACE))
    with use_span(NonRecordingSpan(span)):
        assert correlation.current() == ("c-1", f"00-{0xABC:032x}-{0xDEF:016x}-01")
    assert correlation.current() == ("c-1", TRACE)
    correlation.handled.reset(handled)


def test_ids_differ() -> None:
    assert len({correlation.new_id() for _ in range(1000)}) == 1000
