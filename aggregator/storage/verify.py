"""Do the store's tables agree? The sum of DESIGN.md section 5, over closed intervals within both retentions.

Served = rows x weight + unsampled, and that is what `requests` of the totals counts; the roll-ups of a minute and an
hour hold exactly what those of 10 s hold, column by column and sketch by sketch; statements are a part of requests;
what an agent says it handed over is there.

How: first whole hours, a day at a time so that each query stays within the SQL port's limits; only where an hour
differs, its single intervals. A batch goes into one table after the other, so a difference is looked at again after a
moment, and only one that has not moved is told. What must not be compared is left out: intervals that are not closed,
those near the end of a retention, and partitions that the disk guard dropped (dropped_partitions).
"""

from __future__ import annotations

import datetime as dt
import re
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from aggregator.storage.client import query_text
from aggregator.storage.migrations import AGE_COLUMN
from aggregator.storage.templates import Target
from sonde.errors import UsageError

Row = dict[str, Any]
Ask = Callable[[str, dict[str, Any]], list[Row]]

_HOUR_S, _DAY_S = 3600, 86_400
#: A bucket is closed when its batches are in: the waits for the other end of a connection, and the insert.
CLOSED_AFTER_S = 60
#: A request is raw in the partition of its start, but total at its completion: near the end of the retention the raw
#: row of a long request may be gone.
_RETENTION_MARGIN_S = _HOUR_S
#: Longest time from a request's completion to the statistics that count it.
_REPORT_SLACK_S = 60
_LOOK_AGAIN_S = 3.0
_HOURS_LOOKED_INTO, _LINES = 20, 200
_AGE = re.compile(r"(\d+)([smhd])")
_UNIT_S = {"s": 1, "m": 60, "h": _HOUR_S, "d": _DAY_S}


@dataclass(frozen=True)
class Check:
    """One comparison and its differences."""

    summary: str
    differences: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Kind:
    """One comparison: its query, the tables that it reads (totals last), and how fine it looks."""

    title: str
    query: str
    tables: tuple[str, ...]
    fine_s: int
    words: str
    parameters: dict[str, Any] = field(default_factory=dict)


_KINDS = (
    _Kind("raw rows and 10 s", "verify_rows", ("requests", "request_stats_10s"), 10,
          "{rows_count} of rows + {unsampled_count} unsampled, but {requests_count} requests"),
    _Kind("sketches of 10 s", "verify_sketches", ("request_stats_10s",), 10,
          "{requests_count} requests, but {sketch_count} in the sketch"),
    _Kind("10 s and 1 min", "verify_rollup", ("request_stats_10s", "request_stats_1m"), 60,
          "{short_count} requests in 10 s, {long_count} in 1 min", {"table": "request_stats_1m", "grain": 60}),
    _Kind("10 s and 1 h", "verify_rollup", ("request_stats_10s", "request_stats_1h"), _HOUR_S,
          "{short_count} requests in 10 s, {long_count} in 1 h", {"table": "request_stats_1h", "grain": _HOUR_S}),
    _Kind("statements and 1 min", "verify_statements", ("statement_stats_1m", "request_stats_1m"), 60,
          "{statements_count} statements, {requests_count} requests"),
)  # fmt: skip


def age_s(text: str) -> int:
    """Seconds of an age such as 90m.

    Raises:
        UsageError: it is none.
    """
    match = _AGE.fullmatch(text)
    if not match:
        raise UsageError(f"{text!r} is no age; write 90m, 24h or 7d")
    return int(match[1]) * _UNIT_S[match[2]]


def run(ask: Ask, target: Target, since_s: int | None = None, look_again_s: float = _LOOK_AGAIN_S) -> Iterator[Check]:
    """Every comparison, over the last `since_s` seconds or all that is kept.

    Raises:
        SondeError: the store cannot be asked.
    """
    bounds = ask(query_text("verify_bounds"), {"database": target.database})
    for table in sorted({table for kind in _KINDS for table in kind.tables} | {"agent_stats"}):
        given = {"table": table, "column": AGE_COLUMN.get(table, "time")}
        found = ask(query_text("verify_oldest"), given)[0]
        bounds.append({"table": table, "oldest_s": found["oldest_s"] if found["rows_count"] else None})
    for kind in _KINDS:
        start, end = _covered(bounds, kind.tables, kind.fine_s, since_s)
        yield _compare(ask, kind, start, end, look_again_s)
    start, end = _covered(bounds, ("agent_stats", "request_stats_10s"), 10, since_s)
    yield _agents(ask, start, end, look_again_s)


