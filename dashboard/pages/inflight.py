"""`/inflight`: requests that wait for the first byte of their answer right now."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, html

from dashboard.asking import asked
from dashboard.callbacks import callback
from dashboard.components import parts, tables
from dashboard.components.format import clock, duration, size
from dashboard.source import Row, Source, SourceError

PATH = "/inflight"
TITLE = "In flight"
CONTROLS = frozenset({"host", "protocol"})


def layout(pathname: str) -> html.Div:  # noqa: ARG001
    """The page without figures."""
    columns = [
        tables.number("age_ns", "waits for", 100, "since its first byte, by the clock of its own host"),
        tables.text("start", "start UTC", 96),
        tables.text("service", "service", 150),
        tables.text("host", "host", 110),
        tables.text("role", "seen at", 84),
        tables.text("peer", "other end", 170),
        tables.text("protocol", "protocol", 90),
        tables.text("what", "request"),
        tables.number("request_bytes", "size", 90),
        tables.text("process", "process", 140),
    ]
    table = tables.grid("inflight-table", columns, "Nothing waits for the first byte of an answer.")
    return html.Div(
        [
            html.Div(id="inflight-messages", className="messages"),
            parts.card(
                "In flight", table, wide=True, note="what each agent last reported; agents silent for 20 s left out"
            ),
        ],
        className="page",
    )


def register(app: dash.Dash, source: Source) -> None:
    """The callback that fills the page."""

    @callback(
        app,
        Output("inflight-table", "rowData"),
        Output("inflight-messages", "children"),
        Input("tick", "n_intervals"),
        Input("url", "search"),
    )
    def refresh(_tick: int, search: str) -> tuple[Any, Any]:
        try:
            return [_row(row) for row in source.rows("in_flight", **asked(search, PATH).parameters)], None
        except SourceError as error:
            return dash.no_update, parts.message(str(error), bad=True)


def _row(row: Row) -> dict[str, Any]:
    made = {
        "key": f"{row['host']}/{row['pid']}/{row['role']}/{row['start_s']:.6f}/{row['protocol']}",
        "start": clock(row["start_s"])[11:19],
        "service": row["service"],
        "host": row["host"],
        "role": row["role"],
        "peer": f"{row['remote_service']} @ {row['remote_host']}" if row["remote_host"] else row["remote_service"],
        "protocol": row["protocol"],
        "what": row["statement"] or f"{row['operation']} {row['resource']}".strip(),
        "process": f"{row['comm']} ({row['pid']})",
    }
    made |= tables.cell("age_ns", row["age_ns"], duration(row["age_ns"]))
    return made | tables.cell("request_bytes", row["request_bytes"], size(row["request_bytes"]))
