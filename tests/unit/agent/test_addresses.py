"""Which aggregator an agent tries: evenly spread, stable, bounded waits."""

from __future__ import annotations

import random
from collections import Counter

import pytest

from node_agent.delivery.addresses import Addresses, preference

THREE = ["a:7443", "b:7443", "c:7443"]


@pytest.fixture(autouse=True)
def _seed() -> None:
    random.seed(20261121)


def test_agents_spread_evenly_and_each_keeps_its_order() -> None:
    agents = [f"host-{number}" for number in range(3000)]
    for place in range(3):
        counts = Counter(preference(agent, THREE)[place] for agent in agents)
        assert set(counts) == set(THREE)
        assert min(counts.values()) > 900
    assert all(preference(agent, THREE) == preference(agent, THREE[::-1]) for agent in agents)


def test_an_address_less_moves_only_its_agents_and_spreads_them() -> None:
    agents = [f"host-{number}" for number in range(3000)]
    moved = Counter()
    for agent in agents:
        before, after = preference(agent, THREE), preference(agent, ["a:7443", "c:7443"])
        assert after == [address for address in before if address != "b:7443"]
        if before[0] == "b:7443":
            moved[after[0]] += 1
    assert min(moved.values()) > 400, "not all to one"


def test_a_failing_address_waits_longer_each_time_up_to_the_bound() -> None:
    addresses = Addresses("web", ["a:1"], longest_wait=30)
    now, waits = 0.0, []
    assert addresses.next(now) == ("a:1", 0.0)
    for _ in range(12):
        addresses.failed("a:1", now)
        address, wait = addresses.next(now, "a:1")
        assert address == "a:1"
        waits.append(wait)
        now += wait
    bounds = [min(0.25 * 2**number, 30) for number in range(12)]
    assert all(bound / 2 <= wait <= bound for bound, wait in zip(bounds, waits, strict=True))
    addresses.served("a:1")
    addresses.failed("a:1", now)
    assert addresses.next(now)[1] <= 0.25


def test_the_best_that_need_not_wait_is_next_and_agents_do_not_come_at_once() -> None:
    addresses = Addresses("web", THREE, longest_wait=30)
    first, second, third = addresses.order
    assert addresses.next(0.0) == (first, 0.0)
    waits = []
    for _ in range(50):
        addresses.served(first)
        addresses.failed(first, 0.0)
        address, wait = addresses.next(0.0, first)
        assert address == second
        waits.append(wait)
    assert 0 <= min(waits) < 0.2
    assert 0.8 < max(waits) <= 1.0
    addresses.failed(second, 0.0)
    assert addresses.next(0.0, second)[0] == third
    addresses.failed(third, 0.0)
    address, wait = addresses.next(0.0, third)
    assert 0 < wait <= 0.25, "all wait: the one that is free first"
    assert addresses.next(1.0, third)[0] == first


def test_better_ones_that_are_free() -> None:
    addresses = Addresses("web", THREE, longest_wait=30)
    first, second, third = addresses.order
    assert addresses.better(first, 0.0) == []
    assert addresses.better(third, 0.0) == [first, second]
    addresses.failed(first, 0.0)
    assert addresses.better(third, 0.0) == [second]
    assert addresses.better(third, 1.0) == [first, second]