def _covered(bounds: list[Row], tables: tuple[str, ...], grain_s: int, since_s: int | None) -> tuple[int, int]:
    """Seconds [from, to) that all `tables` must hold and that are closed, whole intervals of `grain_s`."""
    now = int(bounds[0]["now_s"])
    start = now - since_s if since_s is not None else 0
    oldest = now
    for row in bounds:
        if row["table"] not in tables:
            continue
        if "oldest_s" not in row:
            start = max(start, now - int(row["retention_days"]) * _DAY_S + _RETENTION_MARGIN_S)
            start = max(start, int(row["dropped_until_s"]))
        elif row["oldest_s"] is not None:
            oldest = min(oldest, int(row["oldest_s"]) - _HOUR_S)
    start = max(start, oldest)
    end = now - CLOSED_AFTER_S
    return -(-start // grain_s) * grain_s, end // grain_s * grain_s


def _compare(ask: Ask, kind: _Kind, start: int, end: int, look_again_s: float) -> Check:
    if start >= end:
        return Check(f"{kind.title}: no closed interval that both hold")
    span = _span(ask, kind.tables[-1], start, end)

    def look(step: int, first: int, last: int) -> list[Row]:
        given = {"from": first, "to": last, "step": step, "limit": _LINES}
        return ask(query_text(kind.query), given | kind.parameters)

    hours = [row for first, last in _days(start, end) for row in look(_HOUR_S, first, last)]
    if not hours:
        return Check(f"{kind.title}: agree, {span}")
    suspects = sorted({int(row["interval_s"]) for row in hours})
    looked = suspects[:_HOURS_LOOKED_INTO]

    def fine() -> list[Row]:
        spans = ((max(hour, start), min(hour + _HOUR_S, end)) for hour in looked)
        return [row for first, last in spans for row in look(kind.fine_s, first, last)]

    before = fine()
    time.sleep(look_again_s)
    lines = [_line(row, kind.words) for row in fine() if row in before]
    if len(suspects) > len(looked):
        lines.append(f"and in {len(suspects) - len(looked)} later hours, not looked into")
    return Check(f"{kind.title}: {'DIFFER' if lines else 'agree'}, {span}", lines)


def _agents(ask: Ask, start: int, end: int, look_again_s: float) -> Check:
    title = "agents' own counts and 10 s"
    if start + _REPORT_SLACK_S >= end:
        return Check(f"{title}: no closed interval that both hold")
    given = {"from": start, "to": end, "slack": _REPORT_SLACK_S, "limit": _LINES}
    before = ask(query_text("verify_agents"), given)
    lines = []
    if before:
        time.sleep(look_again_s)
        after = ask(query_text("verify_agents"), given)
        words = "{host}: its agent handed over {reported_count} requests, {requests_count} are here"
        lines = [words.format(**row) for row in after if row in before]
    return Check(f"{title}: {'DIFFER' if lines else 'agree'}, {_span(ask, 'request_stats_10s', start, end)}", lines)


def _span(ask: Ask, table: str, start: int, end: int) -> str:
    """How much was compared: that nothing differs means little where there was nothing."""
    found = ask(query_text("verify_compared"), {"table": table, "from": start, "to": end})[0]
    return f"{found['requests_count']} requests, {_at(start)} to {_at(end)}"


def _days(start: int, end: int) -> Iterator[tuple[int, int]]:
    while start < end:
        stop = min(start // _DAY_S * _DAY_S + _DAY_S, end)
        yield start, stop
        start = stop


def _line(row: Row, words: str) -> str:
    marks = {"duration_differs": "durations", "bytes_differ": "bytes", "sums_differ": "sums",
             "sketches_differ": "sketches"}  # fmt: skip
    also = [name for column, name in marks.items() if int(row.get(column, 0))]
    told = f"{_at(int(row['interval_s']))} {row['host']} {row['role']}: {words.format(**row)}"
    return f"{told}; {', '.join(also)} differ" if also else told


def _at(seconds: int) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.timezone.utc).strftime("%Y-%m-%d %H:%M:%S")
