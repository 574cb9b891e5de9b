"""How messages are delivered: every number of the delivery loop, its unit and its default."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True)
class DeliverySettings:
    """Settings of one broker.

    Attributes:
        max_len: entries a stream may hold before its publishers wait.
        keep: entries that stay readable after every group has acknowledged them.
        dead_max_len: dead letters kept for each stream, about.
        claim_idle_s: after this time without a sign of life, another consumer takes what one holds.
        block_s: how long a read waits on the server; on its end the loop looks for idle entries.
        backoff_s: pause before the second delivery; it doubles with each one.
        backoff_max_s: the longest pause between two deliveries.
        reconnect_s: pause before the first try to reach the bus again; it doubles with each one.
        reconnect_max_s: the longest pause between two tries.
        held_max: entries that one subscription may hold, in work or waiting for a retry.
        ahead_max: entries read ahead of the workers at most.
        ahead_s: how much work to read ahead, by the time that handlers took so far; a slow handler
            gets none, so that its entries stay free for other replicas.
        publish_pause_s: first pause of a publisher that waits; it doubles with each one.
        publish_pause_max_s: the longest such pause.
    """

    max_len: int = 10_000
    keep: int = 1_000
    dead_max_len: int = 10_000
    claim_idle_s: float = 15.0
    block_s: float = 10.0
    backoff_s: float = 0.1
    backoff_max_s: float = 5.0
    reconnect_s: float = 0.1
    reconnect_max_s: float = 2.0
    held_max: int = 256
    ahead_max: int = 64
    ahead_s: float = 0.05
    publish_pause_s: float = 0.05
    publish_pause_max_s: float = 1.0

    def retry_pause_s(self, deliveries: int) -> float:
        """Return the pause after so many deliveries that failed."""
        return min(self.backoff_s * 2.0 ** min(deliveries - 1, 30), self.backoff_max_s)
