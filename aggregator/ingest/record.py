"""A block as a record of the journal (proto/journal.proto), and back.

Invariant: `read(block.id, write(block))` merges to the same columns as `block`. Content is checked again on the way
back, with this release's checks but without its limits: a limit that was lowered meanwhile must lose nothing.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError

from aggregator.config import Limits
from aggregator.ingest import content, seal
from aggregator.ingest.batch import BatchId, Block, Ends, Part, Sealed
from proto import journal_pb2 as jn
from sonde.errors import JournalError, WireError

_NO_LIMITS = Limits.model_construct(
    None, **{name: 2**62 for name, field in Limits.model_fields.items() if field.annotation is int}
)


def write(block: Block) -> bytes:
    """The record of `block`."""
    record = jn.JournalBlock(id=block.id, made_us=block.made_us)
    for part in block.parts:
        record.batches.add(
            agent=part.batch.agent,
            spool_id=part.batch.spool_id,
            sequence=part.batch.sequence,
            checksum=part.sealed.checksum,
            content=part.sealed.content,
            content_bytes=part.sealed.content_bytes,
            received_us=part.received_us,
            names=part.ends.names,
            remote_host=part.ends.remote_host.astype("<i4").tobytes(),
            remote_service=part.ends.remote_service.astype("<i4").tobytes(),
        )
    return record.SerializeToString()


def read(identity: str, record: bytes) -> Block:
    """The block of that id.

    Raises:
        JournalError: the record is of something else, or of a release that this one cannot read.
    """
    try:
        block = jn.JournalBlock.FromString(record)
        if block.id != identity or not block.batches:
            raise JournalError(f"holds block {block.id!r}")
        return Block(block.id, block.made_us, tuple(_part(batch) for batch in block.batches))
    except (DecodeError, WireError) as error:
        raise JournalError(str(error)) from None


def _part(batch: jn.JournalBatch) -> Part:
    sealed = Sealed(batch.content, batch.content_bytes, batch.checksum)
    read_again = content.read(seal.open_content(sealed.content, sealed.content_bytes), _NO_LIMITS)
    names = list(batch.names)
    links = read_again.rows("links")
    ends = Ends(names, _codes(batch.remote_host, links, names), _codes(batch.remote_service, links, names))
    return Part(BatchId(batch.agent, batch.spool_id, batch.sequence), sealed, read_again, ends, batch.received_us)


def _codes(data: bytes, links: int, names: list[str]) -> npt.NDArray[np.int32]:
    codes = np.frombuffer(data, dtype="<i4") if len(data) == 4 * links else None
    if codes is None or (links and not 0 <= int(codes.min()) <= int(codes.max()) < len(names)):
        raise JournalError("the other ends do not fit the links")
    return codes.astype(np.int32)
