"""The table of who calls whom, shared by the overview and the service page."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash_ag_grid as dag

from dashboard.asking import Asked, service_link
from dashboard.components import tables
from dashboard.source import Row

_PERCENTILE = "from the merged sketches of the range, within 1 %"


def table(name: str) -> dag.AgGrid:
    """The empty table."""
    columns = [
        tables.link("caller", "caller"),
        tables.link("callee", "callee"),
        tables.text("protocol", "protocol", 90),
        tables.number("rate", "rate", 104),
        tables.number("errors", "errors", 88),
        tables.number("p50_ns", "p50", 88, _PERCENTILE),
        tables.number("p99_ns", "p99", 88, _PERCENTILE),
        tables.text("seen_at", "seen at", 84, tip="the end that measured: the caller's where it has an agent"),
    ]
    return tables.grid(name, columns, "No call was counted in this range.")


def rows(found: list[Row], seconds: float, asking: Asked) -> list[dict[str, Any]]:
    """Rows of queries/edges.sql as rows of the table; a service of the fleet links to its page."""
    return [_row(row, seconds, asking) for row in found]


def _row(row: Row, seconds: float, asking: Asked) -> dict[str, Any]:
    state = asking.state.range_only()
    from_caller = row["seen_at"] == "client"
    made = {
        "key": f"{row['caller']}/{row['callee']}/{row['protocol']}/{row['seen_at']}",
        "caller": row["caller"],
        "callee": row["callee"],
        "protocol": row["protocol"],
        "seen_at": "caller" if from_caller else "callee",
    }
    if from_caller or row["peer_known"]:
        made["caller_href"] = service_link(row["caller"], replace(state, role="client"))
    if not from_caller or row["peer_known"]:
        made["callee_href"] = service_link(row["callee"], state)
    return made | tables.figures(row, seconds)
