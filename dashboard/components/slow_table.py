"""The table of slow requests, shared by the pages `/slow` and `/service/<name>`."""

from __future__ import annotations

from typing import Any

import dash_ag_grid as dag

from dashboard.components import tables
from dashboard.components.format import clock, duration
from dashboard.components.split import ends, split
from dashboard.source import Row

#: Part of a split -> column of the table; what only one end tells stands in its own column.
_COLUMNS = {
    "network": (
        "network",
        "time on the way, both directions; ≤ where only the client's end was seen: the server is in it",
    ),
    "queue": ("queue", "lay in the server's socket: its process was busy"),
    "receive": ("receive", "the rest of a long request"),
    "process": ("process", "the server worked"),
    "answer": ("client late", "the answer lay in the client's socket"),
    "transfer": ("transfer", "the answer's first to last byte"),
}


def table(name: str, height: str | None) -> dag.AgGrid:
    """The empty table."""
    columns = [
        tables.number("duration_ns", "duration", 84, "of the client's end where it was seen, else of the server's"),
        tables.text("start", "start UTC", 92),
        tables.text("client", "client", 140),
        tables.text("server", "server", 140),
        tables.text("what", "request", minWidth=200),
        tables.text("status", "status", 134),
        *[tables.number(part, header, 96 if part == "answer" else 80, tip) for part, (header, tip) in _COLUMNS.items()],
        tables.number("gap_ns", "gap before", 102, "the client's own pause before this request"),
    ]
    return tables.grid(
        name,
        columns,
        "No request is kept for this range and these filters. Agents keep slow and failed requests first: "
        "choose a longer range or drop a filter.",
        select=True,
        height=height,
    )


def rows(found: list[Row]) -> list[dict[str, Any]]:
    """Rows of queries/slow.sql as rows of the table; each carries its own under `raw`, for the panel."""
    return [_row(row) for row in found]


def key(row: Row) -> str:
    """Names a row for as long as it is in the store."""
    if row["exchange_id"] != "0":
        return f"{row['role']}/{row['exchange_id']}"
    return f"{row['role']}/{row['host']}/{row['pid']}/{row['start_s']:.6f}/{row['duration_ns']}"


def _row(row: Row) -> dict[str, Any]:
    parts, who = split(row), ends(row)
    made: dict[str, Any] = {
        "key": key(row),
        "raw": row,
        "start": clock(row["start_s"])[11:19],
        "client": _end(who.client_service, who.client_host),
        "server": _end(who.server_service, who.server_host),
        "what": row["statement"] or f"{row['operation']} {row['resource']}".strip(),
        "status": f"{row['status_code']} {row['status'].replace('_', ' ')}".strip(),
        "status_bad": row["status"] in ("server_error", "no_response"),
    }
    made |= tables.cell("duration_ns", parts.total_ns, duration(parts.total_ns))
    known = {part.kind: part for part in parts.parts}
    for kind in _COLUMNS:
        part = known.get(kind)
        made |= tables.cell(kind, part.ns if part else None, duration(part.ns if part else None))
        if part and part is parts.largest and part.ns:
            made[f"{kind}_main"] = True
    if away := known.get("away"):
        made |= tables.cell("network", away.ns, f"≤ {duration(away.ns)}")
    made |= tables.cell("gap_ns", parts.gap_ns, duration(parts.gap_ns), dim=True)
    return made


def _end(service: str, host: str) -> str:
    return f"{service} @ {host}" if service and host and service != host else service or host or "?"
