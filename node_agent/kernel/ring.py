"""Read a BPF ring buffer of constant stride as NumPy records, thousands in one step.

Invariants: a record is handed out once, in order, and only after its producer committed it; the consumer position is
published last, after the records were copied, so the kernel never overwrites what is still being read.

Layout (Documentation/bpf/ringbuf.rst): one page with the consumer position; one with the producer position; then the
data, mapped twice over so that a record that wraps is contiguous. Each record has a header of 8 bytes: length with a
busy bit and a discard bit, and a page offset.

Order of loads: the producer position is read before the headers, the headers before the data. x86-64 keeps that
order; on weakly ordered processors (arm64) it is unproven.
"""

from __future__ import annotations

import mmap
import os
from typing import Any

import numpy as np
import numpy.typing as npt

_PAGE = os.sysconf("SC_PAGE_SIZE")
_BUSY, _DISCARD = np.uint32(1 << 31), np.uint32(1 << 30)
_HEADER = [("length", "<u4"), ("page", "<u4")]


class Ring:
    """One ring whose records all have dtype `record`."""

    def __init__(self, descriptor: int, size: int, record: np.dtype[Any]) -> None:
        """Map it; `size` is the map's max_entries, in bytes, a power of two."""
        self._size = size
        stride = (record.itemsize + 8 + 7) // 8 * 8
        padding = [("padding", "V", stride - 8 - record.itemsize)] if stride > 8 + record.itemsize else []
        self._dtype = np.dtype([*_HEADER, ("record", record), *padding])
        self._stride, self._record = stride, record
        self._consumer_map = mmap.mmap(descriptor, _PAGE, mmap.MAP_SHARED, mmap.PROT_READ | mmap.PROT_WRITE)
        self._producer_map = mmap.mmap(descriptor, _PAGE + 2 * size, mmap.MAP_SHARED, mmap.PROT_READ, offset=_PAGE)
        self._consumer = np.frombuffer(self._consumer_map, dtype="<u8", count=1)
        self._producer = np.frombuffer(self._producer_map, dtype="<u8", count=1)
        self._data = np.frombuffer(self._producer_map, dtype=np.uint8, offset=_PAGE)

    @property
    def waiting(self) -> int:
        """Bytes that were reserved and not yet read."""
        return int(self._producer[0]) - int(self._consumer[0])

    def read(self, limit: int = 65536) -> npt.NDArray[Any]:
        """Copies of the committed records, at most `limit`, shape (n,), in order."""
        position = int(self._consumer[0])
        count = min((int(self._producer[0]) - position) // self._stride, limit)
        start = position & (self._size - 1)
        block = self._data[start : start + count * self._stride].view(self._dtype)
        lengths = block["length"].copy()
        busy = np.flatnonzero(lengths & _BUSY)
        if busy.size:
            count = int(busy[0])
        # Copied as bytes: NumPy copies a structured array field by field, which takes seven times as long.
        rows = self._data[start : start + count * self._stride].reshape(count, self._stride)
        kept = rows[:, 8 : 8 + self._record.itemsize]
        discarded = lengths[:count] & _DISCARD != 0
        copied = kept[~discarded] if discarded.any() else kept.copy()
        records = copied.view(self._record).reshape(-1)
        self._consumer[0] = position + count * self._stride
        return records

    def close(self) -> None:
        """Unmap. The arrays that `read` returned stay valid: they are copies."""
        del self._consumer, self._producer, self._data
        self._consumer_map.close()
        self._producer_map.close()
