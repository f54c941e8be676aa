"""The spool's own time: how old a batch is must not depend on somebody setting the clock.

Invariants: it is Unix time at the first start, then goes on with the kernel's clock since boot (which counts suspend),
whatever the system's clock is set to; over restarts on the same boot too, since the mark holds both. After a reboot the
system's clock says how long the machine was off; if it was set back, time goes on from where it was. A clock that was
set forward over a reboot cannot be told from a machine that was off.
"""

from __future__ import annotations

import time
from collections.abc import Callable


def since_boot() -> float:
    """Seconds since boot, suspend included."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class AgeClock:
    """Seconds; see above."""

    def __init__(self, clock: Callable[[], float], steady: Callable[[], float]) -> None:
        """`clock` gives Unix time, asked once; `steady` seconds since boot."""
        self.steady = steady
        self._base = clock() - steady()

    def now(self) -> float:
        """Seconds."""
        return self._base + self.steady()

    def resume(self, moment: float, steady: float | None) -> None:
        """Go on from an earlier process, in which it was `moment` when `steady` said so; None: before the last boot."""
        if steady is None:
            self._base = max(self._base, moment - self.steady())
        elif steady <= self.steady():
            self._base = moment - steady
