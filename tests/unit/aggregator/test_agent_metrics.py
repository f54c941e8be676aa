"""Lag and clock offset of agents, with clocks that differ, and a bound on their number."""

from __future__ import annotations

import pytest

from aggregator.agent_metrics import AgentMetrics
from aggregator.analysis.peers import OTHER


class Clock:
    def __init__(self) -> None:
        self.now = 1_000_000.0

    def __call__(self) -> float:
        return self.now


def value(metrics: AgentMetrics, name: str, **labels: str) -> float:
    found = [
        one.value
        for family in metrics.collect()
        for one in family.samples
        if one.name == name and all(one.labels[key] == text for key, text in labels.items())
    ]
    assert len(found) == 1, found
    return float(found[0])


@pytest.mark.parametrize("ahead_s", [0.0, 300.0, -300.0])
def test_the_offset_is_that_of_the_quickest_batch(ahead_s: float) -> None:
    clock = Clock()
    metrics = AgentMetrics(10, clock)
    for way_s in (0.4, 0.02, 2.0):
        clock.now += 1
        metrics.inserted("web", clock.now - way_s + ahead_s, clock.now)
    offset = value(metrics, "sonde_agent_clock_offset_seconds", agent="web")
    assert offset == pytest.approx(0.02 - ahead_s, abs=1e-6)
    lag = value(metrics, "sonde_agent_lag_seconds", agent="web")
    # An agent that is behind looks late by just that; what is ahead is taken out.
    assert lag == pytest.approx(1.98 if ahead_s > 0 else 2.0 - ahead_s, abs=1e-6)
    assert value(metrics, "sonde_agent_last_batch_timestamp_seconds", agent="web") == clock.now


def test_an_offset_is_forgotten_after_its_window() -> None:
    clock = Clock()
    metrics = AgentMetrics(10, clock)
    metrics.inserted("web", clock.now - 0.01, clock.now)
    for _ in range(5):
        clock.now += 60
        metrics.inserted("web", clock.now - 7, clock.now)
    assert value(metrics, "sonde_agent_clock_offset_seconds", agent="web") == pytest.approx(7, abs=1e-6)


def test_further_agents_are_other_until_one_was_silent_for_a_day() -> None:
    clock = Clock()
    metrics = AgentMetrics(2, clock)
    for name in ("a", "b", "c", "d"):
        metrics.inserted(name, clock.now, clock.now)
        metrics.said(name, {"lost_in_kernel": 5, "events": 7})
    assert value(metrics, "sonde_agent_lost_events_total", agent="a", where="kernel") == 5
    assert value(metrics, "sonde_agent_lost_events_total", agent=OTHER, where="kernel") == 10
    assert value(metrics, "sonde_agent_events_total", agent=OTHER) == 14
    with pytest.raises(AssertionError):
        value(metrics, "sonde_agent_lag_seconds", agent=OTHER)
    clock.now += 80_000
    metrics.inserted("a", clock.now, clock.now)
    clock.now += 10_000
    metrics.inserted("c", clock.now, clock.now)  # b was silent for more than a day
    assert value(metrics, "sonde_agent_last_batch_timestamp_seconds", agent="c") == clock.now
    assert value(metrics, "sonde_agent_events_total", agent=OTHER) == 14  # counters only grow
