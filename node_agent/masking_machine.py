"""Masked bytes that an automaton of the protocols reads exactly as it read the original ones.

Invariants: the masked bytes have the length of the original, make the automaton emit the same and end in the same
state, and hold of the original only what was emitted and shown; every other byte is one that stands for all bytes
which do the same in that state ("x" where it can be).
"""

from __future__ import annotations

from collections.abc import Iterable

from node_agent.protocols._machine import Machine

#: Fillers by preference; then any other byte.
_PREFERRED = b"x0a .*'"
_CODE, _MARK, _ROLLBACK = 0xFF, 1 << 40, 1 << 41
_STATE = 0xFFFFFF00


class Filler:
    """Masks what `machine` does not show."""

    def __init__(self, machine: Machine) -> None:
        self._machine = machine
        machine.run(b"", next(iter(machine._states)))
        self._order = [*_PREFERRED, *(octet for octet in range(0x21, 0x7F)), *range(0x100)]
        self._same: dict[tuple[int, int], int] = {}
        self._alike: dict[tuple[int, int], int] = {}

    def _first(self, base: int, octets: Iterable[int], cell: int, ignored: int) -> int:
        flat = self._machine._flat
        return next(octet for octet in octets if flat[base | octet] & ~ignored == cell & ~ignored)

    def _filler(self, base: int, cell: int, taken_back: bool) -> int:
        """A byte that does in state `base` what a byte with `cell` does; what it emits is `taken_back` or the same."""
        known = self._alike if taken_back else self._same
        filler = known.get((base, cell))
        if filler is None:
            filler = known[base, cell] = self._first(base, self._order, cell, _CODE if taken_back else 0)
        return filler

    def mask(self, data: bytes, start: str, cut: bool = False, until: int | None = None) -> tuple[bytearray, list[int]]:
        """Masked bytes, and the place in them of each byte that is emitted in the end.

        Args:
            data: bytes of the application.
            start: name of the state to start in.
            cut: as for Machine.run.
            until: number of a state behind which nothing is read; what is returned ends with it.
        """
        machine = self._machine
        flat, masked, shown, marked = machine._flat, bytearray(data), list[int](), 0
        fillers: list[tuple[int, int]] = []
        base = machine._states[start] << 8
        length = len(data)
        for place, octet in enumerate(data):
            cell = flat[base | octet]
            fillers.append((base, cell))
            if cell & _ROLLBACK:
                del shown[marked:]
            if cell & _CODE:
                shown.append(place)
            if cell & _MARK:
                marked = len(shown)
            base = cell & _STATE
            if until is not None and base >> 8 == until:
                length = place + 1
                break
        if cut and base >> 8 in machine._pending:
            del shown[marked:]
        kept = set(shown)
        for place in range(length):
            base, cell = fillers[place]
            masked[place] = self._filler(base, cell, bool(cell & _CODE) and place not in kept)
        del masked[length:]
        return masked, shown
