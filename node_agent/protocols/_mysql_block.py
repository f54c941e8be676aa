"""`mysql` over whole blocks: the same answers as its scalar parsers, which the tests compare."""

from __future__ import annotations

import numpy as np

from node_agent.protocols import _sql, mysql
from node_agent.protocols._types import I64, STATEMENT_BYTES, U8, U64, Block, Bools, RequestKeys, ResponseKeys

_TEXT = np.isin(np.arange(256), sorted(mysql.TEXT))
_KNOWN = np.isin(np.arange(256), sorted(mysql.COMMANDS))
_INTEGER_SIZES = np.ones(256, dtype=np.int64)
_INTEGER_SIZES[[0xFC, 0xFD, 0xFE]] = 3, 4, 9
_STARTS = np.array(_sql.START_STATES, dtype=np.int64)
_OK, _SILENT, _ONE_WAY = 0, 1, 2


def _u24(columns: U8) -> I64:
    low, middle, high = (columns[:, at].astype(np.int64) for at in range(3))
    return low | middle << 8 | high << 16


def _ok_flags(response: U8, captured: I64) -> I64:
    """Status flags of an OK packet at the response's start; -1 where they are beyond it."""
    rows, last = np.arange(len(response)), response.shape[1] - 1
    at = np.full(len(response), 5, dtype=np.int64)
    for _ in range(2):
        at += _INTEGER_SIZES[response[rows, np.minimum(at, last)]]
    flags = response[rows, np.minimum(at, last)].astype(np.int64)
    flags |= response[rows, np.minimum(at + 1, last)].astype(np.int64) << 8
    return np.where(at + 2 <= captured, flags, -1)


def _terminator(tail: U8) -> I64:
    """Status flags of the packet that a tail of 16 bytes ends in; -1 for none."""
    found = np.full(len(tail), -1, dtype=np.int64)
    for size in reversed(mysql.TERMINATORS):
        at = 12 - size
        kind = tail[:, at + 4]
        match = (tail[:, at] == size) & (tail[:, at + 1] == 0) & (tail[:, at + 2] == 0)
        match &= (kind == 0xFE) | ((kind == 0) if size > 5 else False)
        flags = tail[:, at + 7].astype(np.int64) | tail[:, at + 8].astype(np.int64) << 8
        found[match] = flags[match]
    return found


class _Answers:
    """What both halves need of the responses."""

    def __init__(self, block: Block, command: U8) -> None:
        response = block.response
        self.captured = np.minimum(block.response_captured.astype(np.int64), response.shape[1])
        self.total = block.response_bytes.astype(np.int64)
        self.seen = self.captured >= 5
        self.first = response[:, 4]
        self.exact = 4 + _u24(response) == self.total
        self.prepare = command == mysql.PREPARE
        self.head_flags = _ok_flags(response, self.captured)
        self.tail_flags = _terminator(block.tail)
        self.tail_flags[block.tail_captured < 16] = -1

    def escapes(self) -> I64:
        flags = np.where(
            self.exact,
            np.where((self.first == 0) & ~self.prepare, self.head_flags, -1),
            np.where(self.first == 0xFF, -1, self.tail_flags),
        )
        flags[~self.seen] = -1
        plain = flags & mysql.NO_BACKSLASH_ESCAPES != 0
        return np.where(flags < 0, _sql.STRICT, np.where(plain, _sql.PLAIN, _sql.ESCAPED))


def _command(block: Block, captured: I64) -> U8:
    return np.where(captured > 4, block.request[:, 4], 0).astype(np.uint8)


def _wide(columns: U8, width: int) -> U8:
    """`columns` with at least `width` of them."""
    return columns if columns.shape[1] >= width else np.pad(columns, ((0, 0), (0, width - columns.shape[1])))


def _ready(block: Block) -> Block:
    return Block(
        _wide(block.request, 6), block.request_captured, block.request_bytes, _wide(block.response, 14),
        block.response_captured, _wide(block.tail, 16), block.tail_captured, block.response_bytes,
    )  # fmt: skip


def request_keys(block: Block) -> RequestKeys:
    """See `_types.RequestKeys`."""
    width = min(block.request.shape[1], STATEMENT_BYTES)
    block = _ready(block)
    captured = np.minimum(block.request_captured.astype(np.int64), width)
    command, end = _command(block, captured), 4 + _u24(block.request)
    known: Bools = (captured >= 5) & (block.request[:, 3] == 0) & (end > 4) & _KNOWN[command]
    text = known & _TEXT[command]
    key = np.where(known, command, 256).astype(np.uint64)
    slow = np.zeros(len(block), dtype=bool)
    slow |= (block.tail_captured < 16) & (4 + _u24(block.response) != block.response_bytes) & (block.response_bytes > 0)
    rows = np.flatnonzero(text)
    if len(rows):
        lengths = np.maximum(np.minimum(captured, end)[rows] - 5, 0)
        some = block if len(rows) == len(block) else block.rows(rows)
        columns = np.ascontiguousarray(some.request[:, 5 : 5 + int(lengths.max())].T)
        mode = _Answers(some, command[rows]).escapes()
        hashed, _ = _sql.MACHINE.hash_rows(columns, lengths, _STARTS[mode])
        key[rows] = (hashed ^ command[rows]) * np.uint64(0x9E3779B97F4A7C15)
    single = (end >= block.request_bytes) | (end == 4 + mysql.FULL) | ~known
    return RequestKeys(key, single, text & (end > captured), slow)


def response_keys(block: Block) -> ResponseKeys:
    """See `_types.ResponseKeys`."""
    width = min(block.request.shape[1], STATEMENT_BYTES)
    block = _ready(block)
    command = _command(block, np.minimum(block.request_captured.astype(np.int64), width))
    answers = _Answers(block, command)
    first, exact = answers.first, answers.exact
    silent = answers.total <= 0
    error = (first == 0xFF) & answers.seen
    one_packet = exact & (first == 0)
    no_columns = (block.response[:, 9:13] == 0).all(axis=1)
    ended = (answers.tail_flags >= 0) & (answers.tail_flags & mysql.MORE_RESULTS == 0)
    ended_at_once = (answers.head_flags >= 0) & (answers.head_flags & mysql.MORE_RESULTS == 0)
    framed = np.where(one_packet, np.where(answers.prepare, no_columns, ended_at_once), ended)
    framed = np.where(error, exact, framed)
    slow = ~silent & (
        (answers.captured < 13) & (error | answers.prepare | ~answers.seen)
        | (error & (block.response[:, 5] == 0xFF) & (block.response[:, 6] == 0xFF))
        | (first == 0xFB)
        | (first == 0xFE)
        | (command == mysql.STATISTICS)
        | (~error & ~one_packet & (answers.tail_flags < 0))
    )
    key: U64 = np.where(error, _packed(block.response), _OK).astype(np.uint64)
    one_way = np.isin(command, sorted(mysql.ONE_WAY))
    key[silent] = np.where(one_way[silent], _ONE_WAY, _SILENT)
    framed[silent] = one_way[silent]
    return ResponseKeys(key, framed.astype(bool), slow)


def _packed(response: U8) -> U64:
    """Error number, marker and SQLSTATE as one integer; never a small one, as the marker is in it."""
    packed = np.ascontiguousarray(response[:, 5:13]).view("<u8").reshape(-1)
    return packed.astype(np.uint64) | np.uint64(1 << 63)
