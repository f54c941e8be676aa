"""Around every page: navigation, the bar of controls, the banner of a replay, the clock.

Invariants: the URL is the only state; controls follow it (a shared link, the browser's back) and write it.
Filters that a page does not use are hidden but kept, so that going back brings them back.
"""

from __future__ import annotations

import time
from dataclasses import replace
from typing import Any

import dash
from dash import Input, Output, State, ctx, dcc, html

from dashboard.asking import asked
from dashboard.callbacks import callback
from dashboard.components import parts
from dashboard.components.format import clock
from dashboard.pages.registry import PAGES, page_of
from dashboard.source import Source, SourceError
from dashboard.state import CUSTOM, FORM, RANGES, ROLES, parse, read_time
from dashboard.state import State as PageState
from dashboard.window import utc

#: Controls that are dropdowns: filter -> its label.
DROPDOWNS = {"host": "host", "protocol": "protocol", "operation": "operation", "status": "status"}
STATUSES = ["ok", "client_error", "server_error", "no_response"]
_RANGE_LABELS = {"5m": "5 min", "15m": "15 min", "1h": "1 h", "6h": "6 h", "24h": "24 h", CUSTOM: "custom"}


def layout(refresh_seconds: float) -> html.Div:
    """The frame that stays while pages change."""
    return html.Div(
        [
            dcc.Location(id="url", refresh=False),
            dcc.Interval(id="tick", interval=int(refresh_seconds * 1000)),
            html.Header(
                [
                    html.Span("sonde", className="brand"),
                    html.Nav(id="nav", className="nav"),
                    html.Span(id="clock", className="clock"),
                ],
                className="top",
            ),
            html.Div(id="banner"),
            html.Div(
                [
                    _control("range", "range", _segments("range", _RANGE_LABELS)),
                    _control("from", "from (UTC)", _time("from")),
                    _control("to", "to", _time("to")),
                    _control("live", "", _segments("live", {"1": "live", "0": "paused"})),
                    _control("role", "role", _segments("role", {role: role for role in ROLES})),
                    *[_control(name, label, _dropdown(name)) for name, label in DROPDOWNS.items()],
                    html.Span(id="control-problem", className="note"),
                ],
                className="controls",
            ),
            html.Main(id="page"),
        ]
    )  # fmt: skip


def _control(name: str, label: str, inside: Any) -> html.Div:
    named = [html.Label(label, className="name")] if label else []
    return html.Div([*named, inside], className="control", id=f"control-{name}")


def _segments(name: str, labels: dict[str, str]) -> dcc.RadioItems:
    options = [{"label": label, "value": value} for value, label in labels.items()]
    return dcc.RadioItems(id=f"set-{name}", options=options, className="segments", inline=True)


def _time(name: str) -> dcc.Input:
    return dcc.Input(id=f"set-{name}", type="text", debounce=True, placeholder="2026-11-20 22:41:00")


def _dropdown(name: str) -> dcc.Dropdown:
    options = STATUSES if name == "status" else []
    return dcc.Dropdown(id=f"set-{name}", options=options, placeholder="all", clearable=True)


