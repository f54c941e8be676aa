"""The synthetic fleet of the benchmarks is a sound one: what it sends is accepted, and both ends agree."""

from __future__ import annotations

from collections import Counter

import numpy as np

from aggregator.config import Limits
from aggregator.ingest import content
from bench.fleet import SERVICES, Fleet
from bench.otlp import export
from bench.sender import Template
from proto import sonde_pb2 as pb
from sonde import batches
from sonde.ids import exchange_ids

BEGIN_US = 1_800_000_000_000_000


def test_every_service_has_a_host_and_every_batch_is_accepted():
    fleet = Fleet(20, 6_000)
    assert {name.rpartition("-")[0] for name in fleet.names} == set(SERVICES)
    for number in range(2):
        rows = 0
        for batch in fleet.second(number, BEGIN_US):
            rows += content.read(batch, Limits()).rows("requests")
        assert 5_500 < rows < 6_500


def test_both_ends_of_a_request_have_one_exchange_id_and_the_server_is_faster():
    found: dict[int, list[tuple[int, int]]] = {}
    for batch in Fleet(14, 3_000).second(0, BEGIN_US):
        links, rows = batches.read("links", batch.links), batches.read("requests", batch.requests)
        of = rows["link"].astype(int)
        for exchange, role, duration in zip(
            exchange_ids(links["connection_id"][of], rows["offset"]).tolist(),
            links["role"][of].tolist(),
            rows["duration"].tolist(),
            strict=True,
        ):
            found.setdefault(exchange, []).append((role, duration))
    ends = Counter(len(rows) for rows in found.values())
    assert set(ends) == {1, 2}
    assert ends[2] > 5 * ends[1]  # one end only: requests from outside
    for pair in (sorted(rows) for rows in found.values() if len(rows) == 2):
        assert [role for role, _ in pair] == [pb.CLIENT, pb.SERVER]
        assert pair[0][1] > pair[1][1]


def test_a_moved_template_is_the_same_batch_later_with_other_exchange_ids():
    batch = Fleet(7, 700).second(0, BEGIN_US)[0]
    for by_us in (5_000_000, -7_000_000):
        later = pb.Batch.FromString(Template(batch.SerializeToString()).moved(by_us, 1))
        assert later.host.seen_us - batch.host.seen_us == by_us
        before, after = batches.read("requests", batch.requests), batches.read("requests", later.requests)
        assert np.array_equal(
            after["start"].astype(np.int64) - before["start"].astype(np.int64), [by_us] * later.requests.rows
        )
        assert not np.intersect1d(before["offset"], after["offset"]).size
        assert np.array_equal(before["duration"], after["duration"])


def test_otlp_has_a_span_for_every_request():
    batch = Fleet(7, 700).second(0, BEGIN_US)[0]
    spans = [span for group in export(batch).resource_spans for scope in group.scope_spans for span in scope.spans]
    assert len(spans) == batch.requests.rows
    assert sum(span.end_time_unix_nano - span.start_time_unix_nano for span in spans) == 100 * int(
        batches.read("requests", batch.requests)["duration"].sum()
    )
