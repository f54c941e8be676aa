"""What one agent may take of the aggregator: streams at once, and bytes a second with a burst.

Holds: memory is bounded by the agents that are connected, plus those that sent more than their rate lately; what is
over a limit is refused with the time after which it fits, before anything is decompressed for it. A batch larger than
the whole burst is let through when the bucket is full: it is within limits.content_bytes, and else would never go.
"""

from __future__ import annotations

import threading
from collections import Counter

from aggregator.config import Grpc, Limits
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb

#: A message costs at least so much, so that a flood of empty ones has a rate as well.
_LEAST_BYTES = 4096
_SWEEP = 1024  # buckets that are kept before full ones are looked for


class Admission:
    """Streams and rates by agent name; thread-safe. Times are of the monotonic clock, s."""

    def __init__(self, grpc: Grpc, limits: Limits) -> None:
        self._most_streams = grpc.streams_per_agent
        self._rate, self._burst = limits.agent_bytes_per_s, limits.agent_burst_bytes
        self._lock = threading.Lock()
        self._streams: Counter[str] = Counter()
        self._buckets: dict[str, tuple[float, float]] = {}  # agent -> (bytes left, when)
        self._sweep_at = _SWEEP

    def enter(self, agent: str) -> None:
        """A stream of `agent` begins.

        Raises:
            Refused: OVERLOADED, it has as many as it may.
        """
        with self._lock:
            if self._streams[agent] >= self._most_streams:
                raise Refused(
                    pb.Refusal.OVERLOADED,
                    f"{agent} has {self._most_streams} streams (grpc.streams_per_agent); do two hosts share the name?",
                    retryable=True,
                )
            self._streams[agent] += 1

    def leave(self, agent: str) -> None:
        """A stream that entered ended."""
        with self._lock:
            self._streams[agent] -= 1
            if self._streams[agent] <= 0:
                del self._streams[agent]

    def spend(self, agent: str, count: int, now: float) -> None:
        """Take `count` bytes from the agent's bucket.

        Raises:
            Refused: RATE_LIMITED, with the time after which they fit.
        """
        wanted = min(max(count, _LEAST_BYTES), self._burst)
        with self._lock:
            left, when = self._buckets.get(agent, (float(self._burst), now))
            left = min(left + (now - when) * self._rate, float(self._burst))
            if left >= wanted:
                self._buckets[agent] = (left - wanted, now)
                self._forget_full(now)
                return
            self._buckets[agent] = (left, now)
        raise Refused(
            pb.Refusal.RATE_LIMITED,
            f"more than {self._rate} bytes a second (limits.agent_bytes_per_s); send it later",
            retryable=True,
            retry_after_s=(wanted - left) / self._rate,
        )

    def _forget_full(self, now: float) -> None:
        if len(self._buckets) < self._sweep_at:
            return
        for agent, (left, when) in list(self._buckets.items()):
            if left + (now - when) * self._rate >= self._burst:
                del self._buckets[agent]
        self._sweep_at = max(_SWEEP, 2 * len(self._buckets))
