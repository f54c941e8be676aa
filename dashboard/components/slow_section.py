"""The slow requests' table with its panel, for a page with the given prefix of ids."""

from __future__ import annotations

from typing import Any

import dash
from dash import Input, Output, State, html

from dashboard.asking import asked
from dashboard.callbacks import callback
from dashboard.components import detail, parts, slow_table
from dashboard.source import Source, SourceError


def section(prefix: str, title: str, height: str | None) -> html.Section:
    """The empty table and the place of the panel."""
    return parts.card(
        title,
        html.Div(id=f"{prefix}-slow-messages", className="messages"),
        slow_table.table(f"{prefix}-slow", height),
        html.Div(id=f"{prefix}-detail"),
        note="where each one's time went; the largest part stands out; click a row to open it",
        wide=True,
    )


def register(app: dash.Dash, source: Source, prefix: str) -> None:
    """The callbacks of `section(prefix)`."""

    @callback(
        app,
        Output(f"{prefix}-slow", "rowData"),
        Output(f"{prefix}-slow-messages", "children"),
        Input("tick", "n_intervals"),
        Input("url", "search"),
        State("url", "pathname"),
    )
    def refresh(_tick: int, search: str, pathname: str) -> tuple[Any, Any]:
        try:
            return slow_table.rows(source.rows("slow", **asked(search, pathname).parameters_till_now)), None
        except SourceError as error:
            return dash.no_update, parts.message(str(error), bad=True)

    @callback(app, Output(f"{prefix}-detail", "children"), Input(f"{prefix}-slow", "selectedRows"))
    def show(selected: list[dict[str, Any]] | None) -> Any:
        return detail.panel(selected[0]["raw"]) if selected else None
