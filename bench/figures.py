"""One line of the table of a benchmark, and how it is printed."""

from __future__ import annotations

import sys
from dataclasses import dataclass


@dataclass(frozen=True)
class Figure:
    """One line: what was measured, its value, what to hold it against."""

    name: str
    value: str
    against: str
    failed: bool = False


def say(text: str) -> None:
    """Progress, not part of the table."""
    print(f"bench: {text}", file=sys.stderr, flush=True)


def table(figures: list[Figure]) -> None:
    """Print all lines in columns."""
    widths = [max((len(getattr(figure, name)) for figure in figures), default=0) for name in ("name", "value")]
    for figure in figures:
        mark = "  FAILED" if figure.failed else ""
        print(f"{figure.name:{widths[0]}}  {figure.value:>{widths[1]}}  {figure.against}{mark}", flush=True)
