"""The wire form of a bus entry: flat text fields that a person can read, and write by hand.

`data` is JSON text. Anything else says so: `content_type`, and `encoding=base64` where the bytes are no
text. The rest is `message_id`, `correlation_id`, `traceparent`, `at`, `component`, `replica`, and
`h-NAME` for each header. Every field but `data` may be missing.
"""

from __future__ import annotations

import base64
import binascii
import json
from collections.abc import Mapping
from typing import Any

from pydantic_core import PydanticSerializationError, from_json, to_json

from contracts.errors import BusError
from control_plane.brokers.errors import Undeliverable

JSON = "application/json"
BYTES = "application/octet-stream"
HEADER_PREFIX = "h-"

_BYTES = (bytes, bytearray, memoryview)


def encode(message: Any) -> dict[str, str]:
    """Return the fields that carry the payload.

    Raises:
        BusError: the message has no JSON form (E4003).
    """
    if issubclass(type(message), _BYTES):  # isinstance asks a model for its class as well, thrice
        return _encode_bytes(bytes(message))
    try:
        return {"data": to_json(message).decode()}
    except (PydanticSerializationError, UnicodeDecodeError) as exc:
        raise BusError(
            f"cannot publish a {type(message).__name__}",
            why=str(exc),
            fix="publish a pydantic model, a dataclass or a JSON value",
            code="E4003",
        ) from exc


def decode(fields: Mapping[str, str]) -> Any:
    """Return the payload: bytes where the content type says so, text for text/plain, else the JSON value.

    Raises:
        Undeliverable: there is no payload, or it is not what its content type says.
    """
    try:
        data = fields["data"]
    except KeyError:
        raise Undeliverable("the entry has no field 'data'") from None
    content_type = fields.get("content_type")
    if content_type is not None:
        if content_type == BYTES:
            return _decode_bytes(data, fields.get("encoding", ""))
        if content_type.startswith("text/"):
            return data
    try:
        return from_json(data)
    except ValueError:
        pass  # it is quicker, and stricter: of halves of a character and of depth
    try:
        return json.loads(data)
    except ValueError as exc:
        raise Undeliverable(f"field 'data' is not JSON: {exc}") from exc


def encode_headers(headers: Mapping[str, Any]) -> dict[str, str]:
    """Return the fields that carry the headers, as text."""
    return {f"{HEADER_PREFIX}{name}": str(value) for name, value in headers.items()}


def decode_headers(fields: Mapping[str, str]) -> dict[str, str]:
    """Return the headers."""
    start = len(HEADER_PREFIX)
    return {name[start:]: value for name, value in fields.items() if name.startswith(HEADER_PREFIX)}


def _encode_bytes(data: bytes) -> dict[str, str]:
    try:
        return {"data": data.decode(), "content_type": BYTES}
    except UnicodeDecodeError:
        return {"data": base64.b64encode(data).decode(), "content_type": BYTES, "encoding": "base64"}


def _decode_bytes(data: str, encoding: str) -> bytes:
    if encoding != "base64":
        return data.encode()
    try:
        return base64.b64decode(data, validate=True)
    except binascii.Error as exc:
        raise Undeliverable(f"field 'data' is not base64: {exc}") from exc
