"""`/slow`: the slowest requests of the fleet, both ends side by side, and where each one's time went."""

from __future__ import annotations

import dash
from dash import html

from dashboard.components import slow_section
from dashboard.source import Source

PATH = "/slow"
TITLE = "Slow requests"
CONTROLS = frozenset({"host", "protocol", "operation", "status"})


def layout(pathname: str) -> html.Div:  # noqa: ARG001
    """The page without figures."""
    return html.Div([slow_section.section("slow", "Slowest requests", height="440px")], className="page")


def register(app: dash.Dash, source: Source) -> None:
    """The callbacks of the page."""
    slow_section.register(app, source, "slow")
