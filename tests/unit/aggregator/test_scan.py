"""Small content that would become large is refused before it does; what is sound is let through."""

from __future__ import annotations

import contextlib
import tracemalloc

import pytest

from aggregator.config import Limits
from aggregator.ingest import scan, seal
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb
from tests.support.batches import Builder, seal_bytes

LIMITS = Limits()
_BYTES = LIMITS.content_bytes


def varint(value: int) -> bytes:
    out = b""
    while value > 127:
        out, value = out + bytes([value & 127 | 128]), value >> 7
    return out + bytes([value])


def field(number: int, content: bytes) -> bytes:
    return varint(number << 3 | 2) + varint(len(content)) + content


BOMBS = {
    "strings": b"\x12\x00" * (_BYTES // 2),
    "details": field(9, field(16, b"") * (_BYTES // 3 - 10)),
    "tags": field(1, field(6, b"") * (_BYTES // 2 - 10)),
    "addresses": field(1, field(4, b"") * (_BYTES // 2 - 10)),
    "hosts": field(1, b"") * (_BYTES // 2),
    "unknown": field(15, b"") * (_BYTES // 2),
    "numbers": b"\x78\x01" * (_BYTES // 2),
}


@pytest.mark.parametrize("bomb", BOMBS)
def test_a_bomb_is_refused_before_it_is_parsed(bomb: str) -> None:
    sealed = seal_bytes(BOMBS[bomb], "web", 1)
    assert len(sealed.content) < 64_000  # what an attacker has to send
    tracemalloc.start()
    try:
        with pytest.raises(Refused) as refused:
            seal.open_batch(sealed, LIMITS)
        peak = tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()
    assert refused.value.code == pb.Refusal.TOO_LARGE
    assert peak < 3 * _BYTES


def test_a_large_batch_within_the_limits_passes() -> None:
    builder = Builder("web", ["10.0.0.1"])
    link = builder.link("client", "nginx", "10.0.0.1", 40_000, "10.0.0.2", 80)
    builder.request(link)
    for number in range(100):
        builder.agent_stats("requests", {f"part/{number}": 1})
    batch = builder.build()
    batch.strings.extend(f"string {number}" for number in range(LIMITS.strings - len(batch.strings)))
    plain = batch.SerializeToString()
    assert len(plain) > scan.SMALL_BYTES
    scan.check(plain, LIMITS)
    batch.strings.append("one more")
    with pytest.raises(Refused):
        scan.check(batch.SerializeToString(), LIMITS)


@pytest.mark.parametrize(
    "data", [b"\xff" * 3_000_000, b"\x12\xff\xff\xff\xff\x7f" + bytes(2_000_000), b"\x0b" * 2_000_000, bytes(2_000_000)]
)
def test_what_is_not_well_formed_is_left_to_the_parser(data: bytes) -> None:
    with contextlib.suppress(Refused):
        scan.check(data, LIMITS)
