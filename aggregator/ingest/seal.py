"""Open a sealed batch: from bytes of the stream to a Batch message, with every size bounded before it is allocated.

Order of the checks: message size, version, id, compressed size, checksum, then decompression into a buffer that never
grows beyond the declared (and limited) size, then the count of fields (scan.py), then the protobuf parse. Nothing here
looks at the columns.
"""

from __future__ import annotations

import hashlib

import zstandard
from google.protobuf.message import DecodeError

from aggregator.config import Limits
from aggregator.ingest import scan
from aggregator.ingest.refusal import Refused
from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION

_SPOOL_ID_BYTES = 16
#: Largest window a frame may ask for; zstd's levels up to 19 stay within 8 MiB.
_MAX_WINDOW_BYTES = 16 * 1024 * 1024


def checksum(content: bytes) -> int:
    """First 8 bytes, little-endian, of blake2b(content)."""
    return int.from_bytes(hashlib.blake2b(content).digest()[:8], "little")


def parse_message(frame: bytes, limits: Limits) -> pb.AgentMessage:
    """An AgentMessage.

    Raises:
        Refused: TOO_LARGE or MALFORMED.
    """
    if len(frame) > limits.batch_bytes:
        raise Refused(
            pb.Refusal.TOO_LARGE,
            f"message of {len(frame)} bytes; limits.batch_bytes is {limits.batch_bytes}: seal smaller batches",
        )
    try:
        message = pb.AgentMessage.FromString(frame)
    except DecodeError:
        raise Refused(pb.Refusal.MALFORMED, "not an AgentMessage; is this a Sonde agent?") from None
    if message.WhichOneof("message") is None:
        raise Refused(pb.Refusal.MALFORMED, "a message of no known kind; is the agent newer than the aggregator?")
    return message


def check_version(version: int) -> None:
    """Refuse any wire version but this one.

    Raises:
        Refused: WRONG_VERSION.
    """
    if version != WIRE_VERSION:
        raise Refused(
            pb.Refusal.WRONG_VERSION,
            f"wire version {version}; this aggregator reads {WIRE_VERSION}: run the same release on both",
        )


def check(sealed: pb.SealedBatch, agent: str, limits: Limits) -> None:
    """Check the seal: version, id, declared size, checksum.

    Raises:
        Refused: WRONG_VERSION, MALFORMED, TOO_LARGE or BAD_CHECKSUM.
    """
    check_version(sealed.wire_version)
    if sealed.agent != agent:
        raise Refused(pb.Refusal.MALFORMED, f"batch of agent {sealed.agent!r} on the stream of {agent!r}")
    if len(sealed.spool_id) != _SPOOL_ID_BYTES or sealed.sequence == 0:
        raise Refused(pb.Refusal.MALFORMED, "a batch id is 16 bytes of spool_id and a sequence from 1")
    if sealed.content_bytes > limits.content_bytes:
        raise Refused(
            pb.Refusal.TOO_LARGE,
            f"content of {sealed.content_bytes} bytes; limits.content_bytes is {limits.content_bytes}",
        )
    if checksum(sealed.content) != sealed.checksum:
        raise Refused(pb.Refusal.BAD_CHECKSUM, "checksum differs from the content; the batch was damaged on its way")


def open_batch(sealed: pb.SealedBatch, limits: Limits) -> pb.Batch:
    """The Batch inside; call `check` first.

    Raises:
        Refused: MALFORMED or TOO_LARGE.
    """
    return open_content(sealed.content, sealed.content_bytes, limits)


def open_content(compressed: bytes, size: int, limits: Limits | None = None) -> pb.Batch:
    """The Batch in `compressed`, which holds `size` bytes; its fields are not counted without `limits`.

    Raises:
        Refused: MALFORMED or TOO_LARGE.
    """
    try:
        reader = zstandard.ZstdDecompressor(max_window_size=_MAX_WINDOW_BYTES).stream_reader(compressed)
        content = reader.read(size + 1)
    except (zstandard.ZstdError, MemoryError):
        raise Refused(pb.Refusal.MALFORMED, "content is not zstd") from None
    if len(content) != size:
        more = "more" if len(content) > size else "fewer"
        raise Refused(pb.Refusal.MALFORMED, f"content holds {more} bytes than content_bytes says ({size})")
    if limits is not None:
        scan.check(content, limits)
    try:
        return pb.Batch.FromString(content)
    except DecodeError:
        raise Refused(pb.Refusal.MALFORMED, "content is not a Batch") from None
