"""How many rows the agent may send, from what it and its probes cost.

The agent's own CPU (getrusage) and its probes' time in the kernel (KernelTime) together, smoothed over some seconds,
are held against `budget.cpu_percent`. Above it the allowance of rows a second goes down, well below it up again, in
small steps, and between the two it stays: so it neither swings nor chases noise. Four classes of rows share the
allowance, the most telling first: failed, slow, unusual (over the p99 of its kind), any other.

Invariants: an allowance is never below `least_rows`, so that failures and slow requests are sent however small the
budget; a class whose share is below 1 leaves nothing to the classes behind it. The share of a class is a threshold for
a hash of exchange_id, so both ends of a request choose alike, and a lower share chooses a subset.

Sending a row costs the agent little beside reading and decoding it (docs/architecture.md): the allowance relieves the
network, the aggregator and the store most. Where the agent alone is beyond `detach_percent`, its probes are detached.
"""

from __future__ import annotations

import math
import resource
import time
from collections.abc import Callable
from dataclasses import dataclass

from node_agent.config import Budget as BudgetSettings

#: Classes of rows, in the order in which they are given up.
OTHER, UNUSUAL, SLOW, FAILED = range(4)
NAMES = ("other", "unusual", "slow", "failed")
CLASSES = len(NAMES)

_SMOOTH_SECONDS, _LONG_SECONDS, _RATE_SECONDS = 5.0, 30.0, 5.0
_CALM = 0.8
_LESS, _MORE = 0.8, 1.1
_LONGEST_DETACH_SECONDS = 3600.0


@dataclass(frozen=True)
class Shares:
    """The share of each class that is sent, 0 to 1, by class; and how many new statements' texts may be sent."""

    rows: tuple[float, float, float, float]
    statements: int

    @property
    def all(self) -> bool:
        """Whether every row is sent."""
        return min(self.rows) >= 1.0


EVERYTHING = Shares((1.0, 1.0, 1.0, 1.0), 1 << 30)


def cpu_ns() -> int:
    """User and system time of this process so far."""
    usage = resource.getrusage(resource.RUSAGE_SELF)
    return int((usage.ru_utime + usage.ru_stime) * 1e9)


class Budget:
    """Told once a second what was seen; says what may be sent."""

    def __init__(
        self, settings: BudgetSettings, cpu: Callable[[], int] = cpu_ns, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._cpu, self._clock = settings, cpu, clock
        self._at, self._cpu_before = clock(), cpu()
        self._rates = [0.0] * CLASSES
        self._detaches = 0
        self.usage_percent = self._long = 0.0
        self.allowance = math.inf
        self.shares = EVERYTHING

    def tick(self, seen: list[int], kernel_ns_per_s: float) -> None:
        """`seen`: rows of each class since the last call; `kernel_ns_per_s`: what the probes take in the kernel."""
        now, cpu = self._clock(), self._cpu()
        seconds = now - self._at
        if seconds < 0.1:
            return
        used = ((cpu - self._cpu_before) / seconds + kernel_ns_per_s) / 1e7
        self._at, self._cpu_before = now, cpu
        self.usage_percent += (used - self.usage_percent) * (1 - math.exp(-seconds / _SMOOTH_SECONDS))
        self._long += (used - self._long) * (1 - math.exp(-seconds / _LONG_SECONDS))
        for number, count in enumerate(seen):
            rate = count / seconds
            smooth = self._rates[number] + (rate - self._rates[number]) * (1 - math.exp(-seconds / _RATE_SECONDS))
            self._rates[number] = max(smooth, rate)  # a burst must not have the share of a quiet minute
        self._allow(seconds)
        self.shares = self._shared()

    def _allow(self, seconds: float) -> None:
        limit, least, all_rows = self._settings.cpu_percent, self._settings.least_rows, sum(self._rates)
        steps = min(seconds, 5.0)
        if self.usage_percent > limit:
            over = limit / self.usage_percent
            if self.allowance == math.inf:
                # At once as if rows were all that costs; what that is too little comes back in small steps.
                self.allowance = max(all_rows * over, least)
            else:
                self.allowance = max(min(self.allowance, max(all_rows, least)) * max(over, _LESS) ** steps, least)
        elif self.usage_percent < _CALM * limit and self.allowance != math.inf:
            self.allowance = max(self.allowance, least) * _MORE**steps
            if self.allowance > 2 * all_rows + least:
                self.allowance = math.inf

    def _shared(self) -> Shares:
        if self.allowance == math.inf:
            return EVERYTHING
        left = self.allowance
        shares = [0.0] * CLASSES
        for number in (FAILED, SLOW, UNUSUAL, OTHER):
            rate = self._rates[number]
            shares[number] = 1.0 if rate <= left else left / rate
            left = max(left - rate, 0.0)
            if number == UNUSUAL:
                statements = int(left)
        return Shares((shares[0], shares[1], shares[2], shares[3]), statements)

    @property
    def beyond(self) -> bool:
        """Whether the probes have to be detached: over the hard limit on average of half a minute."""
        return 0 < self._settings.detach_percent < self._long

    def detached(self) -> float:
        """The probes are; seconds until they may be attached again: longer each time, up to an hour."""
        seconds = min(self._settings.detach_seconds * 2**self._detaches, _LONGEST_DETACH_SECONDS)
        self._detaches += 1
        return float(seconds)

    def attached(self) -> None:
        """The probes are again: begin anew."""
        self._at, self._cpu_before = self._clock(), self._cpu()
        self.usage_percent = self._long = 0.0
