"""From blocks of turns to columns of indices: keys by whole arrays, parsers only for keys not seen before.

Invariants: a row's columns are those that the scalar parsers give for its bytes, whichever path it took; texts
come from the scalar parsers alone, so from masked bytes. Blocks of fewer than SMALL rows go row by row, since
a step over the columns of a block costs the same for one row as for a thousand.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import ModuleType
from typing import TypeAlias

import numpy as np

from node_agent.protocols import registry
from node_agent.protocols._strings import Cache, Strings
from node_agent.protocols._types import (
    I32,
    I64,
    U8,
    U64,
    Block,
    Bools,
    Message,
    Request,
    Response,
    Status,
    statement_id,
)

#: Rows below which a block is decoded row by row.
SMALL = 24
#: Rows that are stepped through together; their state stays in the processor's cache.
CHUNK = 4096

Texts: TypeAlias = tuple[bool, int, int, int, int, bool, bool]
Ending: TypeAlias = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Decoded:
    """n turns as columns, each of shape (n,); where `valid` is False the others are zero.

    operation, resource, statement, status_code index `Strings`. `single`: the turn is one message, so its columns
    describe all of it; else they describe its first, and `Decoder.split` gives every one. `framed`: the end of
    the response was told by framing. `counted`: the server's own counter counts it (docs/protocols.md).
    """

    valid: Bools
    single: Bools
    framed: Bools
    truncated: Bools
    one_way: Bools
    counted: Bools
    status: U8
    operation: I32
    resource: I32
    statement: I32
    status_code: I32
    statement_id: U64

    @staticmethod
    def empty(rows: int) -> Decoded:
        """Columns of zeros."""
        flags = [np.zeros(rows, dtype=bool) for _ in range(6)]
        indices = [np.zeros(rows, dtype=np.int32) for _ in range(4)]
        columns = [*flags, np.zeros(rows, np.uint8), *indices, np.zeros(rows, np.uint64)]
        return Decoded(**dict(zip(Decoded.__slots__, columns, strict=True)))


@dataclass(frozen=True, slots=True)
class Exchange:
    """One message of a turn that holds several; `seen` False: its answer's bytes were not captured."""

    offset: int
    length: int | None
    seen: bool
    valid: bool
    framed: bool
    truncated: bool
    one_way: bool
    counted: bool
    status: int
    operation: int
    resource: int
    statement: int
    status_code: int
    statement_id: int


