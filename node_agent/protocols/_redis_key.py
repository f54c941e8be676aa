"""Keys of Redis as an automaton: words stay, numbers and random parts become "*".

A key is read in parts between : . - _ / | { } # ~ and comma. A part of at most 20 letters stays; digits at its
end become "*" (`user17` -> `user*`); any other part (hex, base64, an address, binary) is "*" as a whole, and so
is a part that is cut off. Only the first KEY_BYTES bytes of a key are read.
"""

from __future__ import annotations

import re
import string

from node_agent.protocols._machine import Machine

KEY_BYTES = 96
LONGEST_PART = 20

_LETTERS = string.ascii_letters.encode()
_SEPARATORS = b":.-_/|{}#~,"
_ANY = bytes(range(0x100))
_UUID = re.compile(r"(?<![A-Za-z])(?:\*|[0-9a-fA-F]{1,12}\*?)(?:-(?:\*|[0-9a-fA-F]{1,12}\*?)){4}(?![A-Za-z])")
_RUN = re.compile(r"\*(?:[-_.:]?\*)+")


def _build() -> Machine:
    m = Machine()
    for length in range(LONGEST_PART + 1):
        state = f"part{length}"
        m.on(state, _ANY, "random", b"*", rollback=True)
        m.on(state, string.digits.encode(), "number", b"*")
        if length < LONGEST_PART:
            m.on(state, _LETTERS, f"part{length + 1}", "same")
        m.on(state, _SEPARATORS, "part0", "same", mark=True)
    m.on("number", _ANY, "random", b"*", rollback=True)
    m.on("number", string.digits.encode(), "number")
    m.on("random", _ANY, "random")
    for state in ("number", "random"):
        m.on(state, _SEPARATORS, "part0", "same", mark=True)
    m.pending("number", *(f"part{length}" for length in range(1, LONGEST_PART + 1)))
    return m


MACHINE = _build()
START = MACHINE.state("part0")


def pattern(key: bytes, cut: bool) -> str:
    """Pattern of a key; `cut`: only its beginning is there."""
    emitted, _ = MACHINE.run(key[:KEY_BYTES], "part0", cut or len(key) > KEY_BYTES)
    shown = _UUID.sub("*", emitted.decode("ascii", "replace"))
    shown = _RUN.sub("*", shown)
    return shown + "*" if (cut or len(key) > KEY_BYTES) and not shown.endswith("*") else shown
