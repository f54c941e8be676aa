"""`redis` over whole blocks: the same answers as its scalar parsers, which the tests compare."""

from __future__ import annotations

import numpy as np

from node_agent.protocols import _redis_commands as commands
from node_agent.protocols import _redis_key, redis
from node_agent.protocols._types import I64, STATEMENT_BYTES, U8, U64, Block, Bools, Integers, RequestKeys, ResponseKeys

_UNKNOWN = -1
_WORD_BYTES = 24
_PRIME = np.uint64(0x9E3779B97F4A7C15)
_UPPER = np.arange(256, dtype=np.uint8)
_UPPER[97:123] -= 32
_OK, _SILENT = 0, 1


def _kinds(octets: bytes) -> Bools:
    return np.isin(np.arange(256), list(octets))


_STRING, _LIST, _PAIRS, _LINE = _kinds(b"$=!"), _kinds(b"*~>"), _kinds(b"%|"), _kinds(b"+-:,#_(")
_NUMBERED = _STRING | _LIST | _PAIRS


def _octets(columns: U8, rows: I64, at: I64, count: int, captured: I64) -> U8:
    """`count` bytes of each row from `at`, shape (len(rows), count); 0 behind the captured ones."""
    place = at[:, None] + np.arange(count)
    inside = (place < captured[rows][:, None]) & (place >= 0)
    taken = columns.reshape(-1)[np.where(inside, place + rows[:, None] * columns.shape[1], 0)]
    return np.where(inside, taken, 0).astype(np.uint8)


def numbers(columns: U8, rows: I64, at: I64, captured: I64) -> tuple[I64, I64]:
    """`redis.number` of each row at its place: number and the place behind the line; the place is -1 for none."""
    octets = _octets(columns, rows, at + 1, redis.DIGITS + 2, captured).astype(np.int64)
    value, size = np.zeros(len(rows), dtype=np.int64), np.zeros(len(rows), dtype=np.int64)
    more = np.ones(len(rows), dtype=bool)
    for place in range(redis.DIGITS):
        octet = octets[:, place]
        more &= (octet >= 48) & (octet <= 57)
        if not more.any():
            break
        value = np.where(more, value * 10 + octet - 48, value)
        size += more
    negative = (octets[:, 0] == 45) & (octets[:, 1] == 49)
    value, size = np.where(negative, -1, value), np.where(negative, 2, size)
    line = np.arange(len(rows))
    good = (size > 0) & (octets[line, size] == 13) & (octets[line, size + 1] == 10)
    return value, np.where(good, at + 3 + size, _UNKNOWN)


def value_ends(columns: U8, rows: I64, captured: I64) -> I64:
    """`redis.value_end` of each of `rows` at place 0; -1 for unknown."""
    ends = np.full(len(rows), _UNKNOWN, dtype=np.int64)
    index, at, left = np.arange(len(rows)), np.zeros(len(rows), np.int64), np.ones(len(rows), np.int64)
    while len(index):
        going = (at < captured[rows[index]]) & (left <= redis.MANY)
        index, at, left = index[going], at[going], left[going]
        kind = columns[rows[index], at]
        behind = np.full(len(index), _UNKNOWN, dtype=np.int64)
        told = np.flatnonzero(_NUMBERED[kind])
        if len(told):
            count, place = numbers(columns, rows[index[told]], at[told], captured)
            some, of = np.maximum(count, 0), kind[told]
            string = _STRING[of] & (count >= 0) & (place >= 0)
            behind[told] = np.where(string, place + count + 2, place)
            left[told] += np.where(_STRING[of], 0, some * np.where(_PAIRS[of], 2, 1)) - (of != 124)
        lines = np.flatnonzero(_LINE[kind])
        if len(lines):
            feeds = _octets(columns, rows[index[lines]], at[lines], redis.LINE, captured) == 10
            behind[lines] = np.where(feeds.any(axis=1), at[lines] + feeds.argmax(axis=1) + 1, _UNKNOWN)
            left[lines] -= 1
        good = behind >= 0
        index, at, left = index[good], behind[good], left[good]
        done = left == 0
        ends[index[done]] = at[done]
        index, at, left = index[~done], at[~done], left[~done]
    return ends


def _words(octets: U8) -> U64:
    """One integer of each row of 24 bytes."""
    parts = np.ascontiguousarray(octets).view("<u8").astype(np.uint64)
    return ((parts[:, 0] * _PRIME ^ parts[:, 1]) * _PRIME ^ parts[:, 2]) * _PRIME


def _word(name: str) -> int:
    octets = np.zeros((1, _WORD_BYTES), dtype=np.uint8)
    octets[0, : len(name)] = list(name.encode())
    return int(_words(octets)[0])


_KEYED = np.sort(np.array([_word(name) for name in commands.KEYED], dtype=np.uint64))
_BARE = np.sort(np.array([_word(name) for name in commands.BARE], dtype=np.uint64))


def _among(words: U64, known: U64) -> Bools:
    place = np.minimum(np.searchsorted(known, words), len(known) - 1)
    return np.equal(known[place], words)


def _clipped(captured: Integers, width: int) -> I64:
    return np.minimum(captured.astype(np.int64), width)


