"""One batch on its way into the store: what it is called, what it holds, who is at the other ends of its links."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from aggregator.ingest.content import Content


@dataclass(frozen=True)
class BatchId:
    """(agent, spool, sequence)."""

    agent: str
    spool_id: bytes
    sequence: int

    def __str__(self) -> str:
        return f"{self.agent}/{self.spool_id.hex()}/{self.sequence}"


@dataclass(frozen=True)
class Sealed:
    """The bytes of a batch as its agent sealed them, and their checksum."""

    content: bytes
    content_bytes: int
    checksum: int


def held_bytes(sealed: Sealed, content: Content) -> int:
    """Memory that a batch takes while it is in work: columns and sealed bytes, and at most its size for all else."""
    columns = sum(column.nbytes for section in content.sections.values() for column in section.values())
    return columns + len(sealed.content) + sealed.content_bytes


@dataclass(frozen=True)
class Ends:
    """The other end of every link: codes (links,) into `names`."""

    names: list[str]
    remote_host: npt.NDArray[np.int32]
    remote_service: npt.NDArray[np.int32]


@dataclass(frozen=True)
class Part:
    """One batch of a block."""

    batch: BatchId
    sealed: Sealed
    content: Content
    ends: Ends
    received_us: int


@dataclass(frozen=True)
class Block:
    """Batches that are inserted as one, under the token `id`; made at `made_us` (Unix us)."""

    id: str
    made_us: int
    parts: tuple[Part, ...]
