"""How many fields a serialised Batch holds, before anything is allocated for them.

Two bytes on the wire (an empty text) become sixteen and more in a parsed message: 32 MiB of them, sent as a few KB of
zstd, half a GB. So a large content is walked first, field by field, without a copy, and refused at the first one too
many. What is not well formed is left to the parser, which refuses it without allocating much.

Wire format: https://protobuf.dev/programming-guides/encoding/
"""

from __future__ import annotations

from collections.abc import Iterator

from aggregator.config import Limits
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb

#: Contents up to this many bytes are parsed at once: they cannot become much.
SMALL_BYTES = 1 << 20
#: Fields of a Batch beside its strings, and of its host: sections, addresses and tags.
_MOST_OTHERS = 10_000

_VARINT, _FIXED64, _BYTES, _FIXED32 = 0, 1, 2, 5
_HOST = pb.Batch.DESCRIPTOR.fields_by_name["host"].number
_STRINGS = pb.Batch.DESCRIPTOR.fields_by_name["strings"].number
_AGENT_STATS = pb.Batch.DESCRIPTOR.fields_by_name["agent_stats"].number


def _varint(data: bytes, at: int, end: int) -> tuple[int, int]:
    """(value, position behind it); position `end` + 1 if it is cut off."""
    value = shift = 0
    while at < end and shift < 70:
        byte = data[at]
        at += 1
        value |= (byte & 0x7F) << shift
        if byte < 0x80:
            return value, at
        shift += 7
    return 0, end + 1


def _fields(data: bytes, at: int, end: int) -> Iterator[tuple[int, int, int]]:
    """(number, begin, end) of each field of a message at `at`, as far as it is well formed."""
    while at < end:
        tag, at = _varint(data, at, end)
        kind = tag & 7
        if kind == _BYTES:
            length, at = _varint(data, at, end)
            begin, at = at, at + length
        elif kind == _VARINT:
            begin = at
            _, at = _varint(data, at, end)
        elif kind in (_FIXED64, _FIXED32):
            begin, at = at, at + (8 if kind == _FIXED64 else 4)
        else:
            return
        if at > end:
            return
        yield tag >> 3, begin, at


def check(content: bytes, limits: Limits) -> None:
    """Refuse a Batch with more fields than its limits allow.

    Raises:
        Refused: TOO_LARGE.
    """
    if len(content) <= SMALL_BYTES:
        return
    strings = others = rows = 0
    for number, begin, end in _fields(content, 0, len(content)):
        if number == _STRINGS:
            strings += 1
        else:
            others += 1
        if number == _HOST:
            others += _count(content, begin, end, _MOST_OTHERS)
        elif number == _AGENT_STATS:
            rows += _count(content, begin, end, limits.rows + _MOST_OTHERS)
        if strings > limits.strings:
            raise Refused(pb.Refusal.TOO_LARGE, f"more strings than limits.strings ({limits.strings})")
        if others > _MOST_OTHERS or rows > limits.rows + _MOST_OTHERS:
            raise Refused(pb.Refusal.TOO_LARGE, "more fields than a batch of limits.rows has")


def _count(data: bytes, begin: int, end: int, enough: int) -> int:
    """Fields of the message there, counted up to one more than `enough`."""
    count = 0
    for _ in _fields(data, begin, end):
        count += 1
        if count > enough:
            break
    return count
