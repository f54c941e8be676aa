"""Partitions of the store: which time each holds, and the order in which they may be given up.

The end of a partition follows from its id and its table's partition key, not from its rows: an empty hour at its end
does not make it older.
"""

from __future__ import annotations

import datetime as dt
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Any

#: Tables that may lose partitions, raw rows first, the roll-up that reaches furthest back last. Never the ledger of
#: accepted batches: without it a batch that comes again would be stored again.
TIERS: tuple[tuple[str, ...], ...] = (
    ("requests", "connections"),
    ("request_stats_10s", "statement_stats_1m", "agent_stats"),
    ("request_stats_1m",),
    ("request_stats_1h",),
)
TABLES = tuple(table for tier in TIERS for table in tier)
_RANK = {table: rank for rank, tier in enumerate(TIERS) for table in tier}


@dataclass(frozen=True)
class Partition:
    """One partition; `until` is the first moment after it, UTC."""

    table: str
    id: str
    until: dt.datetime
    rows: int
    bytes: int


def end(partition_id: str, partition_key: str) -> dt.datetime | None:
    """The first moment after a partition of toDate, toMonday or toYYYYMM; None for any other key."""
    if not partition_id.isdecimal():
        return None
    try:
        if partition_key.startswith("toYYYYMM(") and len(partition_id) == 6:
            year, month = int(partition_id[:4]), int(partition_id[4:])
            return dt.datetime(year + month // 12, month % 12 + 1, 1, tzinfo=dt.timezone.utc)
        day = dt.datetime.strptime(partition_id, "%Y%m%d").replace(tzinfo=dt.timezone.utc)
    except ValueError:
        return None
    days = {"toDate": 1, "toMonday": 7}.get(partition_key.partition("(")[0])
    return day + dt.timedelta(days=days) if days else None


def read(rows: Iterable[tuple[Any, ...]]) -> list[Partition]:
    """Rows of queries/partitions.sql; those whose time is not known are left out."""
    found = []
    for table, partition_id, key, count, size in rows:
        until = end(partition_id, key)
        if until is not None:
            found.append(Partition(table, partition_id, until, int(count), int(size)))
    return found


def candidates(partitions: Iterable[Partition], now: dt.datetime) -> list[Partition]:
    """What may be dropped, first to be dropped first: raw before roll-ups, then oldest; never one that holds today."""
    today = now.replace(hour=0, minute=0, second=0, microsecond=0)
    past = [one for one in partitions if one.until <= today and one.table in _RANK]
    return sorted(past, key=lambda one: (_RANK[one.table], one.until, -one.bytes))


def enough(order: list[Partition], wanted_bytes: int) -> list[Partition]:
    """The first of `order` that together hold `wanted_bytes`; none if all of them hold less."""
    chosen, held = [], 0
    for one in order:
        if held >= wanted_bytes:
            break
        chosen.append(one)
        held += one.bytes
    return chosen if held >= wanted_bytes else []
