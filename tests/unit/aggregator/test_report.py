"""The storage forecast, and which partitions may go, by arithmetic alone."""

from __future__ import annotations

import datetime as dt

import pytest

from aggregator.storage.partitions import Partition, candidates, end, enough
from aggregator.storage.report import Report, TableSize, days_until
from aggregator.storage.verify import age_s
from sonde.errors import UsageError

UTC = dt.timezone.utc
NOW = dt.datetime(2026, 3, 4, 15, 30, tzinfo=UTC)


@pytest.mark.parametrize(
    ("free", "growth", "days"),
    [
        (100, [], None),
        (100, [(0, 5)], None),
        (100, [(10, 10)], 10),
        (101, [(10, 10)], None),
        (100, [(10, float("inf"))], 10),
        (100, [(10, 5), (5, 100)], 5 + 25 / 5),
        (100, [(10, 0), (1, 1000)], 100),
        (0, [(1, 1)], 0),
    ],
)
def test_days_until_full(free: int, growth: list[tuple[float, float]], days: float | None) -> None:
    assert days_until(free, growth) == days


def test_a_table_stops_to_grow_at_its_retention_and_one_partition() -> None:
    size = TableSize("requests", 1000, 24_000, 240_000, 7, 1, 500.0, 2.0)
    assert (size.bytes_per_row, size.compression, size.bytes_per_day, size.grows_days) == (24, 10, 12_000, 6)
    report = Report([size], 80_000, 100_000)
    assert report.final_bytes == 24_000 + 6 * 12_000
    assert report.days_until_full is None
    assert Report([size], 60_000, 100_000).days_until_full == 5
    empty = TableSize("connections", 0, 0, 0, 7, 1, 0.0, 0.0)
    assert (empty.bytes_per_row, empty.compression) == (0, 0)


@pytest.mark.parametrize(
    ("partition", "key", "until"),
    [
        ("20260228", "toDate(start)", dt.datetime(2026, 3, 1, tzinfo=UTC)),
        ("20260302", "toMonday(time)", dt.datetime(2026, 3, 9, tzinfo=UTC)),
        ("202612", "toYYYYMM(time)", dt.datetime(2027, 1, 1, tzinfo=UTC)),
        ("202602", "toYYYYMM(time)", dt.datetime(2026, 3, 1, tzinfo=UTC)),
        ("all", "", None),
        ("20261332", "toDate(start)", None),
        ("1772323200", "toStartOfHour(time)", None),
    ],
)
def test_the_end_of_a_partition_follows_from_its_id(partition: str, key: str, until: dt.datetime | None) -> None:
    assert end(partition, key) == until


def part(table: str, day: int, size: int = 10) -> Partition:
    return Partition(table, f"202603{day:02}", dt.datetime(2026, 3, day, tzinfo=UTC) + dt.timedelta(days=1), 1, size)


def test_raw_tables_go_first_then_the_oldest_and_never_today() -> None:
    given = [
        part("request_stats_1h", 1), part("requests", 3), part("requests", 2), part("requests", 4),
        part("connections", 1), part("request_stats_10s", 1), part("accepted_batches", 1), part("agent_stats", 9),
    ]  # fmt: skip
    names = [(one.table, one.until.day - 1) for one in candidates(given, NOW)]
    assert names == [
        ("connections", 1),
        ("requests", 2),
        ("requests", 3),
        ("request_stats_10s", 1),
        ("request_stats_1h", 1),
    ]


def test_no_more_than_needed_goes_and_nothing_if_all_is_not_enough() -> None:
    order = [part("requests", 1), part("requests", 2), part("requests", 3)]
    assert enough(order, 1) == order[:1]
    assert enough(order, 10) == order[:1]
    assert enough(order, 11) == order[:2]
    assert enough(order, 30) == order
    assert enough(order, 31) == []


def test_ages() -> None:
    assert [age_s(text) for text in ("90s", "90m", "24h", "7d")] == [90, 5400, 86_400, 604_800]
    with pytest.raises(UsageError, match="90m"):
        age_s("a day")
