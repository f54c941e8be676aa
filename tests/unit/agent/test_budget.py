"""The allowance: goes down over the limit, up below it, stays between; telling rows last; it does not swing."""

from __future__ import annotations

import math

import numpy as np
import pytest

from node_agent.budget import EVERYTHING, FAILED, OTHER, SLOW, UNUSUAL, Budget
from node_agent.config import Budget as Settings
from node_agent.usual import Usual


class Machine:
    """An agent whose CPU is a fixed part and so much a row that it sends; time passes in steps of a second."""

    def __init__(self, settings: Settings, rates: list[int], fixed_percent: float, us_per_row: float) -> None:
        self.now, self.cpu = 0.0, 0
        self.budget = Budget(settings, lambda: self.cpu, lambda: self.now)
        self.rates, self.fixed_percent, self.us_per_row = rates, fixed_percent, us_per_row
        self.sent: list[float] = []
        self.usage: list[float] = []

    def run(self, seconds: int, kernel_percent: float = 0.0) -> None:
        for _ in range(seconds):
            rows = sum(rate * share for rate, share in zip(self.rates, self.budget.shares.rows, strict=True))
            percent = self.fixed_percent + rows * self.us_per_row / 1e4
            self.now += 1
            self.cpu += int(percent * 1e7)
            self.budget.tick(self.rates, kernel_percent * 1e7)
            self.sent.append(rows)
            self.usage.append(percent + kernel_percent)


def test_a_small_load_is_sent_whole() -> None:
    machine = Machine(Settings(), [1000, 10, 5, 2], 1.0, 10.0)
    machine.run(120)
    assert machine.budget.shares == EVERYTHING


def test_a_load_that_is_too_much_settles_near_the_limit_and_does_not_swing() -> None:
    machine = Machine(Settings(least_rows=100), [10_000, 100, 10, 5], 2.0, 10.0)
    machine.run(180)
    settled, usage = machine.sent[-60:], machine.usage[-60:]
    assert 3.5 < min(usage) <= max(usage) < 5.5
    assert max(settled) < 1.3 * min(settled)
    assert machine.budget.shares.rows[SLOW] == machine.budget.shares.rows[FAILED] == 1.0
    assert 0 < machine.budget.shares.rows[OTHER] < 0.5


def test_it_comes_back_when_the_load_is_gone() -> None:
    machine = Machine(Settings(), [10_000, 0, 0, 0], 2.0, 10.0)
    machine.run(60)
    assert not machine.budget.shares.all
    machine.rates = [100, 0, 0, 0]
    machine.run(120)
    assert machine.budget.shares == EVERYTHING


def test_what_sending_does_not_save_leaves_the_least_and_the_telling_first() -> None:
    """The agent is over its budget by decoding alone: only `least_rows` are left, failures first."""
    machine = Machine(Settings(cpu_percent=1.0, least_rows=500), [50_000, 600, 200, 100], 20.0, 0.1)
    machine.run(120)
    shares = machine.budget.shares
    assert machine.budget.allowance == 500
    assert shares.rows[OTHER] == 0
    assert shares.rows[UNUSUAL] == pytest.approx(200 / 600, rel=0.01)
    assert (shares.rows[SLOW], shares.rows[FAILED]) == (1, 1)
    assert shares.statements == 0
    machine.rates = [50_000, 600, 200, 1_000]
    machine.run(60)
    assert machine.budget.shares.rows[FAILED] == pytest.approx(0.5, rel=0.01)
    assert machine.budget.shares.rows[SLOW] == 0


def test_the_probes_in_the_kernel_count() -> None:
    machine = Machine(Settings(), [1000, 0, 0, 0], 1.0, 1.0)
    machine.run(30, kernel_percent=2.0)
    assert machine.budget.shares == EVERYTHING
    machine.run(30, kernel_percent=8.0)
    assert not machine.budget.shares.all


def test_beyond_the_hard_limit_for_half_a_minute() -> None:
    machine = Machine(Settings(detach_percent=50, detach_seconds=60), [1, 0, 0, 0], 80.0, 0.0)
    machine.run(5)
    assert not machine.budget.beyond  # a short peak is none
    machine.run(60)
    assert machine.budget.beyond
    assert [machine.budget.detached() for _ in range(3)] == [60, 120, 240]
    machine.budget.attached()
    assert not machine.budget.beyond
    never = Machine(Settings(detach_percent=0), [1, 0, 0, 0], 500.0, 0.0)
    never.run(120)
    assert not never.budget.beyond


def kind(number: int, rows: int) -> np.ndarray:
    return np.full(rows, number * 2 + 1, dtype=np.uint64)


def test_what_is_unusual_is_at_most_one_in_a_hundred_of_its_kind() -> None:
    rng, usual = np.random.default_rng(3), Usual()
    durations = {3: rng.lognormal(8, 1, 50_000).astype(np.uint64), 5: rng.lognormal(13, 0.3, 50_000).astype(np.uint64)}
    above = dict.fromkeys(durations, 0)
    for begin in range(0, 50_000, 1_000):
        for number, values in durations.items():
            block = values[begin : begin + 1_000]
            above[number] += int(usual.above(kind(number, len(block)), block).sum())
        usual.refresh()
    assert all(50 < count <= 600 for count in above.values()), above


def test_a_kind_that_is_hardly_seen_has_nothing_unusual() -> None:
    usual = Usual(least=1_000)
    for _ in range(9):
        assert not usual.above(kind(7, 100), np.arange(100, dtype=np.uint64) ** 3).any()
        usual.refresh()


def test_two_kinds_in_one_place_do_not_mix() -> None:
    usual = Usual(least=10)
    fast, slow = kind(1, 500), kind(1 + 4096, 500)
    for _ in range(20):
        usual.above(fast, np.full(500, 10, dtype=np.uint64))
        assert not usual.above(slow, np.full(500, 10_000, dtype=np.uint64)).any()
        usual.refresh()
    for _ in range(120):
        usual.refresh()
    assert not usual._owner.any()  # forgotten, so the other may have the place


def test_an_allowance_is_not_needed_until_it_is() -> None:
    assert Budget(Settings()).allowance == math.inf