def register(app: dash.Dash, source: Source) -> None:
    """The callbacks of the frame."""

    @callback(app, Output("page", "children"), Input("url", "pathname"))
    def route(pathname: str) -> Any:
        page = page_of(pathname)
        if page is None:
            missing = f"There is no page {pathname}. The ones there are stand above; a service's is /service/<name>."
            return html.Div(html.Div(parts.message(missing), className="messages"), className="page")
        return page.layout(pathname)

    @callback(
        app,
        Output("nav", "children"),
        *[Output(f"control-{name}", "className") for name in ("from", "to", "live", "role", *DROPDOWNS)],
        Input("url", "pathname"),
        Input("url", "search"),
    )
    def frame(pathname: str, search: str) -> tuple[Any, ...]:
        state, page = parse(search), page_of(pathname)
        used = page.CONTROLS if page else frozenset()
        shown = {"from": state.custom, "to": state.custom, "live": not state.custom}
        shown |= {name: name in used for name in ("role", *DROPDOWNS)}
        return (_navigation(pathname, state), *["control" if on else "control off" for on in shown.values()])

    names = ("range", "from", "to", "live", "role", *DROPDOWNS)

    @callback(
        app,
        Output("url", "search"),
        Output("tick", "disabled"),
        Output("control-problem", "children"),
        *[Output(f"set-{name}", "value") for name in names],
        Input("url", "search"),
        *[Input(f"set-{name}", "value") for name in names],
    )
    def control(search: str, *values: Any) -> tuple[Any, ...]:
        state = parse(search)
        if (ctx.triggered_id or "url") == "url":
            return (dash.no_update, _still(state), state.problem, *_values(state))
        changed, problem = apply(state, dict(zip(names, values, strict=True)), ctx.triggered_id.removeprefix("set-"))
        return (changed.search(), _still(changed), problem, *_values(changed))

    @callback(
        app,
        *[Output(f"set-{name}", "options") for name in ("host", "protocol", "operation")],
        Input("url", "pathname"),
        Input("url", "search"),
        Input("tick", "n_intervals"),
        *[State(f"set-{name}", "options") for name in ("host", "protocol", "operation")],
    )
    def choices(pathname: str, search: str, _tick: int, *known: list[str]) -> tuple[Any, ...]:
        asking = asked(search, pathname)
        try:
            (found,) = source.rows("choices", **asking.parameters)
        except SourceError:
            return (dash.no_update,) * 3
        made = []
        for name, column, before in zip(
            ("host", "protocol", "operation"), ("hosts", "protocols", "operations"), known, strict=True
        ):
            # What is chosen stays to be seen, also when the range has nothing of it.
            options = sorted({*found[column], getattr(asking.state, name)} - {""})
            made.append(dash.no_update if options == before else options)
        return tuple(made)

    @callback(
        app,
        Output("banner", "children"),
        Output("clock", "children"),
        Input("tick", "n_intervals"),
        Input("url", "search"),
    )
    def status(_tick: int, search: str) -> tuple[Any, Any]:
        now = clock(time.time())
        state = parse(search)
        how = (
            "fixed range"
            if state.custom
            else f"every {source.settings.refresh_seconds:g} s"
            if state.live
            else "paused"
        )
        try:
            hosts = source.rows("hosts")
        except SourceError:
            return dash.no_update, f"{now} · no answer"
        replayed = [row["host"] for row in hosts if row["replay"]]
        banner = f"REPLAY: {', '.join(replayed)} show a recording, not what happens now." if replayed else None
        return html.Div(banner, className="replay") if banner else None, f"{now} · {how}"


def _navigation(pathname: str, state: PageState) -> list[Any]:
    kept = state.range_only().search()
    links: list[Any] = []
    for name in ("overview", "slow", "inflight"):
        page = PAGES[name]
        here = page_of(pathname) is page
        links.append(dcc.Link(page.TITLE, href=page.PATH + kept, className="here" if here else ""))
    return links


def _still(state: PageState) -> bool:
    return state.custom or not state.live


def _values(state: PageState) -> tuple[Any, ...]:
    start, end = (time.strftime(FORM).replace("T", " ") if time else "" for time in (state.start, state.end))
    filters = [getattr(state, name) or None for name in DROPDOWNS]
    return (state.range, start, end, "1" if state.live else "0", state.role, *filters)


def apply(state: PageState, values: dict[str, Any], changed: str) -> tuple[PageState, str]:
    """The state after the control `changed` was set, and what is wrong with it in words ("" when nothing is)."""
    text = values[changed] or ""
    if changed == "live":
        return replace(state, live=text == "1"), ""
    if changed == "range" and text == CUSTOM:
        if state.custom:
            return state, ""
        window = asked(state.search(), "/").window
        return replace(state, range=CUSTOM, start=utc(window.start), end=utc(window.end)), ""
    if changed == "range":
        return replace(state, range=text if text in RANGES else PageState.range, start=None, end=None), ""
    if changed in ("from", "to"):
        moment = read_time(str(text))
        if moment is None:
            return state, f"{text!r} is not a UTC time such as 2026-11-20 22:41:00"
        moved = replace(state, start=moment) if changed == "from" else replace(state, end=moment)
        if moved.start is None or moved.end is None or moved.start >= moved.end:
            return state, "from must be before to"
        return moved, ""
    if changed == "role":
        return replace(state, role=text if text in ROLES else PageState.role), ""
    return state.with_filters({changed: str(text)}), ""
