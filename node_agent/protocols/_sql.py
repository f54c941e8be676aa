r"""MySQL's lexical structure as an automaton that emits everything but literals.

https://dev.mysql.com/doc/refman/8.0/en/language-structure.html, https://mariadb.com/kb/en/comment-syntax/

Own scanner, no library: sqlglot and sqlparse build a tree from the whole text (0.1 to 1 ms a statement), keep a
literal wherever they fail to parse, and cannot run over a block. This one is a table, so the scalar and the
vectorised path are the same by construction, and a byte that is part of a literal has no transition that emits
it. A literal, also one cut off by the end of the prefix, becomes "?".

How a string ends depends on two things that the bytes do not show. Where the two readings differ, the rest of
the statement is masked (state SINK), for a wrong guess would turn literals inside out:
- sql_mode NO_BACKSLASH_ESCAPES: the start state says so where the server's status flags do (`PLAIN`,
  `ESCAPED`); where they are unknown (`STRICT`), everything behind the first \' is masked.
- multi-byte character sets (GBK, SJIS, Big5) with 0x5C or 0x60 as second byte: what follows \' or \\ directly
  behind a byte >= 0x80 is masked, as is a backtick that ends an unquoted name in such a byte.
Masked to the end as well: what follows a quote inside /*! */, a quote inside `...`, and the values of query
attributes (the packet then does not begin with text). "..." is always a literal, also under ANSI_QUOTES.

Emitted besides text: 0x01 behind a slash that opened a comment, 0x02 behind the dashes of one, 0x03 where the rest is
masked (shown as "...").
"""

from __future__ import annotations

import string

from node_agent.protocols._machine import Machine

STRICT, ESCAPED, PLAIN = 0, 1, 2
START = ("start0", "start1", "start2")
COMMENT_SLASH, COMMENT_DASH, REST = b"\x01", b"\x02", b"\x03"

_LETTERS = string.ascii_letters.encode() + b"_$"
_DIGITS = string.digits.encode()
_SPACES = bytes(range(0x21)) + b"\x7f"
_HIGH = bytes(range(0x80, 0x100))
_ANY = bytes(range(0x100))
_PUNCTUATION = bytes(set(range(0x21, 0x7F)) - set(_LETTERS + _DIGITS))


def _dispatch(m: Machine, mode: int, state: str) -> None:
    """What each byte starts outside of literals and comments."""
    m.on(state, _SPACES, f"space{mode}", b" ")
    m.on(state, _LETTERS, f"name{mode}", "same")
    m.on(state, _HIGH, f"name_high{mode}", "same")
    m.on(state, _PUNCTUATION, f"default{mode}", "same")
    m.on(state, _DIGITS, f"number{mode}", b"?")
    m.on(state, b"'", f"single{mode}", b"?")
    m.on(state, b'"', f"double{mode}", b"?")
    m.on(state, b"`", f"backtick{mode}", "same")
    m.on(state, b"-", f"dash{mode}", "same")
    m.on(state, b"/", f"slash{mode}", "same")
    m.on(state, b"#", f"line{mode}", b" ")


def _quoted(m: Machine, mode: int, name: str, quote: bytes) -> None:
    inside, closed = f"{name}{mode}", f"{name}_closed{mode}"
    high, escape, unsure = f"{name}_high{mode}", f"{name}_escape{mode}", f"{name}_unsure{mode}"
    for state in (inside, high, escape, unsure):
        m.on(state, _ANY, inside)
        m.on(state, _HIGH, high)
    for state in (inside, high):
        m.on(state, quote, closed)
    if mode != PLAIN:
        m.on(inside, b"\\", escape)
        m.on(high, b"\\", unsure)
        m.on(unsure, b"'\"\\", "sink", REST)
        if mode == STRICT:
            m.on(escape, b"'\"", "sink", REST)
    else:
        m.on(escape, _ANY, "sink")
        m.on(unsure, _ANY, "sink")
    _dispatch(m, mode, closed)
    m.on(closed, quote, inside)


