"""Figures as plain dictionaries that plotly.js draws: one look, a UTC time axis, durations as people read them.

Invariants: x is a string in UTC, so no browser shifts it; a step without data is a gap in a percentile and 0
in a rate; the figure keeps its zoom over refreshes (uirevision) until the range or the filters change.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

from dashboard.components import palette
from dashboard.components.format import digits, duration
from dashboard.window import Window, utc

Figure = dict[str, Any]

#: Of every chart on a page.
HEIGHT = "230px"

CONFIG = {"displaylogo": False, "displayModeBar": False, "responsive": True, "doubleClick": "reset"}
_FONT = {"family": "system-ui, sans-serif", "size": 12, "color": palette.DIM}


def time_text(seconds: float) -> str:
    """Unix seconds as plotly.js reads a time without shifting it."""
    return utc(seconds).strftime("%Y-%m-%d %H:%M:%S")


def figure(window: Window, traces: list[dict[str, Any]], yaxis: dict[str, Any], revision: str) -> Figure:
    """A chart over the range of `window`; `revision` changes when its zoom should be forgotten."""
    return {
        "data": traces,
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "font": _FONT,
            "margin": {"l": 62, "r": 12, "t": 8, "b": 30},
            "autosize": True,
            "showlegend": sum(1 for trace in traces if trace.get("name")) > 1,
            "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom", "font": {"color": palette.TEXT}},
            "hovermode": "x unified",
            "hoverlabel": {"bgcolor": "#12171d", "bordercolor": palette.GRID, "font": {"color": palette.TEXT}},
            "uirevision": revision,
            "xaxis": {
                "type": "date",
                "range": [time_text(window.start), time_text(window.end)],
                "gridcolor": palette.GRID,
                "tickformat": "%H:%M" if window.seconds <= 86_400 else "%d %b %H:%M",
                "hoverformat": "%Y-%m-%d %H:%M:%S UTC",
                "nticks": 8,
                "ticks": "outside",
                "ticklen": 5,
                "tickcolor": "rgba(0,0,0,0)",
                "zeroline": False,
            },
            "yaxis": {"gridcolor": palette.GRID, "zeroline": False, "rangemode": "tozero"} | yaxis,
        },
    }


def empty(text: str) -> Figure:
    """A figure without data that says why."""
    hidden = {"visible": False}
    return {
        "data": [],
        "layout": {
            "paper_bgcolor": "rgba(0,0,0,0)",
            "plot_bgcolor": "rgba(0,0,0,0)",
            "autosize": True,
            "xaxis": hidden,
            "yaxis": hidden,
            "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
            "annotations": [{"text": text, "showarrow": False, "font": _FONT | {"size": 13}}],
        },
    }


def settling(shown: Figure, since: float, until: float) -> Figure:
    """Shades the time whose totals may still grow; does nothing when none is in the range."""
    if since < until:
        shown["layout"]["shapes"] = [
            {
                "type": "rect", "xref": "x", "yref": "paper", "x0": time_text(since), "x1": time_text(until),
                "y0": 0, "y1": 1, "fillcolor": "rgba(255,255,255,0.06)", "line": {"width": 0}, "layer": "below",
            }
        ]  # fmt: skip
    return shown


def duration_axis_log(values: Iterable[float | None]) -> dict[str, Any]:
    """A logarithmic y axis of nanoseconds over `values`, ticks at 1, 2 and 5 of each decade or at decades alone."""
    found = [value for value in values if value is not None and value > 0 and not math.isnan(value)]
    low, high = (min(found), max(found)) if found else (1e5, 1e9)
    if high < 5 * low:
        # A steady service is a line in the middle, not an axis of one tick.
        middle = math.sqrt(low * high)
        low, high = min(low, middle / 3), max(high, middle * 3)
    first, last = math.floor(math.log10(low)), math.ceil(math.log10(high))
    steps = (1, 2, 5) if last - first <= 3 else (1,)
    ticks = [step * 10**decade for decade in range(first, last + 1) for step in steps]
    return {
        "type": "log",
        "tickvals": ticks,
        "ticktext": [duration(tick) for tick in ticks],
        "range": [math.log10(low) - 0.05, math.log10(high) + 0.05],
        "rangemode": "normal",
    }


def duration_axis(top: float) -> dict[str, Any]:
    """A linear y axis of nanoseconds from 0 to `top` with four to six round ticks."""
    top = max(top, 1.0)
    rough = top / 4
    magnitude = 10 ** math.floor(math.log10(rough))
    step = next(magnitude * factor for factor in (1, 2, 5, 10) if magnitude * factor >= rough)
    ticks = [step * index for index in range(math.ceil(top / step) + 1)]
    return {"tickvals": ticks, "ticktext": [duration(tick) for tick in ticks], "range": [0, top * 1.05]}


def line(
    name: str,
    x: Sequence[str],
    y: Sequence[float | None],
    colour: str,
    texts: Sequence[str],
    **more: Any,
) -> dict[str, Any]:
    """One line; `texts` is what hovering says of each point. Lone points between gaps stay visible as dots."""
    return {
        "type": "scatter",
        "name": name,
        "x": list(x),
        "y": list(y),
        "mode": "lines+markers" if _lonely(y) else "lines",
        "marker": {"size": 4},
        "line": {"color": colour, "width": 1.6},
        "text": list(texts),
        "hovertemplate": "%{text}",
        "connectgaps": False,
    } | more


def _lonely(y: Sequence[float | None]) -> bool:
    there = [value is not None for value in y]
    return any(
        now and not before and not after
        for before, now, after in zip([False, *there], there, [*there[1:], False], strict=False)
    )


def area(name: str, x: Sequence[str], y: Sequence[float | None], colour: str, texts: Sequence[str]) -> dict[str, Any]:
    """One layer of a stack."""
    fill = f"rgba({int(colour[1:3], 16)},{int(colour[3:5], 16)},{int(colour[5:7], 16)},0.75)"
    return line(name, x, y, colour, texts, stackgroup="parts", fillcolor=fill, mode="lines") | {
        "line": {"color": colour, "width": 0.5}
    }


def rate_axis() -> dict[str, Any]:
    """A y axis of requests per second."""
    return {"ticksuffix": " /s", "tickformat": "~s"}


def per_second(total: float, step: int) -> str:
    """What hovering says of a rate."""
    return f"{digits(total / step)} /s"
