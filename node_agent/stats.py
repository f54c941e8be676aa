"""What the agent says of itself: one row a probe and interval in agent_stats, and Prometheus metrics.

Served = rows x weight + unsampled + lost + unmatched: every turn that the kernel saw is a row, or stands here.
"""

from __future__ import annotations

import logging
import os
import resource
import time
from collections.abc import Iterable, Sequence
from typing import Any, Protocol

from prometheus_client import CollectorRegistry, start_http_server
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, Metric

from node_agent.delivery.spool import Spool
from node_agent.delivery.stream import Delivery
from node_agent.rows import Tally
from node_agent.source import KernelSource
from proto import sonde_pb2 as pb
from sonde.errors import ConfigError, KernelError

_log = logging.getLogger("sonde.agent")

_MEASURE_EVERY_SECONDS, _MEASURE_SECONDS = 30.0, 1.0


def rss_bytes() -> int:
    """Resident memory of this process."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * os.sysconf("SC_PAGE_SIZE")


def _role_name(key: str) -> str:
    _, protocol, role = key.split("/")
    name = pb.Protocol.Name(int(protocol)).lower() if int(protocol) in pb.Protocol.values() else protocol
    return f"lost_in_kernel/{name}/{role}"


class KernelTime:
    """Time of the probes in the kernel, estimated: statistics are on for one second in thirty."""

    def __init__(self, source: Any) -> None:
        self._source = source
        self._next = time.monotonic() + 5
        self._open: Any = None
        self._before: dict[str, tuple[int, int]] = {}
        self._began = 0.0
        self.share: dict[str, tuple[float, float]] = {}  # probe -> ns and runs a second

    def tick(self) -> None:
        """Switch on or off when it is time; called about once a second."""
        now = time.monotonic()
        try:
            if self._open is None and now >= self._next:
                self._open = self._source.statistics()
                self._open.__enter__()
                self._before, self._began = self._source.cost(), now
            elif self._open is not None and now - self._began >= _MEASURE_SECONDS * 0.9:
                after, seconds = self._source.cost(), now - self._began
                for name, (ns, runs) in after.items():
                    ns_before, runs_before = self._before.get(name, (0, 0))
                    self.share[name] = ((ns - ns_before) / seconds, (runs - runs_before) / seconds)
                self.close()
                self._next = now + _MEASURE_EVERY_SECONDS - _MEASURE_SECONDS
        except KernelError as error:
            _log.warning("the probes' time cannot be measured: %s", error)
            self._next = float("inf")

    def close(self) -> None:
        """Statistics off."""
        if self._open is not None:
            self._open.__exit__(None, None, None)
            self._open = None


class Counting(Protocol):
    """A part of the agent that has counters of its own."""

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name."""

    def gauges(self) -> dict[str, int]:
        """What is the case now, by name."""


