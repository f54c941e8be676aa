"""Colours: Okabe and Ito's set (2008), apart for colour-blind eyes, lightened where a dark ground asks for it.

The same meaning has the same colour on every page; meaning is never carried by colour alone.
"""

from __future__ import annotations

TEXT = "#e8eaed"
DIM = "#9aa4b0"
GRID = "#2a333d"

PART = {
    "gap": "#5b6570",
    "network": "#cc79a7",
    "queue": "#e69f00",
    "receive": "#f0e442",
    "process": "#3d8fd1",
    "answer": "#d55e00",
    "transfer": "#009e73",
    "away": "#7a86b8",
}
LEVEL = {"p50": "#56b4e9", "p95": "#e69f00", "p99": "#cc79a7"}
RATE = "#56b4e9"
ERROR = "#ff6f3c"
CLIENT_ERROR = "#e69f00"