def request_keys(block: Block) -> RequestKeys:
    """See `_types.RequestKeys`; inline commands, containers and unknown ones are slow."""
    count = len(block)
    columns = np.ascontiguousarray(block.request)
    captured = _clipped(block.request_captured, min(columns.shape[1], STATEMENT_BYTES))
    everyone = np.arange(count)
    slow: Bools = (captured < 1) | (columns[:, 0] != 42)
    arguments, at = numbers(columns, everyone, np.zeros(count, np.int64), captured)
    size, word = numbers(columns, everyone, at, captured)
    kind = _octets(columns, everyone, at, 1, captured)[:, 0]
    slow |= (at < 0) | (word < 0) | (kind != 36) | (arguments < 1) | (size < 1) | (size > _WORD_BYTES)
    slow |= (word + size > captured) | (arguments > redis.MANY)
    octets = _octets(columns, everyone, word, _WORD_BYTES, captured)
    octets[np.arange(_WORD_BYTES) >= size[:, None]] = 0
    words = _words(_UPPER[octets])
    keyed, bare = _among(words, _KEYED), _among(words, _BARE)
    slow |= ~(keyed | bare)
    keyed &= (arguments > 1) & ~slow
    key = words ^ (arguments > 1).astype(np.uint64)
    truncated = np.zeros(count, dtype=bool)
    rows = np.flatnonzero(keyed)
    if len(rows):
        hashed, cut = _keys(columns, rows, (word + size + 2)[rows], captured, slow)
        key[rows] = (words[rows] ^ np.minimum(arguments[rows], 3).astype(np.uint64)) * _PRIME ^ hashed
        truncated[rows] = cut
    return RequestKeys(key, _single(block, columns, captured), truncated, slow)


def _keys(columns: U8, rows: I64, at: I64, captured: I64, slow: Bools) -> tuple[U64, Bools]:
    """Hash of each row's key, whose string begins at `at`, and whether the prefix cuts it; marks others slow."""
    size, start = numbers(columns, rows, at, captured)
    kind = _octets(columns, rows, at, 1, captured)[:, 0]
    slow[rows[(start < 0) | (kind != 36) | (size < 0)]] = True
    cut = start + size > captured[rows]
    lengths = np.maximum(np.minimum(size, captured[rows] - start), 0)
    lengths = np.minimum(lengths, _redis_key.KEY_BYTES)
    octets = _octets(columns, rows, start, int(lengths.max(initial=0)), captured)
    shortened = cut | (size > _redis_key.KEY_BYTES)
    begin = np.full(len(rows), _redis_key.START, dtype=np.int64)
    hashed, _ = _redis_key.MACHINE.hash_rows(np.ascontiguousarray(octets.T), lengths, begin, shortened)
    return hashed ^ shortened.astype(np.uint64), cut


def _single(block: Block, columns: U8, captured: I64) -> Bools:
    arrays = np.flatnonzero((columns[:, 0] == 42) & (captured > 0))
    ends = np.full(len(block), _UNKNOWN, dtype=np.int64)
    ends[arrays] = value_ends(columns, arrays, captured)
    return (ends < 0) | (ends >= block.request_bytes)


def response_keys(block: Block) -> ResponseKeys:
    """See `_types.ResponseKeys`."""
    columns = np.ascontiguousarray(block.response)
    captured = _clipped(block.response_captured, columns.shape[1])
    total = block.response_bytes.astype(np.int64)
    kind = np.where(captured > 0, columns[:, 0], 0)
    key = np.where(total <= 0, _SILENT, _OK).astype(np.uint64)
    slow = (kind == 33) & (total > 0)
    framed = np.zeros(len(block), dtype=bool)
    lines = np.flatnonzero(((kind == 43) | (kind == 45)) & (total > 0))
    if len(lines):
        feeds = (columns[lines] == 10) & (np.arange(columns.shape[1]) < captured[lines, None])
        feed = np.where(feeds.any(axis=1), feeds.argmax(axis=1), -1)
        end = _octets(block.tail, lines, block.tail_captured[lines].astype(np.int64) - 2, 2, block.tail_captured)
        framed[lines] = (end == (13, 10)).all(axis=1) & ((feed == -1) | (feed == total[lines] - 1))
    others = np.flatnonzero((kind != 43) & (kind != 45) & (kind != 33) & (total > 0))
    if len(others):
        ends = value_ends(columns, others, captured)
        framed[others] = (ends >= 0) & (ends == total[others])
    errors = np.flatnonzero((kind == 45) & (total > 0))
    if len(errors):
        octets = _octets(columns, errors, np.ones(len(errors), np.int64), _WORD_BYTES, captured)
        letters = np.logical_and.accumulate((octets >= 65) & (octets <= 90), axis=1)
        size = letters.sum(axis=1)
        line = np.arange(len(errors))
        stop = octets[line, np.minimum(size, _WORD_BYTES - 1)]
        proper = np.isin(stop, (32, 13, 10)) & (size >= 2) & (size <= 16)
        octets[~letters] = 0
        key[errors] = np.where(proper, _words(octets), 2)
    return ResponseKeys(key, framed, slow)
