"""The fleet's requests for Prometheus equal what was inserted, within the limit of series and beyond it."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.analysis.peers import OTHER
from aggregator.ingest.counted import Counted
from aggregator.ingest.merge import merge
from aggregator.ingest.written import agent_counts
from aggregator.request_metrics import BOUNDS_NS, RequestMetrics, Totals
from proto import sonde_pb2 as pb
from tests.support.batches import Builder
from tests.unit.aggregator.parts import busy, part

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples(metrics: RequestMetrics) -> Samples:
    return {
        (one.name, tuple(sorted(one.labels.items()))): one.value
        for family in metrics.collect()
        for one in family.samples
    }


def total(found: Samples, name: str, **labels: str) -> float:
    return sum(
        value
        for (of, had), value in found.items()
        if of == name and all(dict(had).get(k) == v for k, v in labels.items())
    )


def of(*builders: Builder) -> Totals:
    merged = merge([part(builder, number + 1) for number, builder in enumerate(builders)])
    return Totals.of(merged, Counted.of(merged))


def mixed() -> Builder:
    builder = Builder("web", ["10.0.0.1"])
    server = builder.link("server", "nginx", "10.0.0.1", 80, "10.0.0.2", 5000, connection_id=1)
    client = builder.link("client", "nginx", "10.0.0.1", 6000, "10.0.0.3", 3306, connection_id=2)
    for duration_us in (5, 10, 11, 20, 1_000, 20_000_000):
        builder.request(server, duration_us=duration_us, operation="GET")
    builder.request(server, duration_us=50, operation="POST", status=pb.SERVER_ERROR, weight=7)
    builder.request(client, duration_us=50, operation="SELECT", protocol=pb.MYSQL, status=pb.NO_RESPONSE)
    builder.unsampled(server, [15, 15, 700], operation="GET")
    return builder


def test_counts_sums_and_buckets_are_exact() -> None:
    metrics = RequestMetrics(100)
    metrics.add(of(mixed()))
    metrics.add(of(mixed()))
    found = samples(metrics)
    get = {"service": "nginx", "role": "server", "protocol": "http1", "operation": "GET", "status": "ok"}
    assert total(found, "sonde_requests_total", **get) == 2 * (6 + 3)
    assert total(found, "sonde_requests_total", operation="POST", status="server_error") == 2 * 7
    assert total(found, "sonde_requests_total") == 2 * (6 + 3 + 7 + 1)
    assert total(found, "sonde_request_errors_total", operation="GET") == 0
    assert total(found, "sonde_request_errors_total", operation="POST", role="server") == 2 * 7
    assert total(found, "sonde_request_errors_total", role="client", protocol="mysql") == 2
    bucket = "sonde_request_duration_seconds_bucket"
    # 5 and 10 us are within the first; 11, 15, 15 and 20 in the second; 700 us and 1 ms further up; 20 s beyond all.
    for le, count in (("1e-05", 4), ("2e-05", 12), ("0.00064", 12), ("0.00128", 16), ("10.48576", 16), ("+Inf", 18)):
        assert total(found, bucket, **get, le=le) == count, le
    assert total(found, "sonde_request_duration_seconds_count", **get) == 18
    assert total(found, "sonde_request_duration_seconds_sum", operation="POST") == pytest.approx(2 * 7 * 50e-6)


def test_beyond_the_limit_all_is_other_and_nothing_is_lost() -> None:
    metrics = RequestMetrics(3)
    for number in range(20):
        builder = Builder(f"web-{number}", ["10.0.0.1"])
        link = builder.link("server", f"service-{number}", "10.0.0.1", 80, "10.0.0.2", 5000, connection_id=1)
        builder.request(link, operation="GET")
        builder.request(link, operation="PUT", status=pb.CLIENT_ERROR)
        metrics.add(of(builder))
        metrics.add(of(builder))
    found = samples(metrics)
    assert total(found, "sonde_requests_total") == 80
    assert total(found, "sonde_requests_total", service="service-0") == 4
    assert total(found, "sonde_requests_total", service="service-1") == 2
    assert total(found, "sonde_requests_total", service=OTHER, operation=OTHER) == 74
    assert total(found, "sonde_request_errors_total") == 40
    assert len({labels for name, labels in found if name == "sonde_requests_total"}) == 3 + 2


def test_a_block_without_requests_counts_nothing() -> None:
    builder = Builder("web", ["10.0.0.1"])
    builder.agent_stats("requests", events=3)
    metrics = RequestMetrics(3)
    metrics.add(of(builder))
    assert samples(metrics) == {}


def test_histogram_of_many_equals_numpy() -> None:
    random = np.random.default_rng(5)
    builder = Builder("web", ["10.0.0.1"])
    link = builder.link("server", "nginx", "10.0.0.1", 80, "10.0.0.2", 5000, connection_id=1)
    durations = np.exp(random.normal(6, 3, 2_000)).astype(int)
    for one in durations.tolist():
        builder.request(link, duration_us=one)
    totals = of(builder)
    expected = [int((durations * 1000 <= bound).sum()) for bound in BOUNDS_NS.tolist()] + [len(durations)]
    assert np.cumsum(totals.histogram[0]).tolist() == expected
    assert totals.duration_ns.tolist() == [int(durations.sum()) * 1000]


def test_agents_say_what_they_lost() -> None:
    first, second = busy("a", 5), busy("b", 7)
    first.agent_stats("connections", events=2, lost_in_kernel=3, dropped_batches=1)
    merged = merge([part(first, 1), part(second, 1), part(busy("a", 11), 2)])
    counts = agent_counts(merged)
    assert counts["a"]["events"] == 5 + 2 + 11
    assert counts["a"]["lost_in_kernel"] == 3
    assert counts["a"]["dropped_batches"] == 1
    assert counts["b"]["events"] == 7
