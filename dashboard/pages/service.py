"""`/service/<name>`: one service in one role. How much, how fast, where the time goes, which requests."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import dash
from dash import Input, Output, State, html

from dashboard.asking import Asked, asked, observed_from, seconds_observed, service_link, service_of, why_empty
from dashboard.callbacks import callback
from dashboard.components import charts_of_service as charts
from dashboard.components import edges_table, parts, slow_section, tables
from dashboard.components.chart import settling
from dashboard.components.format import age, count, duration, percent, rate
from dashboard.source import Row, Source, SourceError

PATH = "/service/"
TITLE = "Service"
CONTROLS = frozenset({"role", "host", "protocol", "operation"})

_FIGURES = ("rate", "errors", "percentiles", "heatmap", "parts")


def layout(pathname: str) -> html.Div:
    """The page without figures."""
    percentile = "from the merged sketches of the range, within 1 %"
    kinds = [
        tables.link("operation", "operation", 130),
        tables.text("resource", "resource"),
        tables.text("protocol", "protocol", 90),
        tables.number("rate", "rate", 100),
        tables.number("share", "of all time", 94, "its share of the time of all requests of this service"),
        tables.number("errors", "errors", 84),
        tables.number("client_errors", "client errors", 118),
        *[tables.number(f"{level}_ns", level, 88, percentile) for level in ("p50", "p95", "p99")],
        *[tables.number(f"{part}_ns", part, 88, f"mean {part} time") for part in charts.PARTS],
    ]
    nothing = "No request was counted in this range."
    return html.Div(
        [
            html.Div(
                [html.H1(service_of(pathname)), html.Span(id="service-role", className="note")], className="title wide"
            ),
            html.Div(id="service-messages", className="messages"),
            html.Div(id="service-tiles", className="tiles wide"),
            parts.card("Where the time goes", parts.graph("service-parts"), wide=True,
                       note="mean request of each step, from exact sums"),
            parts.card("Latency", parts.graph("service-percentiles"), note="percentiles of each step, within 1 %"),
            parts.card("Latency, every request", parts.graph("service-heatmap"), note="brighter: more requests"),
            parts.card("Rate", parts.graph("service-rate"), note="requests per second"),
            parts.card("Errors", parts.graph("service-errors"), note="share of the requests"),
            parts.card("By operation", tables.grid("service-kinds", kinds, nothing), wide=True,
                       note="most time first; as client, queue: the answer waited, process: all that was away"),
            slow_section.section("service", "Slow requests", height="330px"),
            parts.card("Neighbours", edges_table.table("service-peers"), wide=True,
                       note="who calls it and whom it calls, as the caller saw it"),
        ],
        className="page",
    )  # fmt: skip


def register(app: dash.Dash, source: Source) -> None:
    """The callbacks that fill the page."""
    slow_section.register(app, source, "service")

    @callback(
        app,
        Output("service-messages", "children"),
        Output("service-role", "children"),
        Output("service-tiles", "children"),
        *[Output(f"service-{name}", "figure") for name in _FIGURES],
        Input("tick", "n_intervals"),
        Input("url", "search"),
        State("url", "pathname"),
    )
    def refresh(_tick: int, search: str, pathname: str) -> tuple[Any, ...]:
        asking = asked(search, pathname)
        try:
            return _fill(source, asking)
        except SourceError as error:
            return (parts.message(str(error), bad=True), *[dash.no_update] * (2 + len(_FIGURES)))

    @callback(
        app,
        Output("service-kinds", "rowData"),
        Output("service-peers", "rowData"),
        Input("tick", "n_intervals"),
        Input("url", "search"),
        State("url", "pathname"),
    )
    def tabulate(_tick: int, search: str, pathname: str) -> tuple[Any, Any]:
        asking = asked(search, pathname)
        try:
            seconds = seconds_observed(source, asking)
            kinds = source.rows("breakdown", **asking.parameters)
            peers = source.rows("edges", **asking.parameters)
        except SourceError:
            return dash.no_update, dash.no_update  # the other callback says it
        return _kinds(kinds, seconds, asking), edges_table.rows(peers, seconds, asking)


def _fill(source: Source, asking: Asked) -> tuple[Any, ...]:
    window, state = asking.window, asking.state
    (summary,) = source.rows("summary", **asking.parameters)
    series = source.rows("series", **asking.parameters)
    bands = source.rows("heatmap", **asking.parameters)
    messages = []
    try:
        network = source.rows("network_series", **asking.parameters)
    except SourceError as error:
        network = []
        messages.append(parts.message(f"The network time is not shown. {error}"))
    if not summary["total"]:
        messages.append(parts.message(_no_requests(source, asking)))
    elif summary["is_estimated"]:
        messages.append(
            parts.message(
                "Some totals of this range are estimates (~): rates were beyond what agents count one by one."
            )
        )
    messages += [parts.message(text) for text in without_rows(summary)]
    found = charts.points(window, series)
    shown = [
        charts.rate(window, found, observed_from(source, asking), asking.revision),
        charts.errors(window, found, asking.revision),
        charts.percentiles(window, found, asking.revision),
        charts.heatmap(window, bands, asking.revision),
        charts.parts(window, found, network, state.role, asking.revision),
    ]
    if window.live:
        shown = [settling(figure, asking.now - source.settings.settle_seconds, window.end) for figure in shown]
    role = "as server: requests it answered" if state.role == "server" else "as client: requests it made"
    return (messages, role, _tiles(summary, seconds_observed(source, asking), state.role), *shown)


def without_rows(summary: Row) -> list[str]:
    """What the page has to say where agents sent no row of some requests."""
    if not summary["unsampled_requests"]:
        return []
    share = percent(summary["unsampled_requests"], summary["total"])
    text = (
        f"{share} of these requests have no row of their own: their agents keep within a budget. Totals and "
        "percentiles hold all of them; the network time and the slow requests are of those with a row, among which "
        "slow and failed ones are more frequent."
    )
    return [text]


def _no_requests(source: Source, asking: Asked) -> str:
    (choices,) = source.rows("choices", **asking.parameters)
    others = [role for role in choices["roles"] if role != asking.state.role]
    filtered = asking.state.host or asking.state.protocol or asking.state.operation
    if others and not filtered:
        return f"{asking.state.service} was seen in this range only as {others[0]}: switch the role above."
    return why_empty(source, asking)


def _tiles(summary: Row, seconds: float, role: str) -> list[html.Div]:
    total, estimated = summary["total"], bool(summary["is_estimated"])
    hosts = sorted(summary["hosts"])
    failed = summary["errors"]
    queue = "Queue p99" if role == "server" else "Answer waited p99"
    return [
        parts.tile("Requests", rate(total / seconds, estimated), f"{count(total, estimated)} over {age(seconds)}"),
        parts.tile("Errors", percent(failed, total), f"{count(failed)}; client {count(summary['client_errors'])}",
                   bad=failed > 0),
        parts.tile("p50", duration(summary["p50_ns"]), "half are faster"),
        parts.tile("p95", duration(summary["p95_ns"]), "1 in 20 is slower"),
        parts.tile("p99", duration(summary["p99_ns"]), "1 in 100 is slower"),
        parts.tile(queue, duration(summary["queue_p99_ns"]), "process busy elsewhere"),
        parts.tile("Hosts", count(len(hosts)), ", ".join(hosts)),
    ]  # fmt: skip


def _kinds(rows: list[Row], seconds: float, asking: Asked) -> list[dict[str, Any]]:
    whole = sum(row["all_ns"] for row in rows)
    made = []
    for row in rows:
        narrowed = replace(asking.state, operation=row["operation"], service="")
        line = {
            "key": f"{row['protocol']}/{row['operation']}/{row['resource']}",
            "operation": row["operation"] or "(none)",
            "operation_href": service_link(asking.state.service, narrowed),
            "resource": row["resource"],
            "protocol": row["protocol"],
        }
        line |= tables.figures(row, seconds)
        line |= tables.cell("share", row["all_ns"], percent(row["all_ns"], whole))
        for part in charts.PARTS:
            line |= tables.cell(f"{part}_ns", row[f"{part}_ns"], duration(row[f"{part}_ns"]))
        made.append(line)
    return made
