"""Opening a sealed batch: each way it can be wrong has its own refusal."""

from __future__ import annotations

import pytest
import zstandard

from aggregator.config import Limits
from aggregator.ingest import seal
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION
from tests.support.batches import Builder, seal_bytes

LIMITS = Limits(batch_bytes=100_000, content_bytes=50_000)


def refusal(action, *arguments) -> Refused:
    with pytest.raises(Refused) as caught:
        action(*arguments)
    return caught.value


def test_a_valid_batch_opens_to_what_was_sealed() -> None:
    batch = Builder("web").build()
    sealed = Builder("web").seal(1)
    seal.check(sealed, "web", LIMITS)
    assert seal.open_batch(sealed, Limits()).host.name == batch.host.name


@pytest.mark.parametrize(
    ("change", "code"),
    [
        ({"wire_version": WIRE_VERSION + 1}, pb.Refusal.WRONG_VERSION),
        ({"wire_version": 0}, pb.Refusal.WRONG_VERSION),
        ({"agent": "db"}, pb.Refusal.MALFORMED),
        ({"spool_id": b"short"}, pb.Refusal.MALFORMED),
        ({"sequence": 0}, pb.Refusal.MALFORMED),
        ({"content_bytes": 50_001}, pb.Refusal.TOO_LARGE),
        ({"checksum": 1}, pb.Refusal.BAD_CHECKSUM),
        ({"content": b"other"}, pb.Refusal.BAD_CHECKSUM),
    ],
)
def test_a_broken_seal_is_refused(change, code) -> None:
    sealed = Builder("web").seal(1)
    for name, value in change.items():
        setattr(sealed, name, value)
    assert refusal(seal.check, sealed, "web", LIMITS).code == code


def test_a_message_larger_than_the_limit_is_refused() -> None:
    assert refusal(seal.parse_message, b"x" * 100_001, LIMITS).code == pb.Refusal.TOO_LARGE


@pytest.mark.parametrize("frame", [b"", b"\xff\xff\xff", b"GET / HTTP/1.1\r\n\r\n", b"\x7a\x00"])
def test_garbage_is_refused(frame) -> None:
    assert refusal(seal.parse_message, frame, LIMITS).code == pb.Refusal.MALFORMED


def test_content_that_is_not_zstd_is_refused() -> None:
    sealed = seal_bytes(b"x", "web", 1)
    sealed.content = b"not zstd at all"
    assert refusal(seal.open_batch, sealed, Limits()).code == pb.Refusal.MALFORMED


def test_content_that_is_not_a_batch_is_refused() -> None:
    assert refusal(seal.open_batch, seal_bytes(b"\xff\xff\xff\xff", "web", 1), Limits()).code == pb.Refusal.MALFORMED


@pytest.mark.parametrize("wrong", [-1, 1, -60])
def test_content_of_another_length_than_declared_is_refused(wrong) -> None:
    sealed = Builder("web").seal(1)
    sealed.content_bytes += wrong
    assert refusal(seal.open_batch, sealed, Limits()).code == pb.Refusal.MALFORMED


def test_a_bomb_is_read_no_further_than_declared() -> None:
    """16 GiB of zeros in a frame of 1.6 MB that does not say its size; declared as 1,000 bytes."""
    compressor = zstandard.ZstdCompressor().compressobj()
    block = compressor.compress(bytes(1 << 20)) + compressor.flush(zstandard.COMPRESSOBJ_FLUSH_BLOCK)
    sealed = pb.SealedBatch(content=block * 16, content_bytes=1_000)
    assert refusal(seal.open_batch, sealed, Limits()).code == pb.Refusal.MALFORMED


def test_a_frame_that_declares_a_huge_size_allocates_nothing() -> None:
    header = b"\x28\xb5\x2f\xfd\xe0" + (1 << 60).to_bytes(8, "little") + b"\x01\x00\x00"
    sealed = pb.SealedBatch(content=header, content_bytes=100)
    assert refusal(seal.open_batch, sealed, Limits()).code == pb.Refusal.MALFORMED


def test_a_text_that_is_not_utf8_is_refused() -> None:
    plain = Builder("web").build().SerializeToString().replace(b"Debian", b"\xff\xfeebia")
    assert refusal(seal.open_batch, seal_bytes(plain, "web", 1), Limits()).code == pb.Refusal.MALFORMED
