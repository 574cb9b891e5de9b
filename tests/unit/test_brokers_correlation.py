"""What ties messages together."""

from __future__ import annotations

from opentelemetry.trace import NonRecordingSpan, SpanContext, TraceFlags, use_span

from control_plane.brokers.correlation import current_correlation, handling

TRACE = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"


def test_outside_of_a_handler_every_message_starts_a_chain() -> None:
    first, second = current_correlation(), current_correlation()
    assert first.correlation_id != second.correlation_id
    assert first.traceparent == ""


def test_inside_of_a_handler_it_is_that_of_the_message() -> None:
    with handling("c-1", TRACE):
        assert (current_correlation().correlation_id, current_correlation().traceparent) == ("c-1", TRACE)
        with handling("c-2", ""):
            assert current_correlation().correlation_id == "c-2"
        assert current_correlation().correlation_id == "c-1"


def test_an_active_span_wins_over_the_messages_trace() -> None:
    span = SpanContext(0xABC, 0xDEF, is_remote=False, trace_flags=TraceFlags(1))
    with handling("c-1", TRACE), use_span(NonRecordingSpan(span)):
        assert current_correlation().traceparent == f"00-{0xABC:032x}-{0xDEF:016x}-01"
