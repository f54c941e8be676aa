"""`/`: the fleet at a glance. Which hosts report, which services serve, who calls whom."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash
from dash import Input, Output, html

from dashboard.asking import Asked, asked, seconds_observed, service_link, why_empty
from dashboard.callbacks import callback
from dashboard.components import edges_table, parts, tables
from dashboard.components.format import age, count, duration, percent, rate
from dashboard.source import Row, Source, SourceError

PATH = "/"
TITLE = "Overview"
CONTROLS = frozenset({"role", "host", "protocol"})


def layout(pathname: str) -> html.Div:  # noqa: ARG001
    """The page without figures."""
    percentile = "from the merged sketches of the range, within 1 %"
    services = [
        tables.link("service", "service"),
        tables.text("protocol", "protocol", 90),
        tables.number("hosts", "hosts", 66),
        tables.number("rate", "rate", 104, "requests per second over the observed part of the range; ~ is an estimate"),
        tables.spark("spark", "over the range"),
        tables.number("errors", "errors", 88, "server errors and requests without an answer"),
        tables.number("client_errors", "client errors", 118, "the caller's fault, such as HTTP 4xx"),
        tables.number("p50_ns", "p50", 88, percentile),
        tables.number("p95_ns", "p95", 88, percentile),
        tables.number("p99_ns", "p99", 88, percentile),
    ]
    hosts = [
        tables.text("host", "host", 130),
        tables.number("age_s", "last seen", 134),
        tables.number("served", "served", 104, "requests per second that its services answered"),
        tables.number("sent", "sent", 104, "requests per second that its services made"),
        tables.number("lost", "lost", 80, "records lost in the kernel or in the agent: totals are too low by these"),
        tables.number("unmatched", "unmatched", 112, "requests or answers whose other part was not seen"),
        tables.number("unparsed", "unparsed", 94, "records whose content could not be read"),
        tables.number("dropped", "dropped", 86, "batches that the agent gave up to deliver"),
        tables.number("cpu", "agent CPU", 96, "of one core"),
        tables.text("kernel", "kernel", 150),
        tables.text("agent_version", "agent", 80),
        tables.text("os", "system", minWidth=120),
    ]
    nothing = "No request was counted in this range."
    return html.Div(
        [
            html.Div(id="overview-messages", className="messages"),
            html.Div(id="overview-tiles", className="tiles wide"),
            parts.card("Services", tables.grid("overview-services", services, nothing), wide=True,
                       note="by requests; a name opens its page"),
            parts.card("Hosts", tables.grid("overview-hosts", hosts, "No agent has reported yet."), wide=True,
                       note="red: silent, or its counts are too low"),
            parts.card("Who calls whom", edges_table.table("overview-edges"), wide=True,
                       note="as the caller saw it, the network included"),
        ],
        className="page",
    )  # fmt: skip


def register(app: dash.Dash, source: Source) -> None:
    """The callback that fills the page."""

    @callback(
        app,
        Output("overview-messages", "children"),
        Output("overview-tiles", "children"),
        Output("overview-services", "rowData"),
        Output("overview-hosts", "rowData"),
        Output("overview-edges", "rowData"),
        Input("tick", "n_intervals"),
        Input("url", "search"),
    )
    def refresh(_tick: int, search: str) -> tuple[Any, ...]:
        asking = asked(search, PATH)
        try:
            return _fill(source, asking)
        except SourceError as error:
            return (parts.message(str(error), bad=True), *[dash.no_update] * 4)


def _fill(source: Source, asking: Asked) -> tuple[Any, ...]:
    seconds = seconds_observed(source, asking)
    services = source.rows("services", **asking.parameters)
    small = _sparks(source, asking)
    hosts = source.rows("hosts")
    rates = {row["host"]: row for row in source.rows("host_rates", **asking.parameters)}
    losses = {row["host"]: row for row in source.rows("host_losses", **asking.parameters_till_now)}
    edges = source.rows("edges", **asking.parameters)
    flying = source.rows("in_flight", **asking.parameters)
    messages = [parts.message(why_empty(source, asking))] if not services and not edges else []
    if len(services) == source.settings.max_rows:
        messages.append(
            parts.message(f"Only the {len(services)} busiest services are shown: filter by host or protocol.")
        )
    stale = source.settings.stale_seconds
    return (
        messages,
        _tiles(services, hosts, losses, flying, seconds, stale, asking),
        [_service(row, small.get((row["service"], row["protocol"]), []), seconds, asking) for row in services],
        [_host(row, rates.get(row["host"]), losses.get(row["host"]), seconds, stale) for row in hosts],
        edges_table.rows(edges, seconds, asking),
    )


def _sparks(source: Source, asking: Asked) -> dict[tuple[str, str], list[float]]:
    steps = {step: index for index, step in enumerate(asking.window.steps)}
    found: dict[tuple[str, str], list[float]] = {}
    for row in source.rows("service_rates", **asking.parameters):
        line = found.setdefault((row["service"], row["protocol"]), [0.0] * len(steps))
        line[steps[row["step"]]] = row["total"] / asking.window.step
    return found


def _lost(row: Row) -> int:
    return int(row["lost_kernel"] + row["lost_agent"])


def _tiles(
    services: list[Row], hosts: list[Row], losses: dict[str, Row], flying: list[Row], seconds: float, stale: int,
    asking: Asked,
) -> list[html.Div]:  # fmt: skip
    total = sum(row["total"] for row in services)
    errors = sum(row["errors"] for row in services)
    silent = [row["host"] for row in hosts if row["age_s"] > stale]
    slowest = max(
        (row for row in services if row["p99_ns"] == row["p99_ns"]), key=lambda row: row["p99_ns"], default=None
    )
    lost = sum(_lost(row) for row in losses.values())
    unmatched = sum(row["unmatched_requests"] for row in losses.values())
    estimated = any(row["is_estimated"] for row in services)
    verb = "served" if asking.state.role == "server" else "sent"
    on_time = f"each within the last {stale} s" if hosts else "no agent yet"
    over = f"{count(total, estimated)} over {age(seconds)}" if total else "none in this range"
    oldest = f"oldest {duration(flying[0]['age_ns'])}" if flying else "nothing waits for a first byte"
    return [
        parts.tile(
            "Hosts reporting",
            f"{len(hosts) - len(silent)} of {len(hosts)}",
            f"silent: {', '.join(silent)}" if silent else on_time,
            bad=bool(silent),
        ),
        parts.tile(f"Requests {verb}", rate(total / seconds, estimated), over),
        parts.tile("Errors", percent(errors, total), f"{count(errors)} server errors or no answer", bad=errors > 0),
        parts.tile(
            "Slowest p99", duration(slowest["p99_ns"] if slowest else None), slowest["service"] if slowest else ""
        ),
        parts.tile("In flight now", count(len(flying)), oldest),
        parts.tile("Lost", count(lost), f"{count(unmatched)} unmatched", bad=lost > 0),
    ]


def _service(row: Row, small: list[float], seconds: float, asking: Asked) -> dict[str, Any]:
    made = {
        "key": f"{row['service']}/{row['protocol']}",
        "service": row["service"],
        "service_href": service_link(row["service"], replace(asking.state, service="")),
        "protocol": row["protocol"],
        "spark": small,
        "hosts": row["hosts"],
    }
    return made | tables.figures(row, seconds)


def _host(row: Row, totals: Row | None, losses: Row | None, seconds: float, stale: int) -> dict[str, Any]:
    silent = row["age_s"] > stale
    made = {
        "key": row["host"],
        "host": f"{row['host']} (replay)" if row["replay"] else row["host"],
        "host_bad": silent,
        "kernel": row["kernel"],
        "os": row["os"],
        "agent_version": row["agent_version"],
    }
    made |= tables.cell("age_s", row["age_s"], f"{age(row['age_s'])}{'' if row['age_s'] < 1 else ' ago'}", bad=silent)
    for name in ("served", "sent"):
        per_second = totals[name] / seconds if totals else 0.0
        made |= tables.cell(name, per_second, rate(per_second, bool(totals and totals["is_estimated"])))
    figures = {
        "lost": _lost(losses) if losses else None,
        "unmatched": losses["unmatched_requests"] if losses else None,
        "unparsed": losses["unparsed_requests"] if losses else None,
        "dropped": losses["dropped"] if losses else None,
    }
    for name, figure in figures.items():
        made |= tables.cell(
            name, figure, count(figure), bad=bool(figure) and name in ("lost", "dropped"), dim=not figure
        )
    cpu = losses["agent_cpu"] if losses else None
    return made | tables.cell("cpu", cpu, percent(cpu, 1.0), bad=bool(cpu and cpu > 0.05))
