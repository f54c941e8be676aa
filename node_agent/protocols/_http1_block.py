"""`http1` over whole blocks: the same answers as its scalar parsers, which the tests compare."""

from __future__ import annotations

import numpy as np

from node_agent.protocols import _http_target
from node_agent.protocols import http1 as http1
from node_agent.protocols._types import I64, STATEMENT_BYTES, U8, Block, Bools, Integers, RequestKeys, ResponseKeys

_SILENT, _UNCODED, _SHORT = 1 << 32, 1 << 33, 1 << 34
_NONE = -1


class _Lines:
    """Where the lines of n messages begin: `row` and `at` of the byte behind each line feed, in order."""

    def __init__(self, columns: U8, captured: I64) -> None:
        self.columns = columns
        self.width = columns.shape[1]
        self.flat = np.ascontiguousarray(columns).reshape(-1)
        feeds = np.flatnonzero(self.flat == 10)
        self.row = feeds // self.width if self.width else feeds
        self.at = feeds - self.row * self.width + 1
        inside = self.at <= captured[self.row]
        self.row, self.at = self.row[inside], self.at[inside]

    def octets(self, row: I64, at: I64) -> U8:
        """The byte at each place; that before the row's end where the place is behind it."""
        octets: U8 = self.flat[row * self.width + np.clip(at, 0, self.width - 1)]
        return octets

    def header_ends(self) -> I64:
        """Place behind the first empty line (CR LF CR LF) of each message; -1 where it was not captured."""
        ends = np.full(len(self.columns), _NONE, dtype=np.int64)
        pair = np.flatnonzero((self.row[1:] == self.row[:-1]) & (self.at[1:] == self.at[:-1] + 2)) + 1
        row, at = self.row[pair], self.at[pair]
        sure = (self.octets(row, at - 2) == 13) & (self.octets(row, at - 4) == 13) & (at >= 4)
        row, at = row[sure], at[sure]
        ends[row[::-1]] = at[::-1]
        return ends

    def named(self, name: bytes, ends: I64) -> tuple[I64, I64]:
        """Rows and places behind CR LF `name` (lower case, with its colon), letters of either case, in the header."""
        place = np.flatnonzero(self.at + len(name) <= ends[self.row])
        for at in (len(name) - 1, *range(len(name) - 1)):
            octets = self.octets(self.row[place], self.at[place] + at)
            place = place[(octets | 0x20 if name[at : at + 1].isalpha() else octets) == name[at]]
        place = place[(self.octets(self.row[place], self.at[place] - 2) == 13) & (self.at[place] >= 2)]
        return self.row[place], self.at[place] + len(name)

    def _behind_spaces(self, row: I64, at: I64) -> I64:
        spaces = np.ones(len(row), dtype=bool)
        while spaces.any():
            octet = self.octets(row, at)
            spaces = ((octet == 32) | (octet == 9)) & (at < self.width - 1)
            at = at + spaces
        return at

    def lengths(self, ends: I64) -> tuple[I64, Bools]:
        """Content-Length of each header that ends at `ends` (-1: none), and whether it is chunked instead."""
        lengths = np.full(len(self.columns), _NONE, dtype=np.int64)
        chunked = np.zeros(len(self.columns), dtype=bool)
        row, _ = self.named(b"transfer-encoding:", ends)
        chunked[row] = True
        row, at = self.named(b"content-length:", ends)
        at = self._behind_spaces(row, at)
        number, digits = np.zeros(len(row), dtype=np.int64), np.zeros(len(row), dtype=np.int64)
        more = np.ones(len(row), dtype=bool)
        for _ in range(http1.LENGTH_DIGITS):
            octet = self.octets(row, at).astype(np.int64)
            more &= (octet >= 48) & (octet <= 57)
            if not more.any():
                break
            number = np.where(more, number * 10 + octet - 48, number)
            digits += more
            at = at + more
        at = self._behind_spaces(row, at)
        ended = (self.octets(row, at) == 13) & (self.octets(row, at + 1) == 10) & (digits > 0)
        row, number = row[ended], number[ended]
        lengths[row[::-1]] = number[::-1]
        lengths[chunked] = _NONE
        return lengths, chunked


def _clipped(captured: Integers, width: int) -> I64:
    return np.minimum(captured.astype(np.int64), width)


def request_keys(block: Block) -> RequestKeys:
    """See `_types.RequestKeys`."""
    width = min(block.request.shape[1], STATEMENT_BYTES)
    captured = _clipped(block.request_captured, width)
    width = int(captured.max(initial=0))
    columns = block.request[:, :width]
    starts = np.full(len(block), _http_target.START, dtype=np.int64)
    cut = np.ones(len(block), dtype=bool)
    key, state = _http_target.MACHINE.hash_rows(np.ascontiguousarray(columns.T), captured, starts, cut)
    ends = _Lines(columns, captured).header_ends()
    single = (ends < 0) | (ends >= block.request_bytes)
    bodies = np.flatnonzero(~single)
    if len(bodies):
        length, chunked = _Lines(columns[bodies], captured[bodies]).lengths(ends[bodies])
        single[bodies] = chunked | (ends[bodies] + np.maximum(length, 0) >= block.request_bytes[bodies])
    return RequestKeys(key, single, state != _http_target.DONE, np.zeros(len(block), dtype=bool))


def response_keys(block: Block) -> ResponseKeys:
    """See `_types.ResponseKeys`."""
    response = block.response if block.response.shape[1] >= 12 else np.pad(block.response, ((0, 0), (0, 12)))
    captured = _clipped(block.response_captured, block.response.shape[1])
    total = block.response_bytes.astype(np.int64)
    start = np.frombuffer(b"HTTP/1.", dtype=np.uint8)
    digits = response[:, 9:12].astype(np.int64) - 48
    coded = (captured >= 12) & (response[:, :7] == start).all(axis=1) & (response[:, 8] == 32)
    coded &= ((digits >= 0) & (digits <= 9)).all(axis=1)
    code = digits @ np.array([100, 10, 1])
    key = np.where(coded, code, np.where(captured >= 12, _UNCODED, _SHORT))
    key[total <= 0] = _SILENT
    lines = _Lines(response, captured)
    ends = np.where(coded & (total > 0), lines.header_ends(), _NONE)
    head = np.zeros(len(block), dtype=bool)
    if block.request.shape[1] >= 5:
        head = (block.request[:, :5] == np.frombuffer(b"HEAD ", dtype=np.uint8)).all(axis=1)
        head &= block.request_captured >= 5
    bodiless = head | (code == 204) | (code == 304) | (code // 100 == 1)
    framed = (ends >= 0) & (ends == total) & bodiless
    length, chunked = lines.lengths(np.where(bodiless, _NONE, ends))
    told = np.where(chunked, _last_chunk(block), (length >= 0) & (ends + length == total))
    framed |= (ends >= 0) & ~bodiless & told
    return ResponseKeys(key.astype(np.uint64), framed, np.zeros(len(block), dtype=bool))


def _last_chunk(block: Block) -> Bools:
    """Whether each response ends in the chunk of size 0."""
    size = len(http1.LAST_CHUNK)
    captured = block.tail_captured.astype(np.int64)
    place = np.maximum(captured - size, 0) + np.arange(len(block)) * block.tail.shape[1]
    octets = np.ascontiguousarray(block.tail).reshape(-1)[place[:, None] + np.arange(size)]
    same: Bools = (octets == np.frombuffer(http1.LAST_CHUNK, dtype=np.uint8)).all(axis=1) & (captured >= size)
    return same
