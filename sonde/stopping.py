"""How every program ends: the first SIGTERM or SIGINT asks, the second one ends the process at once.

One Ctrl-C can arrive as several signals (the terminal's, and one from whoever started the process): what comes within
_SAME_S of the first is the same wish. Ending at once is safe for what the programs hold: spool and journal are on disk.
"""

from __future__ import annotations

import os
import signal
import time
from collections.abc import Callable
from types import FrameType

from sonde import logs

_SAME_S = 1.0
_FAILED = 1


def on_signal(ask: Callable[[], None]) -> None:
    """Call `ask` (in the main thread) on the first SIGTERM or SIGINT; on a later one, exit with 1 at once."""
    first: list[float] = []

    def handle(number: int, _frame: FrameType | None) -> None:
        now = time.monotonic()
        if not first:
            first.append(now)
            ask()
        elif now - first[0] > _SAME_S:
            logs.get(__name__).warning("ended at once by a second signal", signal=signal.Signals(number).name)
            os._exit(_FAILED)

    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, handle)
