"""Pieces of pages: cards, big figures, messages."""

from __future__ import annotations

from typing import Any

from dash import dcc, html

from dashboard.components import chart


def card(title: str, *children: Any, note: str = "", wide: bool = False, name: str = "") -> html.Section:
    """A titled box; `note` says what the figures mean."""
    heading = [html.H2(title), html.Span(note, className="note")] if note else [html.H2(title)]
    more = {"id": name} if name else {}
    return html.Section([html.Header(heading), *children], className="card wide" if wide else "card", **more)


def graph(name: str) -> dcc.Graph:
    """A chart with id `name`, empty until its page's callback draws it."""
    return dcc.Graph(id=name, figure=chart.empty(""), config=chart.CONFIG, style={"height": chart.HEIGHT})


def tile(label: str, figure: str, under: str = "", bad: bool = False) -> html.Div:
    """A big figure."""
    inside = [html.Div(label, className="label"), html.Div(figure, className="figure")]
    inside.append(html.Div(under or "\u00a0", className="under"))
    return html.Div(inside, className="tile bad" if bad else "tile")


def message(text: str, bad: bool = False) -> html.Div:
    """A line that says what to do."""
    return html.Div(text, className="message bad" if bad else "message", role="alert" if bad else "status")
