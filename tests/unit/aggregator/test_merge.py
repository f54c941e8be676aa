"""A merged block says what its batches say."""

from __future__ import annotations

from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from aggregator.ingest import record
from aggregator.ingest.batch import Block
from aggregator.ingest.counted import Counted
from aggregator.ingest.merge import merge
from aggregator.ingest.tables import Tables, _most_frequent
from sonde.errors import JournalError
from tests.unit.aggregator.parts import busy, part

PARTS = [
    part(busy("web", 11), 1, ("app", "api")),
    part(busy("empty", 0), 2),
    part(busy("db", 8), 3, ("web", "nginx-web")),
    part(busy("web", 5), 4, ("~unknown", "~unknown")),
]


def rows(table: pa.Table) -> list[dict[str, Any]]:
    return sorted(table.to_pylist(), key=repr)


def tables(parts: list[Any]) -> dict[str, list[dict[str, Any]]]:
    made = Tables(merge(parts))
    every = range(len(parts))
    out = {
        "requests": made.requests(), "connections": made.connections(), "agent_stats": made.agent_stats(),
        "in_flight": made.in_flight(every), "endpoints": made.endpoints(every), "hosts": made.hosts(every),
        "statements": made.statements(lambda _: False)[0],
    }  # fmt: skip
    return {name: rows(table) for name, table in out.items()}


@pytest.mark.parametrize("name", ["requests", "connections", "agent_stats", "in_flight", "endpoints", "hosts"])
def test_rows_are_those_of_the_batches(name: str) -> None:
    single = [row for one in PARTS for row in tables([one])[name]]
    assert tables(PARTS)[name] == sorted(single, key=repr)


def test_a_text_is_in_the_dictionary_once() -> None:
    merged = merge(PARTS)
    texts = merged.strings.to_pylist()
    assert len(set(texts)) == len(texts)
    assert [texts[code] for code in merged.host] == ["web", "empty", "db", "web"]


def stats(parts: list[Any]) -> list[dict[str, Any]]:
    merged = merge(parts)
    made, counted = Tables(merged), Counted.of(merged)
    statements = made.statement_stats(counted, 100)
    assert statements is not None
    return rows(made.request_stats(counted)) + rows(statements)


def test_totals_are_those_of_the_batches() -> None:
    busy_ones = [one for one in PARTS if one.content.rows("requests")]
    apart = [row for one in busy_ones for row in stats([one])]  # no two of them have a group in common
    assert sorted(stats(PARTS), key=repr) == sorted(apart, key=repr)
    assert len(apart) > 20


def test_totals_of_two_batches_of_one_host_are_one_row_a_group() -> None:
    once, twice = stats([PARTS[0]]), stats([PARTS[0], PARTS[0]])
    assert [2 * row["requests"] for row in once] == [row["requests"] for row in twice]
    assert [[(key, 2 * count) for key, count in row["duration"]] for row in once] == [row["duration"] for row in twice]


def test_the_statement_limit_is_of_each_batch() -> None:
    ids = np.array([1, 1, 2, 3, 3, 3, 1, 2, 2, 9], dtype=np.uint64)
    of = np.array([0, 0, 0, 0, 0, 0, 1, 1, 1, 2], dtype=np.int32)
    assert _most_frequent(ids, ids**0, of, 1).tolist() == [0, 0, 0, 3, 3, 3, 0, 2, 2, 9]
    assert _most_frequent(ids, ids**0, of, 2).tolist() == [1, 1, 0, 3, 3, 3, 1, 2, 2, 9]
    assert _most_frequent(ids, ids**0, of, 3).tolist() == ids.tolist()


def test_a_block_of_the_journal_is_the_same_block() -> None:
    block = Block("abc", 1_800_000_000_000_000, tuple(PARTS))
    again = record.read("abc", record.write(block))
    assert [one.batch for one in again.parts] == [one.batch for one in PARTS]
    assert [one.sealed for one in again.parts] == [one.sealed for one in PARTS]
    assert tables(list(again.parts)) == tables(PARTS)
    assert again.made_us == block.made_us


def test_a_record_of_something_else_is_refused() -> None:
    block = record.write(Block("abc", 1, tuple(PARTS)))
    for identity, data in (("abd", block), ("abc", b""), ("abc", b"\xff" * 99)):
        with pytest.raises(JournalError):
            record.read(identity, data)
