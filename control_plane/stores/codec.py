"""How shared state writes values: canonical JSON text, the same for every store.

Equal values give equal text (keys sorted, no spaces), so that text can be compared where the data is.
What is no JSON value is refused before anything is stored. `1`, `1.0` and `True` are three values.
"""

from __future__ import annotations

import json

from contracts.errors import BusError
from contracts.state import Json


def encode(value: Json) -> str:
    """Return canonical JSON text.

    Raises:
        TypeError: the value is no JSON value.
        ValueError: it holds a NaN, an infinity, a cycle or half a surrogate pair.
    """
    text = json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)
    text.encode()  # JSON allows lone surrogates, UTF-8 does not
    return text


def decode(text: str | None, default: Json = None) -> Json:
    """Return the value that `encode` wrote, or `default` where there is no text."""
    return default if text is None else json.loads(text)


def ttl_ms(ttl_s: float) -> int:
    """Return a time to live in whole milliseconds, at least one.

    Raises:
        ValueError: it is not above zero.
    """
    if not ttl_s > 0:
        raise ValueError(f"a time to live must be above 0 s, not {ttl_s}")
    return max(1, round(ttl_s * 1000))


def added(key: str, text: str | None, by: int) -> int:
    """Return the integer that `text` holds (0 where there is none) plus `by`."""
    present = decode(text, 0)
    if type(present) is not int:  # True is an int to Python and not to Redis
        raise wrong_kind(key)
    return present + by


def wrong_kind(key: str) -> BusError:
    """Return the error for an operation that does not fit what the key holds."""
    return BusError(
        f"shared state: key '{key}' holds another kind of value",
        why="it is a hash where a value is asked for, a value where a hash is, or no integer to add to",
        fix="Use one key for one kind of value",
        code="E4003",
    )
