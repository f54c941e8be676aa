"""The ring reader against a ring in a memory file, written as the kernel would."""

from __future__ import annotations

import mmap
import os
import struct
from collections.abc import Iterator

import numpy as np
import pytest

from node_agent.kernel.ring import Ring

PAGE = os.sysconf("SC_PAGE_SIZE")
SIZE = 4096
RECORD = np.dtype([("number", "<u8"), ("text", "S4")])  # 12 bytes: a stride of 24 with header and padding
STRIDE = 24
BUSY, DISCARD = 1 << 31, 1 << 30


class Producer:
    """The kernel's side."""

    def __init__(self) -> None:
        self.descriptor = os.memfd_create("ring")
        os.ftruncate(self.descriptor, 2 * PAGE + 2 * SIZE)
        self._map = mmap.mmap(self.descriptor, 2 * PAGE + 2 * SIZE)
        self.position = 0

    @property
    def consumed(self) -> int:
        return int(struct.unpack_from("<Q", self._map, 0)[0])

    def _poke(self, position: int, data: bytes) -> None:
        for byte, value in enumerate(data):
            place = (position + byte) % SIZE
            self._map[2 * PAGE + place] = self._map[2 * PAGE + SIZE + place] = value

    def put(self, number: int, flags: int = 0) -> int:
        """Reserve and fill a record; its position."""
        at = self.position
        assert at + STRIDE - self.consumed <= SIZE, "full"
        self._poke(at, struct.pack("<IIQ4s4x", 12 | flags, 0, number, b"abcd"))
        self.position += STRIDE
        struct.pack_into("<Q", self._map, PAGE, self.position)
        return at

    def commit(self, at: int, flags: int = 0) -> None:
        self._poke(at, struct.pack("<I", 12 | flags))

    def close(self) -> None:
        self._map.close()
        os.close(self.descriptor)


@pytest.fixture
def producer() -> Iterator[Producer]:
    made = Producer()
    yield made
    made.close()


@pytest.fixture
def ring(producer: Producer) -> Iterator[Ring]:
    made = Ring(producer.descriptor, SIZE, RECORD)
    yield made
    made.close()


def test_empty(ring: Ring) -> None:
    assert len(ring.read()) == 0
    assert ring.waiting == 0


def test_in_order_once_and_then_free(ring: Ring, producer: Producer) -> None:
    for number in range(5):
        producer.put(number)
    assert ring.waiting == 5 * STRIDE
    records = ring.read()
    assert records["number"].tolist() == [0, 1, 2, 3, 4]
    assert set(records["text"]) == {b"abcd"}
    assert producer.consumed == 5 * STRIDE
    assert len(ring.read()) == 0


def test_stops_before_a_record_that_is_still_written(ring: Ring, producer: Producer) -> None:
    producer.put(1)
    busy = producer.put(2, BUSY)
    producer.put(3)
    assert ring.read()["number"].tolist() == [1]
    assert len(ring.read()) == 0
    assert producer.consumed == STRIDE
    producer.commit(busy)
    assert ring.read()["number"].tolist() == [2, 3]


def test_leaves_out_what_was_discarded(ring: Ring, producer: Producer) -> None:
    producer.put(1, DISCARD)
    producer.put(2)
    producer.put(3, DISCARD)
    assert ring.read()["number"].tolist() == [2]
    assert producer.consumed == 3 * STRIDE


def test_many_times_around(ring: Ring, producer: Producer) -> None:
    """4,096 is no multiple of 24: records lie across the end again and again."""
    read: list[int] = []
    number = 0
    for burst in (1, 7, 100, 169, 3, 170) * 20:
        for _ in range(min(burst, SIZE // STRIDE)):
            producer.put(number)
            number += 1
        read += ring.read()["number"].tolist()
    assert read == list(range(number))
    assert producer.position > 50 * SIZE


def test_limit(ring: Ring, producer: Producer) -> None:
    for number in range(10):
        producer.put(number)
    assert [ring.read(limit=4)["number"].tolist() for _ in range(3)] == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]


def test_records_are_copies(producer: Producer) -> None:
    ring = Ring(producer.descriptor, SIZE, RECORD)
    producer.put(7)
    records = ring.read()
    for number in range(170):
        producer.put(number + 100)
    ring.close()
    assert records["number"].tolist() == [7]
