"""Blocks: when they are made and what is in them."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import numpy as np

from aggregator.ingest.batch import Block
from aggregator.ingest.collector import Collector
from sonde import batches

_DAY_US = 86_400_000_000


def part(name: int, rows: int = 10, size: int = 100, day: int = 20_000) -> Any:
    column = np.full(rows, day * _DAY_US, dtype=np.uint64)
    sections = {section: {"start": column[:0], "time": column[:0]} for section in batches.SECTIONS}
    sections["requests"] = {"start": column}
    content = SimpleNamespace(sections=sections, rows=lambda section: len(sections[section]["start"]))
    sealed = SimpleNamespace(content_bytes=size)
    return SimpleNamespace(name=name, content=content, sealed=sealed, received_us=day * _DAY_US)


class Clock:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def collector(rows: int = 100, size: int = 10_000, delay_s: float = 0.25) -> tuple[Collector, Clock]:
    clock = Clock()
    return Collector(rows, size, delay_s, clock), clock


def names(block: Block | None) -> list[int]:
    assert block is not None
    return [one.name for one in block.parts]  # type: ignore[attr-defined]


def test_a_full_block_goes_at_once_and_the_rest_waits() -> None:
    made, clock = collector()
    for name in range(13):
        made.put(part(name))
    assert names(made.next()) == list(range(10))
    clock.now += 0.25
    assert names(made.next()) == [10, 11, 12]


def test_bytes_and_single_large_batches() -> None:
    made, clock = collector(size=1_000)
    for name, size in enumerate([600, 600, 5_000, 10]):
        made.put(part(name, size=size))
    clock.now += 1
    assert [names(made.next()) for _ in range(4)] == [[0], [1], [2], [3]]


def test_days_far_apart_do_not_share_a_block() -> None:
    made, clock = collector()
    for name, day in enumerate([20_000, 20_030, 11_000, 20_031]):
        made.put(part(name, day=day))
    clock.now += 1
    assert [names(made.next()) for _ in range(3)] == [[0, 1], [2], [3]]


def test_a_block_comes_again_when_its_pause_is_over_and_before_new_ones() -> None:
    made, clock = collector()
    made.put(part(1))
    clock.now += 1
    block = made.next()
    assert block is not None
    made.again(block, 5)
    made.put(part(2))
    clock.now += 1
    assert names(made.next()) == [2]
    made.put(part(3))
    clock.now += 5
    assert made.next() is block
    assert names(made.next()) == [3]


def test_closing_hands_out_what_waits_but_not_what_failed() -> None:
    made, _ = collector()
    made.again(Block("x", 1, ()), 0)
    made.put(part(1))
    made.close()
    assert names(made.next()) == [1]
    assert made.next() is None


def test_whoever_waits_wakes_up() -> None:
    made = Collector(100, 10_000, 0.01)
    got: list[Block | None] = []
    threads = [threading.Thread(target=lambda: got.append(made.next())) for _ in range(3)]
    for thread in threads:
        thread.start()
    made.put(part(1))
    while not got:
        threads[0].join(0.01)
    made.close()
    for thread in threads:
        thread.join(30)
    assert sorted(block is None for block in got) == [False, True, True]
