"""Tables that mask bytes: one finite automaton, run over one request or over a whole block at once.

Invariants: an automaton reads a byte, changes its state and emits at most one byte; what it emits holds no
literal of the application. Everything shown or hashed later is a function of what was emitted and of the last
state. `run` and `hash_rows` step through the same table, so they cannot disagree, and equal hashes mean equal
emissions (64 bits, not against an adversary; a collision would mislabel a request, never unmask it).

`hash_rows` steps all rows by one byte at a time, down a transposed block: the cost is some 5 ns a byte and
7 us a column, whatever the bytes are; no input makes it slow.

Two things let an automaton change its mind, both by the hash of a moment before: a transition may `mark`, and
a later one may `rollback` to what was emitted by then (a path segment that turns out to hold a digit). States
named `pending` roll back when the bytes end in them, for rows that were cut off there.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Literal

import numpy as np

from node_agent.protocols._types import I64, U8, U64, Bools, Integers

#: Multiplier of the polynomial hash: FNV's 64-bit prime (draft-eastlake-fnv), odd.
_PRIME = np.uint64(0x100000001B3)
_MARK, _ROLLBACK = 1 << 40, 1 << 41
_STATE = 0xFFFFFF00
#: Columns between two looks whether all rows have come to an end.
_STRIDE = 16

Emit = bytes | Literal["same"] | None


class Machine:
    """An automaton over bytes; built with `on`, then frozen by the first run."""

    def __init__(self) -> None:
        self._states: dict[str, int] = {}
        self._rows: list[list[int]] = []
        self._pending: set[int] = set()
        self._absorbing: set[int] = set()
        self._table: I64 | None = None
        self._flat: list[int] = []
        self._rolls = False

    def state(self, name: str) -> int:
        """Number of a state, new or known; it absorbs and emits nothing until `on` says otherwise."""
        if name not in self._states:
            number = self._states[name] = len(self._rows)
            self._rows.append([number << 8] * 256)
        return self._states[name]

    def on(
        self,
        state: str,
        octets: Iterable[int],
        to: str,
        emit: Emit = None,
        *,
        mark: bool = False,
        rollback: bool = False,
    ) -> None:
        """In `state`, each of `octets` leads `to` and emits; a later call overrides an earlier one.

        With `rollback` the emissions since the last mark are taken back before this one; with `mark` the place
        behind this one is remembered.
        """
        row, target = self.state(state), self.state(to) << 8
        for octet in octets:
            code = octet if emit == "same" else emit[0] if emit else 0
            if emit and not code:
                raise ValueError("zero means silence; it cannot be emitted")
            self._rows[row][octet] = target | code | (_MARK if mark else 0) | (_ROLLBACK if rollback else 0)
            self._rolls |= mark or rollback

    def pending(self, *names: str) -> None:
        """States whose last part is taken back where the bytes were cut off in them."""
        self._pending |= {self.state(name) for name in names}

    def _freeze(self) -> I64:
        if self._table is None:
            self._table = np.array(self._rows, dtype=np.int64).reshape(-1)
            self._flat = self._table.tolist()
            self._absorbing = {
                number for number, row in enumerate(self._rows) if all(cell == number << 8 for cell in row)
            }
        return self._table

    def run(self, data: bytes, start: str, cut: bool = False) -> tuple[bytes, int]:
        """What `data` emits from `start`, and the last state."""
        self._freeze()
        flat, out, marked = self._flat, bytearray(), 0
        base = self._states[start] << 8
        for octet in data:
            cell = flat[base | octet]
            if cell & _ROLLBACK:
                del out[marked:]
            if cell & 0xFF:
                out.append(cell & 0xFF)
            if cell & _MARK:
                marked = len(out)
            base = cell & _STATE
        if cut and base >> 8 in self._pending:
            del out[marked:]
        return bytes(out), base >> 8

    def hash_rows(self, columns: U8, lengths: Integers, start: I64, cut: Bools | None = None) -> tuple[U64, I64]:
        """Hash of what each row emits with its last state, and that state.

        Args:
            columns: bytes, transposed: shape (W, n).
            lengths: bytes of each row that count, shape (n,), 0 to W.
            start: state each row starts in, shape (n,).
            cut: rows whose bytes were cut off, shape (n,); None for none.
        """
        table = self._freeze()
        rows = columns.shape[1]
        order = np.argsort(-lengths.astype(np.int64), kind="stable")
        live = np.searchsorted(-lengths[order].astype(np.int64), -np.arange(len(columns)), side="left")
        base = (start[order].astype(np.int64)) << 8
        hashed = np.full(rows, 0xCBF29CE484222325, dtype=np.uint64)
        marked = hashed.copy()
        sorted_already = bool((order[1:] > order[:-1]).all())
        absorbing = np.zeros(len(self._rows), dtype=bool)
        absorbing[list(self._absorbing)] = True
        cell, emitted, stepped = np.empty(rows, np.int64), np.empty(rows, np.int64), np.empty(rows, np.uint64)
        count = rows
        for number in range(len(columns)):
            count = min(count, int(live[number]))
            if count == 0:
                break
            if number % _STRIDE == 0 and absorbing[base[:count] >> 8].all():
                break
            column = columns[number] if sorted_already else columns[number][order]
            step, code, mixed, total = cell[:count], emitted[:count], stepped[:count], hashed[:count]
            np.bitwise_or(base[:count], column[:count], out=step)
            np.take(table, step.copy(), out=step, mode="clip")
            if self._rolls:
                np.copyto(total, marked[:count], where=(step & _ROLLBACK) != 0)
            np.bitwise_and(step, 0xFF, out=code)
            np.add(total, code.view(np.uint64), out=mixed)
            np.multiply(mixed, _PRIME, out=mixed)
            np.copyto(total, mixed, where=code != 0)
            if self._rolls:
                np.copyto(marked[:count], total, where=(step & _MARK) != 0)
            np.bitwise_and(step, _STATE, out=base[:count])
        state = base >> 8
        if cut is not None and self._pending:
            held = np.isin(state, list(self._pending)) & cut[order]
            hashed[held] = marked[held]
        hashed = (hashed ^ state.view(np.uint64)) * _PRIME
        back_hash, back_state = np.empty_like(hashed), np.empty_like(state)
        back_hash[order], back_state[order] = hashed, state
        return back_hash, back_state
