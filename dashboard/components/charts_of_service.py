"""The five figures of a service page, from the rows of series, heatmap and network_series."""

from __future__ import annotations

import math
from typing import Any

from dashboard.components import palette
from dashboard.components.chart import (
    Figure,
    area,
    duration_axis,
    duration_axis_log,
    empty,
    figure,
    line,
    per_second,
    rate_axis,
    time_text,
)
from dashboard.components.format import count, duration, percent
from dashboard.source import Row
from dashboard.window import Window
from sonde.sketch import GAMMA

#: Buckets of the sketch in one band of queries/heatmap.sql, and the band of 0 ns.
BAND = 8
ZERO_BAND = -4096

PARTS = ("queue", "receive", "process", "transfer")
NAMES = {
    "server": {"queue": "queue", "receive": "receive", "process": "process", "transfer": "transfer"},
    "client": {
        "queue": "answer waited",
        "receive": "sending",
        "process": "away (network and server)",
        "transfer": "transfer",
    },
}

#: Cividis (Nuñez, Anderton, Renslow 2018) without its darkest part: one slow request must be seen on a dark ground.
_SHADES = [[0, "#2f5b93"], [0.25, "#666970"], [0.6, "#a69d75"], [1, "#fee838"]]

Points = list[tuple[int, Row | None]]


def points(window: Window, rows: list[Row]) -> Points:
    """Every step of the range with its row, or None."""
    known = {int(row["step"]): row for row in rows}
    return [(step, known.get(step)) for step in window.steps]


def _x(found: Points) -> list[str]:
    return [time_text(step) for step, _ in found]


def _figure(row: Row | None, column: str) -> float | None:
    if row is None or row[column] is None or math.isnan(row[column]):
        return None
    return float(row[column])


def rate(window: Window, found: Points, observed_from: float, revision: str) -> Figure:
    """Requests per second, a gap before `observed_from` (Unix seconds); an estimate says so where one hovers."""
    totals = [row["total"] if row else 0 for _, row in found]
    texts = [
        f"{'~' if row and row['is_estimated'] else ''}{per_second(total, window.step)}  ({count(total)} requests)"
        for total, (_, row) in zip(totals, found, strict=True)
    ]
    y = [
        total / window.step if step + window.step > observed_from else None
        for total, (step, _) in zip(totals, found, strict=True)
    ]
    more = {"fill": "tozeroy", "fillcolor": "rgba(86,180,233,0.15)"}
    trace = line("", _x(found), y, palette.RATE, texts, **more)
    return figure(window, [trace], rate_axis(), revision)


def errors(window: Window, found: Points, revision: str) -> Figure:
    """Errors and client errors as shares of the requests of each step."""
    traces = []
    for name, column, colour in (
        ("errors", "errors", palette.ERROR),
        ("client errors (4xx)", "client_errors", palette.CLIENT_ERROR),
    ):
        shares = [100 * row[column] / row["total"] if row and row["total"] else None for _, row in found]
        texts = [f"{percent(row[column], row['total'])} ({count(row[column])})" if row else "" for _, row in found]
        traces.append(line(name, _x(found), shares, colour, texts))
    top = max((share for trace in traces for share in trace["y"] if share is not None), default=0)
    return figure(window, traces, {"ticksuffix": " %", "range": [0, max(1.0, min(105.0, top * 1.2))]}, revision)


def percentiles(window: Window, found: Points, revision: str) -> Figure:
    """p50, p95 and p99 of each step on a logarithmic axis."""
    traces, values = [], []
    for name, colour in palette.LEVEL.items():
        y = [_figure(row, f"{name}_ns") for _, row in found]
        values += y
        traces.append(line(name, _x(found), y, colour, [duration(value) for value in y]))
    return figure(window, traces, duration_axis_log(values), revision)


def heatmap(window: Window, rows: list[Row], revision: str) -> Figure:
    """Requests by time and duration; bands are 17 % wide; the colour follows the square root of the count."""
    known = [row for row in rows if row["band"] != ZERO_BAND]
    if not known:
        return empty("no durations in this range")
    low, high = min(row["band"] for row in known), max(row["band"] for row in known)
    steps = {step: column for column, step in enumerate(window.steps)}
    counts: list[list[int | None]] = [[None] * len(steps) for _ in range(high - low + 1)]
    for row in known:
        if row["step"] in steps:
            counts[row["band"] - low][steps[row["step"]]] = row["total"]
    edges = [GAMMA ** (BAND * band) for band in range(low - 1, high + 1)]
    shade = [[None if cell is None else math.sqrt(cell) for cell in line_] for line_ in counts]
    texts = [
        [
            "" if cell is None else f"{count(cell)} requests of {duration(edges[band])} to {duration(edges[band + 1])}"
            for cell in line_
        ]
        for band, line_ in enumerate(counts)
    ]
    trace = {
        "type": "heatmap",
        "x": [time_text(step) for step in [*window.steps, window.end]],
        "y": edges,
        "z": shade,
        "text": texts,
        "hovertemplate": "%{text}<extra></extra>",
        "colorscale": _SHADES,
        "zmin": 0,
        "showscale": False,
        "hoverongaps": False,
    }
    shown = figure(window, [trace], duration_axis_log(edges), revision)
    shown["layout"]["hovermode"] = "closest"
    return shown


def parts(window: Window, found: Points, network: list[Row], role: str, revision: str) -> Figure:
    """The mean request of each step, split; a server's also by the network time of its callers where both were seen."""
    traces: list[dict[str, Any]] = []
    tops = [0.0] * len(found)
    names = NAMES[role]
    network_of = {int(row["step"]): row["mean_network_ns"] for row in network}
    for part in PARTS:
        y = [row[f"{part}_ns"] / row["total"] if row and row["total"] else None for _, row in found]
        tops = [top + (value or 0) for top, value in zip(tops, y, strict=True)]
        colour = palette.PART["away" if (role, part) == ("client", "process") else part]
        if (role, part) == ("client", "queue"):
            colour = palette.PART["answer"]
        traces.append(area(names[part], _x(found), y, colour, [duration(value) for value in y]))
    y = [network_of.get(step) for step, _ in found]
    if any(value is not None for value in y):
        texts = [duration(value) for value in y]
        known = sum(value is not None for value in y)
        # Stacked only where most steps know it: a gap would read as no network time at all.
        if role == "server" and 2 * known >= sum(row is not None for _, row in found):
            traces.append(area("network (requests seen at both ends)", _x(found), y, palette.PART["network"], texts))
            tops = [top + (value or 0) for top, value in zip(tops, y, strict=True)]
        else:
            name = f"{'' if role == 'server' else 'of it '}network (requests seen at both ends)"
            traces.append(line(name, _x(found), y, palette.PART["network"], texts, mode="lines+markers"))
    return figure(window, traces, duration_axis(max(tops, default=0)), revision)
