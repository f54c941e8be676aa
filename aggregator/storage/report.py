"""What the store holds and when its disk will be full: `sonde storage`.

The forecast adds up tables. Each grows by its bytes a row times its rows of the last day (less, where it is younger),
until it is as old as its retention plus one partition, since whole partitions are dropped; from then on it stays. If
the sum of that stays below what the disk has free, it never fills. It knows nothing of other files on the disk, and
roll-ups of a very young store look larger than they are, as their rows have not been merged yet.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from aggregator.storage.client import query_text
from aggregator.storage.templates import Target, render

_DAY_S = 86_400
#: Longest time that one partition holds, days.
_PARTITION_DAYS = {"toDate": 1, "toMonday": 7, "toYYYYMM": 31}
#: Descriptions are kept by when they were last seen, but grow by what is seen first.
_GROWTH_COLUMN = {"last_seen": "first_seen"}

Ask = Callable[[str, dict[str, Any]], list[dict[str, Any]]]


@dataclass(frozen=True)
class TableSize:
    """One table: on disk, plain, and its growth."""

    name: str
    rows: int
    bytes: int
    plain_bytes: int
    retention_days: int
    partition_days: int
    rows_per_day: float
    oldest_days: float

    @property
    def bytes_per_row(self) -> float:
        """On disk; 0 for an empty table."""
        return self.bytes / self.rows if self.rows else 0.0

    @property
    def compression(self) -> float:
        """Plain bytes for one byte on disk; 0 for an empty table."""
        return self.plain_bytes / self.bytes if self.bytes else 0.0

    @property
    def bytes_per_day(self) -> float:
        """What a day adds while nothing expires."""
        return self.rows_per_day * self.bytes_per_row

    @property
    def grows_days(self) -> float:
        """Until as much expires as comes; infinite without a retention in days."""
        if not self.retention_days:
            return float("inf")
        return max(0.0, self.retention_days + self.partition_days - self.oldest_days)


@dataclass(frozen=True)
class Report:
    """The whole store."""

    tables: list[TableSize]
    free_bytes: int
    total_bytes: int

    @property
    def bytes(self) -> int:
        """On disk."""
        return sum(table.bytes for table in self.tables)

    @property
    def final_bytes(self) -> float:
        """What the store comes to when every table is as old as its retention; infinite if one has none and grows."""
        grown = (table.bytes_per_day * table.grows_days for table in self.tables if table.bytes_per_day)
        return self.bytes + sum(grown)

    @property
    def days_until_full(self) -> float | None:
        """None: never, at the growth seen."""
        return days_until(self.free_bytes, [(table.bytes_per_day, table.grows_days) for table in self.tables])


def days_until(free_bytes: float, growth: list[tuple[float, float]]) -> float | None:
    """Days until `free_bytes` are used up by parts that each add (bytes a day, for so many days); None: never."""
    left, day = free_bytes, 0.0
    for until in sorted({days for rate, days in growth if rate > 0}):
        rate = sum(one for one, days in growth if days > day)
        step = until - day
        if rate > 0 and left <= rate * step:
            return day + left / rate
        left -= rate * step
        day = until
    return None


def read(ask: Ask, target: Target) -> Report:
    """The report of a store.

    Raises:
        SondeError: the store cannot be asked.
    """
    tables = []
    for row in ask(render(query_text("report_tables"), target), {"database": target.database}):
        column = _GROWTH_COLUMN.get(row["age_column"], row["age_column"])
        growth = ask(query_text("report_growth"), {"table": row["name"], "column": column}) if column else []
        recent, seconds, oldest = growth[0].values() if growth else (0, 0, 0)
        tables.append(
            TableSize(
                row["name"],
                int(row["rows"]),
                int(row["bytes"]),
                int(row["plain_bytes"]),
                int(row["retention_days"]),
                _PARTITION_DAYS.get(row["partition_key"].partition("(")[0], 0),
                int(recent) * _DAY_S / int(seconds) if int(seconds) > 0 else 0.0,
                int(oldest) / _DAY_S,
            )
        )
    disk = ask(render(query_text("report_disk"), target), {})[0]
    return Report(tables, int(disk["free_bytes"]), int(disk["total_bytes"]))