def _comments(m: Machine, mode: int) -> None:
    line, block, star = f"line{mode}", f"block{mode}", f"star{mode}"
    run, run_number, run_star = f"run{mode}", f"run_number{mode}", f"run_star{mode}"
    m.on(line, _ANY, line)
    m.on(line, b"\n", f"space{mode}", b" ")
    _dispatch(m, mode, f"dash{mode}")
    m.on(f"dash{mode}", b"-", f"dashes{mode}", "same")
    _dispatch(m, mode, f"dashes{mode}")
    m.on(f"dashes{mode}", _SPACES, line, COMMENT_DASH)
    m.on(f"dashes{mode}", b"\n", f"space{mode}", COMMENT_DASH)
    m.on(f"dashes{mode}", b"-", f"dashes{mode}", "same")
    _dispatch(m, mode, f"slash{mode}")
    m.on(f"slash{mode}", b"*", f"opened{mode}", COMMENT_SLASH)
    for state in (block, star, f"opened{mode}", f"opened_m{mode}"):
        m.on(state, _ANY, block)
        m.on(state, b"*", star)
    m.on(star, b"/", f"space{mode}", b" ")
    m.on(f"opened{mode}", b"M", f"opened_m{mode}")
    for state in (f"opened{mode}", f"opened_m{mode}"):
        m.on(state, b"!", run)
    for state in (run, run_number, run_star):
        m.on(state, _SPACES, run, b" ")
        m.on(state, _LETTERS + _HIGH + _PUNCTUATION, run, "same")
        m.on(state, _DIGITS, run_number)
        m.on(state, b"*", run_star)
        m.on(state, b"'\"`", "sink", REST)
    m.on(run_number, _LETTERS + _HIGH + b".", run_number)
    m.on(run_star, b"/", f"space{mode}", b" ")


def _numbers(m: Machine, mode: int) -> None:
    number, exponent, sign = f"number{mode}", f"exponent{mode}", f"sign{mode}"
    for state in (number, exponent, sign):
        _dispatch(m, mode, state)
        m.on(state, _DIGITS, number)
    for state in (number, exponent):
        m.on(state, _LETTERS + _HIGH + b".", number)
        m.on(state, b"eE", exponent)
    m.on(exponent, b"+-", sign)
    m.on(sign, b"-", f"dashes{mode}", "same")


def _build() -> Machine:
    m = Machine()
    m.state("sink")
    for mode in (STRICT, ESCAPED, PLAIN):
        start, zero = f"start{mode}", f"zero{mode}"
        for state in (start, zero, f"default{mode}", f"space{mode}", f"name{mode}", f"name_high{mode}"):
            _dispatch(m, mode, state)
        m.on(start, _SPACES, "sink", REST)
        m.on(start, b" \t\r\n\v\f", start)
        m.on(start, b"\0", zero)
        m.on(zero, _SPACES, "sink", REST)
        m.on(zero, b"\x01", f"space{mode}")
        m.on(f"space{mode}", _SPACES, f"space{mode}")
        for state in (f"name{mode}", f"name_high{mode}"):
            m.on(state, _DIGITS, f"name{mode}", "same")
        m.on(f"name_high{mode}", b"`\\", "sink", REST)
        m.on(f"backtick{mode}", _ANY, "sink", REST)
        m.on(f"backtick{mode}", _LETTERS + _DIGITS + _HIGH + b" .-:/@*", f"backtick{mode}", "same")
        m.on(f"backtick{mode}", b"`", f"default{mode}", "same")
        _quoted(m, mode, "single", b"'")
        _quoted(m, mode, "double", b'"')
        _comments(m, mode)
        _numbers(m, mode)
    return m


MACHINE = _build()
#: Numbers of the start states, indexed by STRICT, ESCAPED, PLAIN.
START_STATES = tuple(MACHINE.state(name) for name in START)
