"""Requests of the whole fleet for Prometheus: counters and a histogram of durations, added up as blocks are inserted.

Invariants: a block is counted once, when it is in the store; counters only grow, so a series is never taken away again.
The first `max_series` combinations of labels have series of their own, every later one is in `~other` (service and
operation), so the sums stay right. Both ends of a request are counted, each under its role. Percentiles from these
buckets are rough; exact ones are in the store.
"""

from __future__ import annotations

import threading
from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt
from prometheus_client.core import CounterMetricFamily, HistogramMetricFamily, Metric

from aggregator.analysis.peers import OTHER
from aggregator.ingest.counted import Counted
from aggregator.ingest.merge import Merged
from proto import sonde_pb2 as pb
from sonde.groups import Groups

U64 = npt.NDArray[np.uint64]
Labels = tuple[str, str, str, str, str]

LABELS = ("service", "role", "protocol", "operation", "status")
#: Upper bounds of the buckets: 10 us, doubled 20 times, up to 10.5 s.
BOUNDS_NS = np.array([10_000 * 2**step for step in range(21)], dtype=np.uint64)
_LE = [repr(bound / 1e9) for bound in BOUNDS_NS.tolist()] + ["+Inf"]
_ERRORS = ("client_error", "server_error", "no_response")


@dataclass(frozen=True)
class Totals:
    """Of a block: n combinations of LABELS, their requests and ns (n,), requests by bucket (n, len(BOUNDS_NS) + 1)."""

    labels: list[Labels]
    requests: U64
    duration_ns: U64
    histogram: U64

    @classmethod
    def of(cls, merged: Merged, counted: Counted) -> Totals:
        """Totals of `counted`, which is of `merged`."""
        if not len(counted):
            none = np.zeros(0, dtype=np.uint64)
            return cls([], none, none, np.zeros((0, len(_LE)), dtype=np.uint64))
        columns, links = counted.columns, merged.sections["links"]
        service, role = links["service"][columns["link"]], links["role"][columns["link"]]
        keys = [service, role, columns["protocol"], columns["operation"], columns["status"]]
        groups = Groups.by(keys)
        one = [key[groups.first].tolist() for key in keys]
        strings = merged.strings
        labels = [
            (
                strings[service].as_py(), pb.Role.Name(role).lower(), pb.Protocol.Name(protocol).lower(),
                strings[operation].as_py(), pb.Status.Name(status).lower(),
            )
            for service, role, protocol, operation, status in zip(*one, strict=True)
        ]  # fmt: skip
        return cls(
            labels,
            groups.sums(columns["requests"]),
            groups.sums(columns["duration"]),
            counted.histogram("duration", groups, BOUNDS_NS),
        )


class RequestMetrics:
    """A collector of prometheus_client; thread-safe."""

    def __init__(self, max_series: int) -> None:
        self._max_series = max_series
        self._lock = threading.Lock()
        self._place: dict[Labels, int] = {}
        self._own = 0
        self._sums: U64 = np.zeros((0, 2), dtype=np.uint64)  # requests, ns
        self._histogram: U64 = np.zeros((0, len(_LE)), dtype=np.uint64)

    def add(self, totals: Totals) -> None:
        """Count a block."""
        with self._lock:
            at = [self._find(labels) for labels in totals.labels]
            missing = len(self._place) - len(self._sums)
            if missing:
                self._sums = np.pad(self._sums, ((0, missing), (0, 0)))
                self._histogram = np.pad(self._histogram, ((0, missing), (0, 0)))
            np.add.at(self._sums, at, np.stack([totals.requests, totals.duration_ns], axis=1))
            np.add.at(self._histogram, at, totals.histogram)

    def _find(self, labels: Labels) -> int:
        found = self._place.get(labels)
        if found is not None:
            return found
        if self._own >= self._max_series:
            labels = (OTHER, labels[1], labels[2], OTHER, labels[4])
        else:
            self._own += 1
        return self._place.setdefault(labels, len(self._place))

    def collect(self) -> Iterator[Metric]:
        """The three families."""
        with self._lock:
            labels, sums, histogram = list(self._place), self._sums.copy(), self._histogram.copy()
        requests = CounterMetricFamily(
            "sonde_requests", "Requests of the fleet, counted at each observed end.", labels=LABELS
        )
        errors = CounterMetricFamily(
            "sonde_request_errors", "Those with status client_error, server_error or no_response.", labels=LABELS[:4]
        )
        durations = HistogramMetricFamily(
            "sonde_request_duration_seconds", "Their durations, as seen at that end.", labels=LABELS
        )
        failed: dict[tuple[str, ...], int] = {}
        cumulated = np.cumsum(histogram, axis=1).tolist()
        for one, (count, total_ns), buckets in zip(labels, sums.tolist(), cumulated, strict=True):
            requests.add_metric(one, count)
            durations.add_metric(one, list(zip(_LE, buckets, strict=True)), total_ns / 1e9)
            failed[one[:4]] = failed.get(one[:4], 0) + (count if one[4] in _ERRORS else 0)
        for key, count in failed.items():
            errors.add_metric(key, count)
        yield from (requests, errors, durations)
