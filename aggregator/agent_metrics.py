"""What /metrics says of each agent: lag, clock, when it was last heard, what it lost.

Invariants: at most `max_agents` agents have labels of their own, the losses of the others are together in `~other`; one
that was silent for a day gives its place to another.

The clock offset of an agent is the smallest difference of receipt and sealing in a window of some minutes: a batch
cannot arrive before it was sealed, and the quickest one waited least. It is positive if the agent's clock is behind,
and too large by the quickest batch's way; while a backlog arrives it shows the backlog's age. The lag is from sealing
to insert by the aggregator's clock, less that offset where the agent's clock is ahead, so it is never below zero.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from aggregator.analysis.peers import OTHER

_SLICE_S, _SLICES = 60.0, 5
_FORGOTTEN_S = 86_400.0

#: Columns of agent_stats that are counters here, with the family and the label `where`.
LOSSES = {
    "lost_in_kernel": "kernel",
    "lost_in_agent": "agent",
    "unmatched": "unmatched",
    "unparsed": "unparsed",
}
COUNTS = ("events", *LOSSES, "dropped_batches")


@dataclass
class _Agent:
    last_s: float = 0.0
    lag_s: float = 0.0
    smallest: deque[list[float]] = field(default_factory=lambda: deque(maxlen=_SLICES))  # [since, seconds]
    counts: dict[str, int] = field(default_factory=lambda: dict.fromkeys(COUNTS, 0))

    @property
    def offset_s(self) -> float:
        return min(one[1] for one in self.smallest) if self.smallest else 0.0


class AgentMetrics:
    """A collector of prometheus_client; thread-safe."""

    def __init__(self, max_agents: int, clock: Callable[[], float] = time.time) -> None:
        self._max_agents = max_agents
        self._clock = clock
        self._lock = threading.Lock()
        self._agents: dict[str, _Agent] = {}

    def inserted(self, agent: str, sealed_s: float, received_s: float) -> None:
        """A batch of `agent` is in the store: sealed by its clock, received by this one, Unix s."""
        now = self._clock()
        with self._lock:
            one = self._find(agent, now)
            difference = received_s - sealed_s
            if not one.smallest or now - one.smallest[-1][0] >= _SLICE_S:
                one.smallest.append([now, difference])
            one.smallest[-1][1] = min(one.smallest[-1][1], difference)
            one.lag_s = max(0.0, now - sealed_s - min(0.0, one.offset_s))
            one.last_s = now

    def said(self, agent: str, counts: Mapping[str, int]) -> None:
        """Rows of agent_stats of `agent` are in the store: sums of some of COUNTS."""
        with self._lock:
            of = self._find(agent, self._clock()).counts
            for name, count in counts.items():
                of[name] += count

    def _find(self, agent: str, now: float) -> _Agent:
        found = self._agents.get(agent)
        if found is None:
            if self._full:
                self._forget(now)
            if self._full:
                agent = OTHER
            found = self._agents.setdefault(agent, _Agent(last_s=now))
        return found

    @property
    def _full(self) -> bool:
        return len(self._agents) - (OTHER in self._agents) >= self._max_agents

    def _forget(self, now: float) -> None:
        for name, agent in list(self._agents.items()):
            if now - agent.last_s > _FORGOTTEN_S and name != OTHER:
                del self._agents[name]

    def collect(self) -> Iterator[Metric]:
        """All families."""
        lag = GaugeMetricFamily(
            "sonde_agent_lag_seconds", "From the sealing of an agent's last batch to its insert.", labels=["agent"]
        )
        offset = GaugeMetricFamily(
            "sonde_agent_clock_offset_seconds",
            "This clock less the agent's, at most: the smallest of five minutes.",
            labels=["agent"],
        )
        last = GaugeMetricFamily(
            "sonde_agent_last_batch_timestamp_seconds", "When an agent's last batch was inserted.", labels=["agent"]
        )
        events = CounterMetricFamily("sonde_agent_events", "Events that agents read.", labels=["agent"])
        lost = CounterMetricFamily(
            "sonde_agent_lost_events", "Events that agents lost or could not use.", labels=["agent", "where"]
        )
        dropped = CounterMetricFamily(
            "sonde_agent_dropped_batches", "Batches that agents dropped from their spools.", labels=["agent"]
        )
        with self._lock:
            for name, one in self._agents.items():
                if one.smallest and name != OTHER:  # a batch of it was inserted
                    lag.add_metric([name], one.lag_s)
                    offset.add_metric([name], one.offset_s)
                    last.add_metric([name], one.last_s)
                events.add_metric([name], one.counts["events"])
                dropped.add_metric([name], one.counts["dropped_batches"])
                for column, where in LOSSES.items():
                    lost.add_metric([name, where], one.counts[column])
        yield from (lag, offset, last, events, lost, dropped)
