"""Totals of a batch are the same whether a request comes as a row or in `unsampled`; a row of weight 0 adds none."""

from __future__ import annotations

from typing import Any

import pytest

from aggregator.ingest.counted import Counted
from aggregator.ingest.merge import merge
from aggregator.ingest.tables import Tables
from proto import sonde_pb2 as pb
from tests.support.batches import Builder
from tests.unit.aggregator.parts import part

NOW_US = 1_800_000_000_000_000
DURATIONS = [100, 101, 5_000, 5_001, 70_000, 0, 200_000]


def tables(builder: Builder) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """request_stats and statement_stats, as rows."""
    merged = merge([part(builder, remote=("", "app"))])
    made, counted = Tables(merged), Counted.of(merged)
    assert len(counted)
    statements = made.statement_stats(counted, 100)
    return made.request_stats(counted).to_pylist(), [] if statements is None else statements.to_pylist()


def batch(rows: list[int], sums: list[list[int]], halves: int = 0, **given: Any) -> Builder:
    """One link; the requests of `rows` and `sums` lasted so many us and completed in one 10 s."""
    builder = Builder("web", now_us=NOW_US)
    link = builder.link("client", "nginx", "10.0.0.1", 40_000, "10.0.0.2", 8080, connection_id=7)
    parts = {"queue": 0, "receive": 0, "transfer": 0}
    for duration in rows:
        builder.request(link, duration_us=duration, process=duration * 10, start=NOW_US, **parts, **given)
    for durations in sums:
        builder.unsampled(link, durations, time=NOW_US, **given)
    for _ in range(halves):
        builder.request(link, duration_us=900_000, start=NOW_US, weight=0, **given)
    return builder


@pytest.mark.parametrize("split", [(0, 3), (3, 3), (0, 7), (6, 7), (2, 5)])
def test_requests_with_and_without_rows_give_the_same_totals(split: tuple[int, int]) -> None:
    given = {"statement_id": 77, "status": pb.SERVER_ERROR}
    first, last = split
    rows = DURATIONS[:first] + DURATIONS[last:]
    (all_rows,), (all_statements,) = tables(batch(DURATIONS, [], **given))
    (mixed,), (statements,) = tables(batch(rows, [DURATIONS[first:last]] if last > first else [], **given))
    assert mixed.pop("unsampled") == last - first
    assert all_rows.pop("unsampled") == 0
    assert mixed == all_rows
    assert statements == all_statements
    assert statements["errors"] == statements["requests"] == len(DURATIONS)


def test_only_sums() -> None:
    ((found,), _) = tables(batch([], [DURATIONS[:4], DURATIONS[4:]]))
    assert (found["requests"], found["unsampled"], found["estimated"]) == (7, 7, 0)
    assert found["duration_sum_ns"] == sum(DURATIONS) * 1000
    assert sum(dict(found["duration"]).values()) == 7
    assert dict(found["queue"]) == {-32768: 7}


def test_a_row_of_weight_0_is_stored_and_not_counted() -> None:
    (with_halves, _), (without, _) = tables(batch(DURATIONS, [], halves=2)), tables(batch(DURATIONS, []))
    assert with_halves == without
    merged = merge([part(batch([], [], halves=2))])
    assert len(Counted.of(merged)) == 0
    assert merged.rows("requests") == 2


def test_other_keys_stay_apart() -> None:
    builder = batch([100], [[100, 100]])
    builder.unsampled(0, [100], time=NOW_US + 10_000_000)
    builder.unsampled(0, [100], time=NOW_US, resource="/other")
    builder.unsampled(0, [100], time=NOW_US, status=pb.CLIENT_ERROR)
    found, _ = tables(builder)
    assert sorted((row["requests"], row["unsampled"]) for row in found) == [(1, 1)] * 3 + [(3, 2)]
