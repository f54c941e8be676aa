"""Figures as people read them: three significant digits, a unit, and words for what is not there.

Invariants: total functions; None and NaN give NOTHING; an estimate is marked by a leading "~".
"""

from __future__ import annotations

import math
from datetime import datetime
from typing import Any

from dashboard.window import utc

NOTHING = "–"

_DURATIONS = ((1e9, "s"), (1e6, "ms"), (1e3, "µs"), (1.0, "ns"))
_SIZES = ((2.0**40, "TiB"), (2.0**30, "GiB"), (2.0**20, "MiB"), (2.0**10, "KiB"), (1.0, "B"))
_COUNTS = ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k"), (1.0, ""))


def missing(figure: Any) -> bool:
    """Whether there is no figure: None or NaN."""
    return figure is None or (isinstance(figure, float) and math.isnan(figure))


def digits(figure: float) -> str:
    """Three significant digits without an exponent: 0.0123, 1.23, 12.3, 123, 1230."""
    if figure == 0:
        return "0"
    places = max(0, 2 - math.floor(math.log10(abs(figure))))
    text = f"{figure:.{places}f}"
    return text.rstrip("0").rstrip(".") if "." in text else text


def _scaled(figure: float, scale: tuple[tuple[float, str], ...], space: str) -> str:
    for size, unit in scale:
        # 999.95 would be written "1000": it belongs to the next unit already.
        if abs(figure) >= size * 0.9995:
            return f"{digits(figure / size)}{space if unit else ''}{unit}"
    return f"{digits(figure / scale[-1][0])}{space if scale[-1][1] else ''}{scale[-1][1]}"


def duration(nanoseconds: float | None) -> str:
    """`1.23 ms`; minutes and more as `2 min 5 s`; nothing at all as `0`."""
    if nanoseconds is None or missing(nanoseconds):
        return NOTHING
    if nanoseconds == 0:
        return "0"
    seconds = nanoseconds / 1e9
    return age(seconds) if abs(seconds) >= 99.95 else _scaled(nanoseconds, _DURATIONS, " ")


def age(seconds: float | None) -> str:
    """`now`, `12 s`, `3 min 5 s`, `2 h 7 min`, `3 d 4 h`."""
    if seconds is None or missing(seconds):
        return NOTHING
    whole = int(max(0.0, seconds))
    if whole < 1:
        return "now"
    if whole < 60:
        return f"{whole} s"
    for size, unit, small, small_unit in ((86_400, "d", 3600, "h"), (3600, "h", 60, "min"), (60, "min", 1, "s")):
        if whole >= size:
            rest = whole % size // small
            return f"{whole // size} {unit}" + (f" {rest} {small_unit}" if rest else "")
    return NOTHING


def rate(per_second: float | None, estimated: bool = False) -> str:
    """`12.3 /s`, `~12.3 /s` when estimated."""
    if per_second is None or missing(per_second):
        return NOTHING
    return f"{'~' if estimated else ''}{_scaled(per_second, _COUNTS, ' ')} /s"


def count(figure: float | None, estimated: bool = False) -> str:
    """Whole figures up to 99,999 as they are, then `1.23 M`."""
    if figure is None or missing(figure):
        return NOTHING
    mark = "~" if estimated else ""
    return f"{mark}{figure:,.0f}" if abs(figure) < 100_000 else mark + _scaled(figure, _COUNTS, " ")


def size(octets: float | None) -> str:
    """`1.23 MiB`."""
    return NOTHING if octets is None or missing(octets) else _scaled(octets, _SIZES, " ")


def percent(part: float | None, whole: float | None) -> str:
    """`1.23 %`; what is not nothing never reads as 0."""
    if part is None or not whole or missing(part) or missing(whole):
        return NOTHING
    figure = 100 * part / whole
    if figure == 0:
        return "0 %"
    return "< 0.01 %" if figure < 0.01 else f"{digits(figure)} %" if figure < 99.95 or part >= whole else "> 99.9 %"


def clock(time: datetime | float | None, micro: bool = False) -> str:
    """`2026-11-20 22:41:03 UTC`, with `micro` to the microsecond; 0 and None are nothing."""
    if not time:
        return NOTHING
    moment = time if isinstance(time, datetime) else utc(time)
    return moment.strftime("%Y-%m-%d %H:%M:%S.%f UTC" if micro else "%Y-%m-%d %H:%M:%S UTC")
