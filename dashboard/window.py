"""From a range to what a query needs: bounds, step and the roll-up that holds it.

Invariants: bounds are multiples of the step, so that no bucket is cut and tabs that ask within one step ask
the same; a range never has more than MAX_STEPS steps; a step is a multiple of its roll-up's resolution.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime, timedelta, timezone

from dashboard.state import RANGES, State

#: Columns of pixels that a chart can show apart.
MAX_STEPS = 400
#: resolution in seconds -> table suffix, finest first.
ROLL_UPS = {10: "10s", 60: "1m", 3600: "1h"}
#: Steps that people read easily, in seconds.
STEPS = (10, 30, 60, 300, 900, 3600, 10_800, 21_600, 86_400)


@dataclass(frozen=True)
class Window:
    """[start, end) in Unix seconds, cut into steps."""

    start: int
    end: int
    step: int
    #: Whether the end follows the clock.
    live: bool

    @property
    def rollup(self) -> str:
        """Suffix of the coarsest roll-up that a step is made of: "10s", "1m" or "1h"."""
        return ROLL_UPS[max(resolution for resolution in ROLL_UPS if self.step % resolution == 0)]

    @property
    def seconds(self) -> int:
        """Length."""
        return self.end - self.start

    @property
    def steps(self) -> list[int]:
        """Start of each step, Unix seconds."""
        return list(range(self.start, self.end, self.step))

    def parameters(self) -> dict[str, str | int]:
        """What the queries bind: `stats` (a table), `from_s`, `to_s`, `step_s`."""
        return {
            "stats": f"request_stats_{self.rollup}",
            "from_s": self.start,
            "to_s": self.end,
            "step_s": self.step,
        }


def step_of(seconds: int) -> int:
    """The finest readable step that needs at most MAX_STEPS for a range of `seconds`."""
    for step in STEPS:
        if seconds <= step * MAX_STEPS:
            return step
    day = STEPS[-1]
    return day * (seconds // (day * MAX_STEPS) + 1)


def window(state: State, now: datetime) -> Window:
    """The window of a state at `now`; relative ranges end with the last step that is over."""
    if state.custom and state.start and state.end:
        start, end = int(state.start.timestamp()), int(state.end.timestamp())
        step = step_of(end - start)
        return Window(start // step * step, -(-end // step) * step, step, live=False)
    seconds = RANGES.get(state.range, RANGES[State.range])
    step = step_of(seconds)
    end = int(now.timestamp()) // step * step
    # With long steps the newest data would be missing for minutes: the running step is drawn too.
    if step > 10:
        end += step
    return Window(end - -(-seconds // step) * step, end, step, live=True)


def utc(seconds: float) -> datetime:
    """Unix seconds as an aware time."""
    return datetime(1970, 1, 1, tzinfo=timezone.utc) + timedelta(seconds=seconds)
