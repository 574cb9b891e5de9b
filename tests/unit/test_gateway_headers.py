"""Which headers cross the gateway."""

from __future__ import annotations

import ipaddress
from typing import Any

import pytest

from components.gateway.headers import HeaderRules, Outbound, answer_headers

NOBODY = HeaderRules(())
TRUSTING = HeaderRules([ipaddress.ip_network("10.0.0.0/8")])


def outbound(
    *headers: tuple[str, str], rules: HeaderRules = NOBODY, peer: str | None = "203.0.113.9", **scope: Any
) -> Outbound:
    raw = [(name.encode(), value.encode()) for name, value in headers]
    client = (peer, 4711) if peer else None
    return rules.outbound({"type": "http", "headers": raw, "client": client, "scheme": "http", **scope})


def values(request: Outbound, name: str) -> list[str]:
    return [value.decode() for found, value in request.headers if found == name.encode()]


class TestRequests:
    def test_what_the_client_sent_passes_in_order(self) -> None:
        request = outbound(("host", "a.example"), ("cookie", "a=1"), ("cookie", "b=2"), ("accept", "*/*"))
        assert request.headers[:4] == [
            (b"host", b"a.example"),
            (b"cookie", b"a=1"),
            (b"cookie", b"b=2"),
            (b"accept", b"*/*"),
        ]

    @pytest.mark.parametrize(
        "name",
        ["connection", "keep-alive", "te", "trailer", "upgrade", "proxy-authorization", "proxy-connection"],
    )
    def test_hop_by_hop_headers_end_here(self, name: str) -> None:
        assert values(outbound(("host", "a"), (name, "x")), name) == []

    def test_headers_that_connection_names_end_here(self) -> None:
        request = outbound(
            ("host", "a"), ("connection", "close, X-Secret"), ("x-secret", "1"), ("x-other", "2")
        )
        assert values(request, "x-secret") == []
        assert values(request, "x-other") == ["2"]

    def test_connection_cannot_take_away_what_frames_the_message(self) -> None:
        request = outbound(("host", "a"), ("connection", "content-length, host"), ("content-length", "5"))
        assert values(request, "content-length") == ["5"]
        assert values(request, "host") == ["a"]

    def test_only_one_host_passes(self) -> None:
        assert values(outbound(("host", "a"), ("host", "b")), "host") == ["a"]

    def test_a_request_id_is_kept_or_made(self) -> None:
        assert values(outbound(("host", "a"), ("x-request-id", "abc")), "x-request-id") == ["abc"]
        [made] = values(outbound(("host", "a")), "x-request-id")
        assert len(made) == 32

    def test_an_endless_request_id_is_replaced(self) -> None:
        [made] = values(outbound(("host", "a"), ("x-request-id", "x" * 201)), "x-request-id")
        assert len(made) == 32

    def test_a_write_without_a_body_says_so(self) -> None:
        assert values(outbound(("host", "a"), method="POST"), "content-length") == ["0"]
        assert values(outbound(("host", "a"), method="GET"), "content-length") == []


class TestWhoTheClientIs:
    def test_the_gateway_says_it(self) -> None:
        request = outbound(("host", "a.example:80"))
        assert values(request, "x-forwarded-for") == ["203.0.113.9"]
        assert values(request, "x-forwarded-proto") == ["http"]
        assert values(request, "x-forwarded-host") == ["a.example:80"]
        assert values(request, "forwarded") == ['for=203.0.113.9;proto=http;host="a.example:80"']
        assert request.client == "203.0.113.9"

    @pytest.mark.parametrize(
        "name",
        [
            "x-forwarded-for",
            "x-forwarded-proto",
            "x-forwarded-host",
            "x-forwarded-port",
            "x-real-ip",
            "forwarded",
        ],
    )
    def test_the_client_does_not(self, name: str) -> None:
        assert "6.6.6.6" not in values(outbound(("host", "a"), (name, "6.6.6.6")), name)

    def test_a_secure_websocket_is_https(self) -> None:
        assert values(outbound(("host", "a"), type="websocket", scheme="wss"), "x-forwarded-proto") == [
            "https"
        ]

    def test_an_ipv6_client_is_quoted(self) -> None:
        assert values(outbound(("host", "a"), peer="::1"), "forwarded") == ['for="[::1]";proto=http;host="a"']

    def test_a_client_on_a_unix_socket_is_unknown(self) -> None:
        request = outbound(("host", "a"), peer=None)
        assert values(request, "x-forwarded-for") == []
        assert values(request, "forwarded") == ['for=unknown;proto=http;host="a"']

    def test_a_host_that_would_break_out_of_its_quotes_is_not_repeated(self) -> None:
        assert values(outbound(("host", 'a";for=6.6.6.6')), "forwarded") == ["for=203.0.113.9;proto=http"]


class TestTrustedProxies:
    def test_a_trusted_proxy_says_who_the_client_is(self) -> None:
        request = outbound(
            ("host", "inner"),
            ("x-forwarded-for", "198.51.100.7"),
            ("x-forwarded-proto", "https"),
            ("x-forwarded-host", "outer"),
            rules=TRUSTING,
            peer="10.0.0.1",
        )
        assert values(request, "x-forwarded-for") == ["198.51.100.7, 10.0.0.1"]
        assert values(request, "x-forwarded-proto") == ["https"]
        assert values(request, "x-forwarded-host") == ["outer"]
        assert values(request, "forwarded") == ['for=198.51.100.7;proto=https;host="outer", for=10.0.0.1']
        assert (request.client, request.scheme) == ("198.51.100.7", "https")

    def test_what_the_client_put_in_front_is_dropped(self) -> None:
        """Behind two trusted proxies, the first address from the right that is not trusted is the client."""
        request = outbound(
            ("host", "a"),
            ("x-forwarded-for", "6.6.6.6, 198.51.100.7, 10.0.0.2"),
            rules=TRUSTING,
            peer="10.0.0.1",
        )
        assert values(request, "x-forwarded-for") == ["198.51.100.7, 10.0.0.2, 10.0.0.1"]

    def test_anybody_else_is_not_believed(self) -> None:
        request = outbound(("host", "a"), ("x-forwarded-for", "6.6.6.6"), rules=TRUSTING)
        assert values(request, "x-forwarded-for") == ["203.0.113.9"]

    @pytest.mark.parametrize(
        ("entry", "expected"),
        [
            ("198.51.100.7:4711", "198.51.100.7"),
            ("[2001:db8::1]:80", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
        ],
    )
    def test_a_port_is_left_out(self, entry: str, expected: str) -> None:
        request = outbound(("host", "a"), ("x-forwarded-for", entry), rules=TRUSTING, peer="10.0.0.1")
        assert request.client == expected

    def test_what_is_no_address_ends_the_chain(self) -> None:
        request = outbound(
            ("host", "a"), ("x-forwarded-for", "1.1.1.1, <x>"), rules=TRUSTING, peer="10.0.0.1"
        )
        assert values(request, "x-forwarded-for") == ["10.0.0.1"]


class TestAnswers:
    def test_repeated_headers_stay_apart(self) -> None:
        headers = [(b"set-cookie", b"a=1"), (b"set-cookie", b"b=2"), (b"x-a", b"1")]
        assert answer_headers(headers) == headers

    def test_hop_by_hop_headers_and_those_named_end_here(self) -> None:
        headers = [
            (b"Connection", b"X-Internal"),
            (b"Transfer-Encoding", b"chunked"),
            (b"X-Internal", b"1"),
            (b"X-Own", b"2"),
        ]
        assert answer_headers(headers) == [(b"X-Own", b"2")]
