"""Puts the budget into force: shares for the chooser, and the probes out of the kernel where nothing else helps.

Beyond `budget.detach_percent` the probes are detached, said once in the log and in agent_stats (`detached`) as long as
it lasts. What happens meanwhile is not seen, and not counted. They are attached again after `budget.detach_seconds`,
which doubles each time, up to an hour. A recording is played whatever it costs.
"""

from __future__ import annotations

import logging
import time
from typing import Any

from node_agent.budget import Budget
from node_agent.choose import Chooser
from node_agent.config import Budget as BudgetSettings
from node_agent.stats import KernelTime
from sonde.errors import KernelError

_log = logging.getLogger("sonde.agent")


class Brake:
    """Called once a second."""

    def __init__(self, settings: BudgetSettings, source: Any, chooser: Chooser, kernel_time: KernelTime) -> None:
        self._settings, self._source, self._chooser, self._kernel_time = settings, source, chooser, kernel_time
        self.budget = Budget(settings)
        self._attach_at: float | None = None
        self._detachments = 0

    def tick(self) -> None:
        """Measure, set the shares, detach or attach."""
        self._chooser.usual.refresh()
        if self._source.replay:
            return
        if self._attach_at is not None:
            self._attach()
            return
        kernel_ns = sum(ns for ns, _ in self._kernel_time.share.values())
        self.budget.tick(self._chooser.seen(), kernel_ns)
        self._chooser.shares = self.budget.shares
        if self.budget.beyond:
            self._detach()

    def _detach(self) -> None:
        wait_seconds = self.budget.detached()
        _log.error(
            "agent and probes took more than %g %% of one core: probes detached for %g s (budget.detach_percent)",
            self._settings.detach_percent,
            wait_seconds,
        )
        self._kernel_time.close()
        self._kernel_time.share.clear()
        self._source.detach()
        self._detachments += 1
        self._attach_at = time.monotonic() + wait_seconds

    def _attach(self) -> None:
        assert self._attach_at is not None
        if time.monotonic() < self._attach_at:
            return
        try:
            self._source.open()
        except KernelError as error:
            wait_seconds = self.budget.detached()
            _log.error("%s; tried again in %g s", error, wait_seconds)
            self._attach_at = time.monotonic() + wait_seconds
            return
        self._attach_at = None
        self._chooser.seen()
        self.budget.attached()
        _log.info("probes attached again")

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name."""
        return {"detachments": self._detachments}

    def gauges(self) -> dict[str, int]:
        """What is the case now: CPU of agent and probes, millionths of one core."""
        now = {"cpu_ppm": round(self.budget.usage_percent * 1e4)}
        return now | ({"detached": 1} if self._attach_at is not None else {})
