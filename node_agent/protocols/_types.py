"""The shapes that every protocol module takes and gives.

Parsers are pure: bytes in, one of these frozen dataclasses out, never an exception whatever the bytes.
No text in them holds a literal of the application; see `_machine` for why.
"""

from __future__ import annotations

import enum
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

U8 = npt.NDArray[np.uint8]
U64 = npt.NDArray[np.uint64]
I32 = npt.NDArray[np.int32]
I64 = npt.NDArray[np.int64]
Bools = npt.NDArray[np.bool_]
Integers = npt.NDArray[Any]

#: Bytes of a request that decide its statement and its id; the widest record class holds as many.
STATEMENT_BYTES = 1024


class Status(enum.IntEnum):
    """Numbers of `Status` in proto/sonde.proto."""

    UNSPECIFIED = 0
    OK = 1
    CLIENT_ERROR = 2
    SERVER_ERROR = 3
    NO_RESPONSE = 4
    ONE_WAY = 5


@dataclass(frozen=True, slots=True)
class Message:
    """One message of a turn's request side.

    `offset` is from the turn's first byte. `length` is None where the end cannot be told, because it lies
    beyond the prefix and no length was seen; then it is the last message that `split` gives.
    """

    offset: int
    length: int | None
    one_way: bool = False


@dataclass(frozen=True, slots=True)
class Request:
    """What one request asks for; `valid` False: the bytes are not this protocol's.

    `truncated`: the statement goes on behind the prefix. `counted`: the server's own counter counts it.
    """

    valid: bool
    operation: str = ""
    resource: str = ""
    statement: str = ""
    truncated: bool = False
    one_way: bool = False
    counted: bool = True


INVALID = Request(valid=False, counted=False)


@dataclass(frozen=True, slots=True)
class Response:
    """How a request ended, as far as the first and last bytes of the response tell.

    `complete`: framing proves that the response ends at `response_bytes`. `interim`: the bytes start with an
    HTTP 1xx that another response follows.
    """

    status: Status
    status_code: str = ""
    complete: bool = False
    interim: bool = False


NO_RESPONSE = Response(Status.NO_RESPONSE)


@dataclass(frozen=True, slots=True)
class Block:
    """n turns of one protocol and record class, as columns; bytes behind the captured ones are ignored.

    request uint8 (n, P), response uint8 (n, R), tail uint8 (n, 16): the last min(16, response_bytes) bytes of the
    response, left-aligned; the others any integer dtype (n,).
    """

    request: U8
    request_captured: Integers
    request_bytes: Integers
    response: U8
    response_captured: Integers
    tail: U8
    tail_captured: Integers
    response_bytes: Integers

    def __len__(self) -> int:
        return len(self.request)

    @classmethod
    def of(cls, turns: Sequence[tuple[bytes, bytes]], width: int, answer_width: int, tail_width: int = 16) -> Block:
        """The block that the kernel would write of `turns` (all bytes of request and response)."""

        def columns(parts: list[bytes], size: int) -> tuple[U8, U64]:
            octets = np.frombuffer(b"".join(part.ljust(size, b"\0") for part in parts), dtype=np.uint8)
            return octets.reshape(len(parts), size), np.array([len(part) for part in parts], dtype=np.uint64)

        request = columns([request[:width] for request, _ in turns], width)
        response = columns([response[:answer_width] for _, response in turns], answer_width)
        tail = columns([response[-tail_width:] for _, response in turns], tail_width)
        sizes = (np.array([len(turn[side]) for turn in turns], dtype=np.uint64) for side in (0, 1))
        return cls(*request, next(sizes), *response, *tail, next(sizes))

    def rows(self, index: slice | npt.NDArray[Any]) -> Block:
        """The block of some of its rows."""
        return Block(*(getattr(self, name)[index] for name in self.__slots__))

    def prefix(self, row: int) -> bytes:
        """The captured bytes of one request, at most STATEMENT_BYTES."""
        return self.request[row, : min(int(self.request_captured[row]), STATEMENT_BYTES)].tobytes()

    def head(self, row: int) -> bytes:
        """The captured first bytes of one response."""
        return self.response[row, : int(self.response_captured[row])].tobytes()

    def last(self, row: int) -> bytes:
        """The captured last bytes of one response."""
        return self.tail[row, : int(self.tail_captured[row])].tobytes()


@dataclass(frozen=True, slots=True)
class RequestKeys:
    """The vectorised reading of n requests.

    Equal `key` means equal operation, resource, statement and validity of the turn's first message; rows with
    `slow` go through the scalar parser instead. `single`: exactly one message, as far as can be told.
    """

    key: U64
    single: Bools
    truncated: Bools
    slow: Bools


@dataclass(frozen=True, slots=True)
class ResponseKeys:
    """The vectorised reading of n responses: equal `key` means equal status and status_code."""

    key: U64
    framed: Bools
    slow: Bools


def statement_id(protocol: int, statement: str) -> int:
    """Identity of a masked statement, the same on every host and by every path; 0 for no statement."""
    if not statement:
        return 0
    text = bytes([protocol]) + statement.encode("utf-8", "replace")
    return int.from_bytes(hashlib.blake2b(text, digest_size=8).digest(), "little")


def words(text: str) -> frozenset[str]:
    """The words of a text, for tables that read better as prose."""
    return frozenset(text.split())