class Decoder:
    """Decodes blocks; keeps the texts and what is known of keys. Not for several threads at once."""

    def __init__(self, strings: Strings | None = None, cache_limit: int = 20_000) -> None:
        self.strings = strings or Strings()
        #: Requests and responses that went through the scalar parsers.
        self.parsed = 0
        self._requests: Cache[tuple[int, int], Texts] = Cache(cache_limit)
        self._parsed_requests: Cache[tuple[int, Request], Texts] = Cache(cache_limit)
        self._responses: Cache[tuple[int, int], Ending] = Cache(cache_limit)

    @property
    def evicted(self) -> int:
        """Items that had to leave the caches."""
        return self._requests.evicted + self._parsed_requests.evicted + self._responses.evicted

    def decode(self, protocol: int, block: Block) -> Decoded:
        """Columns of `block`, whose turns the kernel took for `protocol` (a number of proto's Protocol)."""
        out = Decoded.empty(len(block))
        if len(block) < SMALL:
            self._row_by_row(registry.PROTOCOLS[protocol], block, range(len(block)), out)
            return out
        for begin in range(0, len(block), CHUNK):
            rows = slice(begin, begin + CHUNK)
            part = Decoded(*(getattr(out, name)[rows] for name in Decoded.__slots__))
            self._by_keys(protocol, block.rows(rows), part)
        return out

    def decode_scalar(self, protocol: int, block: Block) -> Decoded:
        """As `decode`, row by row: what the vectorised path is tested against."""
        out = Decoded.empty(len(block))
        self._row_by_row(registry.PROTOCOLS[protocol], block, range(len(block)), out)
        return out

    def split(
        self, protocol: int, prefix: bytes, request_bytes: int, head: bytes, tail: bytes, response_bytes: int
    ) -> list[Exchange]:
        """Every message of one turn, in order, each with its own answer as far as `head` shows where it ends.

        The last is what is left behind the messages whose length shows; with `valid` False nothing of it was
        captured. An answer that is not `seen` has status OK and no code.
        """
        module = registry.PROTOCOLS[protocol]
        messages: list[Message] = module.split(prefix, request_bytes)
        context = module.context(prefix, head, tail, response_bytes)
        answering = sum(not message.one_way for message in messages)
        out: list[Exchange] = []
        at: int | None = 0
        for message in messages:
            end = None if message.length is None else message.offset + message.length
            request = module.parse_request(prefix[message.offset : end], context)
            if message.one_way:
                out.append(self._exchange(protocol, message, request, Response(Status.ONE_WAY, complete=True), True))
                continue
            answering -= 1
            seen, response = at is not None, Response(Status.OK)
            if at is not None and not answering:
                response = module.parse_response(head[at:], tail, response_bytes - at, request)
            elif at is not None:
                behind = module.response_end(head, at, request)
                seen = behind is not None and behind <= response_bytes
                if seen:
                    answer = head[at:behind]
                    response = module.parse_response(answer, answer[-16:], behind - at, request)
                at = behind if seen else None
            out.append(self._exchange(protocol, message, request, response, seen))
        return out

    def _exchange(self, protocol: int, message: Message, request: Request, response: Response, seen: bool) -> Exchange:
        valid, operation, resource, statement, identity, one_way, counted = self._texts(protocol, request)
        status, code = self._ending(response)
        return Exchange(
            message.offset, message.length, seen, valid, response.complete, request.truncated, one_way, counted,
            status, operation, resource, statement, code, identity,
        )  # fmt: skip

    def _texts(self, protocol: int, request: Request) -> Texts:
        known = self._parsed_requests.get((protocol, request))
        if known is None:
            add = self.strings.add
            known = (
                request.valid, add(request.operation), add(request.resource), add(request.statement),
                statement_id(protocol, request.statement), request.one_way, request.counted,
            )  # fmt: skip
            self._parsed_requests.put((protocol, request), known)
        return known

    def _ending(self, response: Response) -> Ending:
        return int(response.status), self.strings.add(response.status_code)

    def _parse(self, module: ModuleType, block: Block, row: int) -> tuple[Request, Response]:
        self.parsed += 1
        prefix, head, tail, total = block.prefix(row), block.head(row), block.last(row), int(block.response_bytes[row])
        request: Request = module.parse_request(prefix, module.context(prefix, head, tail, total))
        response: Response = module.parse_response(head, tail, total, request)
        return request, response

    def _row_by_row(self, module: ModuleType, block: Block, rows: range | list[int], out: Decoded) -> None:
        for row in rows:
            request, response = self._parse(module, block, row)
            texts, ending = self._texts(module.NUMBER, request), self._ending(response)
            if not request.valid:
                for name in Decoded.__slots__:
                    getattr(out, name)[row] = 0
                continue
            out.valid[row], out.operation[row], out.resource[row], out.statement[row] = texts[:4]
            out.statement_id[row], out.one_way[row], out.counted[row] = texts[4:]
            out.status[row], out.status_code[row] = ending
            out.framed[row], out.truncated[row] = response.complete, request.truncated
            out.single[row] = len(module.split(block.prefix(row), int(block.request_bytes[row]))) <= 1

    def _by_keys(self, protocol: int, block: Block, out: Decoded) -> None:
        module, whole = registry.PROTOCOLS[protocol], registry.BLOCKS[protocol]
        asked, answered = whole.request_keys(block), whole.response_keys(block)
        slow = asked.slow | answered.slow
        fast = np.flatnonzero(~slow)
        self._fill_requests(module, block, fast, asked.key[fast], out)
        self._fill_responses(module, block, fast, answered.key[fast], out)
        for name, column in (("single", asked.single), ("truncated", asked.truncated), ("framed", answered.framed)):
            getattr(out, name)[fast] = column[fast] & out.valid[fast]
        for name in ("status", "status_code", "counted", "one_way"):
            getattr(out, name)[~out.valid] = 0
        self._row_by_row(module, block, np.flatnonzero(slow).tolist(), out)

    def _fill_requests(self, module: ModuleType, block: Block, rows: I64, keys: U64, out: Decoded) -> None:
        distinct, first, back = np.unique(keys, return_index=True, return_inverse=True)
        known: list[Texts] = []
        for key, place in zip(distinct.tolist(), first.tolist(), strict=True):
            texts = self._requests.get((module.NUMBER, key))
            if texts is None:
                request, _ = self._parse(module, block, int(rows[place]))
                texts = self._texts(module.NUMBER, request)
                self._requests.put((module.NUMBER, key), texts)
            known.append(texts)
        columns = ("valid", "operation", "resource", "statement", "statement_id", "one_way", "counted")
        for name, column in zip(columns, zip(*known, strict=True), strict=False):
            target = getattr(out, name)
            target[rows] = np.array(column, dtype=target.dtype)[back]

    def _fill_responses(self, module: ModuleType, block: Block, rows: I64, keys: U64, out: Decoded) -> None:
        distinct, first, back = np.unique(keys, return_index=True, return_inverse=True)
        known: list[Ending] = []
        for key, place in zip(distinct.tolist(), first.tolist(), strict=True):
            ending = self._responses.get((module.NUMBER, key))
            if ending is None:
                _, response = self._parse(module, block, int(rows[place]))
                ending = self._ending(response)
                self._responses.put((module.NUMBER, key), ending)
            known.append(ending)
        if known:
            status, code = zip(*known, strict=True)
            out.status[rows] = np.array(status, dtype=np.uint8)[back]
            out.status_code[rows] = np.array(code, dtype=np.int32)[back]
