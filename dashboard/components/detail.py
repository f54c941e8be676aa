"""The panel of one request: a bar that splits it, what each part means, its statement."""

from __future__ import annotations

from typing import Any

from dash import html

from dashboard.components import palette
from dashboard.components.format import clock, duration, percent, size
from dashboard.components.split import Ends, Part, Split, ends, split
from dashboard.source import Row


def panel(row: Row) -> html.Div:
    """Everything about a row of queries/slow.sql."""
    parts, who = split(row), ends(row)
    largest = parts.largest
    return html.Div(
        [
            html.Header(
                [
                    html.H2(f"{row['operation']} {row['resource']}".strip() or row["protocol"]),
                    html.Span(
                        f"{duration(parts.total_ns)}, of which {percent(largest.ns, parts.total_ns)} {largest.name}",
                        className="verdict",
                    ),
                ]
            ),
            html.Div(_route(who), className="route"),
            _bar(parts),
            _legend(parts),
            html.Div(parts.note, className="note"),
            html.Pre(_statement(row), className="statement"),
            _facts(row),
        ],
        className="detail",
        id="detail-panel",
    )


def _route(who: Ends) -> str:
    def end(service: str, host: str) -> str:
        return f"{service or '?'} on {host or '?'}" if host != service else service

    return f"{end(who.client_service, who.client_host)} → {end(who.server_service, who.server_host)}"


def _bar(parts: Split) -> html.Div:
    total = max(parts.total_ns, sum(part.ns for part in parts.parts), 1)
    segments: list[Any] = []
    if parts.gap_ns:
        segments.append(
            html.Div(
                f"client paused {duration(parts.gap_ns)} before",
                className="gap",
                title="from the end of the request before on this connection to the start of this one; not to scale",
            )
        )
    within = [_segment(part, total) for part in parts.parts if part.ns]
    return html.Div([*segments, html.Div(within, className="within")], className="bar", id="detail-bar")


def _segment(part: Part, total: int) -> html.Div:
    share = 100 * part.ns / total
    return html.Div(
        f"{part.name} {duration(part.ns)}" if share >= 14 else duration(part.ns) if share >= 6 else "",
        className="segment",
        title=f"{part.name}: {duration(part.ns)}, {percent(part.ns, total)}: {part.meaning}",
        style={"width": f"{share:.4f}%", "background": palette.PART[part.kind]},
    )


def _legend(parts: Split) -> html.Table:
    total = max(parts.total_ns, 1)
    lines = [
        html.Tr(
            [
                html.Td(html.Span(className="swatch", style={"background": palette.PART[part.kind]})),
                html.Td(part.name),
                html.Td(duration(part.ns), className="right"),
                html.Td(percent(part.ns, total), className="right"),
                html.Td(part.meaning, className="dim"),
            ],
            **({"data-part": part.kind}),
        )
        for part in parts.parts
    ]
    return html.Table(html.Tbody(lines), className="legend")


def _statement(row: Row) -> str:
    if not row["statement"]:
        return "The statement's text was not kept."
    return str(row["statement"]) + (" … (cut off)" if row["statement_truncated"] else "")


_ENDED = {
    "framing": "framing (the protocol told the end)",
    "next_request": "the next request",
    "close": "the connection's close",
    "idle": "silence",
}


def _facts(row: Row) -> html.Dl:
    status = f"{row['status']}{', code ' + row['status_code'] if row['status_code'] else ''}"
    facts = {
        "start": clock(row["start_s"], micro=True),
        "protocol": row["protocol"] + (" over TLS" if row["tls"] else ""),
        "status": status,
        "ended by": _ENDED.get(row["ended_by"], row["ended_by"]),
        "process": f"{row['comm']} (pid {row['pid']}) on {row['host']}",
        "sizes": f"request {size(row['request_bytes'])}, response {size(row['response_bytes'])}",
        "exchange_id": row["exchange_id"] if row["exchange_id"] != "0" else "none: no other end can be joined",
    }
    if row["weight"] > 1:
        facts["stands for"] = f"{row['weight']} requests (sampled)"
    facts |= {f"header {name}": text for name, text in sorted(row["attributes"].items())}
    return html.Dl([part for name, text in facts.items() for part in (html.Dt(name), html.Dd(text))])