class Stats:
    """Totals of everything, and what they were at the last interval."""

    def __init__(self, source: KernelSource, spool: Spool, tally: Tally, delivery: Delivery) -> None:
        self._source, self._spool, self._tally, self._delivery = source, spool, tally, delivery
        self._last: dict[str, dict[str, int]] = {}
        self._last_time = time.monotonic()
        self.kernel_time = KernelTime(source)
        self.more: Sequence[Counting] = ()

    def totals(self) -> dict[str, dict[str, int]]:
        """Probe -> counter -> total since the start; "agent" is the agent itself."""
        tally, spool = self._tally, self._spool
        usage = resource.getrusage(resource.RUSAGE_SELF)
        out: dict[str, dict[str, int]] = {}
        for name, counters in self._source.counters():
            row = {
                "events": counters.get("emitted", 0) + counters.get("lost", 0),
                "lost_in_kernel": counters.get("lost", 0),
                "unmatched": counters.get("not_a_request", 0) + counters.get("contended", 0),
                "details/unknown_protocol": counters.get("no_protocol", 0),
                "details/no_room": counters.get("no_room", 0),
                "details/late_bytes": counters.get("late_bytes", 0),
            }
            row |= {f"details/{_role_name(key)}": count for key, count in counters.items() if key.startswith("lost/")}
            if name == "requests":
                row["unparsed"] = tally.unparsed
                row |= {f"details/{key}": count for key, count in tally.details.items()}
            out[name] = row
        out["agent"] = {
            "events": tally.turns,
            "lost_in_agent": 0,
            "dropped_batches": spool.dropped + spool.refused,
            "cpu": int((usage.ru_utime + usage.ru_stime) * 1e9),
            "details/batches_acknowledged": spool.acknowledged,
            "details/batches_refused": spool.refused,
            "details/spool_failures": spool.failures,
            "details/spool_set_aside": spool.set_aside,
            "details/requests": tally.requests,
            "details/wire_bytes": spool.sealed_bytes,
        }
        out["agent"] |= {f"details/{name}": count for name, count in self._delivery.totals().items()}
        for part in self.more:
            out["agent"] |= {f"details/{name}": count for name, count in part.counters().items()}
        return out

    def rows(self, now_us: int) -> list[dict[str, Any]]:
        """Rows of the section agent_stats for the interval since the last call."""
        now = time.monotonic()
        seconds, self._last_time = now - self._last_time, now
        totals = self.totals()
        rows: list[dict[str, Any]] = []
        for probe, counters in totals.items():
            before = self._last.get(probe, {})
            delta = {name: max(count - before.get(name, 0), 0) for name, count in counters.items()}
            row: dict[str, Any] = {name: count for name, count in delta.items() if not name.startswith("details/")}
            row["details"] = {
                name.removeprefix("details/"): count
                for name, count in delta.items()
                if name.startswith("details/") and count
            }
            ns, runs = self.kernel_time.share.get(probe, (0.0, 0.0))
            row |= {"probe": probe, "time": now_us, "interval": int(seconds * 1e6)}
            row |= {"kernel": int(ns * seconds), "probe_runs": int(runs * seconds)}
            rows.append(row)
        for probe in self._source.broken:
            rows.append({"probe": probe, "time": now_us, "interval": int(seconds * 1e6), "details": {"broken": 1}})
        agent = next(row for row in rows if row["probe"] == "agent")
        agent |= {"rss": rss_bytes(), "spooled_bytes": self._spool.waiting_bytes}
        for part in self.more:
            agent["details"] |= part.gauges()
        if self._spool.failing:
            agent["details"]["spool_failing"] = 1
        if address := self._delivery.address:
            agent["details"][f"connected/{address}"] = 1
        self._last = totals
        return rows

    def collect(self) -> Iterable[Metric]:
        """Metrics for Prometheus."""
        totals = CounterMetricFamily("sonde_agent", "Totals since the start.", labels=["probe", "counter"])
        for probe, counters in self.totals().items():
            for name, count in counters.items():
                totals.add_metric([probe, name.removeprefix("details/")], count)
        yield totals
        yield GaugeMetricFamily("sonde_agent_rss_bytes", "Resident memory.", value=rss_bytes())
        yield GaugeMetricFamily("sonde_agent_spooled_bytes", "Not acknowledged yet.", value=self._spool.waiting_bytes)
        spool = self._spool
        for name, says, number in (
            ("spooled_batches", "Not acknowledged yet.", spool.waiting),
            ("oldest_unacknowledged_seconds", "Since the oldest of these was sealed.", spool.oldest_seconds),
            ("spool_durable", "1: new batches are on disk before they are sent.", not spool.in_memory),
            ("spool_failing", "1: the file cannot be written, new batches wait in memory.", spool.failing),
            ("spool_quarantined_batches", "Refused for good by the aggregator, kept on disk.", spool.quarantined),
            ("unanswered_batches", "Sent and not answered yet.", self._delivery.unanswered),
            ("oldest_unanswered_seconds", "Since the oldest of these was sent.", self._delivery.oldest_seconds),
        ):
            yield GaugeMetricFamily(f"sonde_agent_{name}", says, value=number)
        says = "1: a stream to this aggregator is up."
        connected = GaugeMetricFamily("sonde_agent_connected", says, labels=["aggregator"])
        for address in self._delivery.addresses.order:
            connected.add_metric([address], address == self._delivery.address)
        yield connected
        now = GaugeMetricFamily("sonde_agent_now", "What is the case now; see agent_stats.details.", labels=["gauge"])
        for part in self.more:
            for name, number in part.gauges().items():
                now.add_metric([name], number)
        yield now
        broken = GaugeMetricFamily("sonde_agent_probe_broken", "1: the probe did not load.", labels=["probe"])
        for probe in self._source.broken:
            broken.add_metric([probe], 1)
        yield broken

    def serve(self, listen: str) -> Any:
        """Serve /metrics; returns what to shut down.

        Raises:
            ConfigError: the address is wrong or taken.
        """
        address, _, port = listen.rpartition(":")
        registry = CollectorRegistry()
        registry.register(self)
        try:
            server, _ = start_http_server(int(port), addr=address.strip("[]"), registry=registry)
        except (OSError, ValueError, OverflowError) as error:
            raise ConfigError(f"metrics.listen {listen}: {error}; choose another with --metrics-listen") from None
        return server
