"""The request line as an automaton: method, route template, names of query parameters; no values.

https://www.rfc-editor.org/rfc/rfc9112#section-3

A path segment is kept when it consists of at most 32 letters, dots, dashes and underscores, or is a version
such as v2; any other (digits, percent signs, @, =, base64) becomes 0x01, shown as {id}. Scheme, user,
password and host of an absolute target, and ;parameters of a path, are dropped. Of a query the names before a
"=" are kept by the same rule, else 0x02, shown as *. A part that is cut off by the end of the prefix is dropped,
since its rest would have decided.
"""

from __future__ import annotations

import string

from node_agent.protocols._machine import Machine

ID, NAME = b"\x01", b"\x02"
LONGEST_PART = 32

_PART = string.ascii_letters.encode() + b"._-"
_DIGITS = string.digits.encode()
_CONTROLS = bytes(range(0x20)) + b"\x7f"
_ANY = bytes(range(0x100))


def _ends_path_part(m: Machine, state: str) -> None:
    m.on(state, _CONTROLS, "bad")
    m.on(state, b"/", "part0", "same", mark=True)
    m.on(state, b";", "parameter")
    m.on(state, b"?", "name0", "same", mark=True)
    m.on(state, b" ", "version0", "same")


def _path(m: Machine) -> None:
    for length in range(LONGEST_PART + 1):
        state = f"part{length}"
        m.on(state, _ANY, "id", ID, rollback=True)
        if length < LONGEST_PART:
            m.on(state, _PART, f"part{length + 1}", "same")
        _ends_path_part(m, state)
    m.on("part0", b"vV", "release", "same")
    m.on("release", _ANY, "id", ID, rollback=True)
    m.on("release", _PART, "part2", "same")
    m.on("release", _DIGITS, "release1", "same")
    m.on("release1", _ANY, "id", ID, rollback=True)
    m.on("release1", _DIGITS, "release2", "same")
    m.on("release2", _ANY, "id", ID, rollback=True)
    m.on("id", _ANY, "id")
    m.on("parameter", _ANY, "parameter")
    for state in ("release", "release1", "release2", "id", "parameter"):
        _ends_path_part(m, state)
    m.pending("release", "release1", "release2", *(f"part{length}" for length in range(1, LONGEST_PART + 1)))


def _query(m: Machine) -> None:
    for length in range(LONGEST_PART + 1):
        state = f"name{length}"
        m.on(state, _ANY, "odd_name", NAME, rollback=True)
        m.on(state, _CONTROLS, "bad")
        if length < LONGEST_PART:
            m.on(state, _PART + b"[]", f"name{length + 1}", "same")
        m.on(state, b"=", "value", "same")
        m.on(state, b"&", "name0", "same", mark=True, rollback=True)
        m.on(state, b" ", "version0", "same", rollback=True)
    for state in ("odd_name", "value"):
        m.on(state, _ANY, state)
        m.on(state, _CONTROLS, "bad")
        m.on(state, b"&", "name0", "same", mark=True)
        m.on(state, b" ", "version0", "same")
    m.on("odd_name", b"=", "value", "same")
    m.pending(*(f"name{length}" for length in range(1, LONGEST_PART + 1)))


def _build() -> Machine:
    m = Machine()
    m.state("bad")
    m.state("done")
    m.on("method", _ANY, "bad")
    m.on("method", string.ascii_uppercase.encode() + b"-", "method", "same")
    m.on("method", b" ", "target", "same", mark=True)
    m.on("target", _ANY, "bad")
    m.on("target", b"/", "part0", "same", mark=True)
    m.on("target", b"*", "asterisk", "same")
    m.on("asterisk", _ANY, "bad")
    m.on("asterisk", b" ", "version0", "same")
    # absolute-form and authority-form
    m.on("target", string.ascii_letters.encode() + _DIGITS + b"[", "scheme")
    for state in ("scheme", "colon", "slashes", "authority"):
        m.on(state, _ANY, "authority")
        m.on(state, _CONTROLS, "bad")
        m.on(state, b" ", "version0", b" ")
    m.on("scheme", string.ascii_letters.encode() + _DIGITS + b"+-.", "scheme")
    m.on("scheme", b":", "colon")
    m.on("colon", b"/", "slashes")
    m.on("slashes", b"/", "authority")
    m.on("authority", b"/", "part0", "same", mark=True)
    m.on("authority", b"?", "name0", "same", mark=True)
    _path(m)
    _query(m)
    for place, octet in enumerate(b"HTTP/1."):
        m.on(f"version{place}", _ANY, "bad")
        m.on(f"version{place}", bytes([octet]), f"version{place + 1}")
    m.on("version7", _ANY, "bad")
    m.on("version7", _DIGITS, "version8")
    m.on("version8", _ANY, "bad")
    m.on("version8", b"\r\n", "done")
    return m


MACHINE = _build()
START = MACHINE.state("method")
BAD, DONE, METHOD = MACHINE.state("bad"), MACHINE.state("done"), START


def shown(emitted: bytes) -> tuple[str, str, str]:
    """Method, path template and query names (with "?", or "") from what the automaton emitted."""
    text = emitted.decode("ascii", "replace").replace("\x01", "{id}").replace("\x02", "*")
    method, _, target = text.partition(" ")
    path, mark, query = target.rstrip(" ").partition("?")
    query = "&".join(part for part in query.split("&") if part)
    return method, path, mark + query if query else ""
