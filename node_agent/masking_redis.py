"""RESP without its literals: types, lengths, commands, key patterns and error words stay, all else is x."""

from __future__ import annotations

import re

from node_agent.masking_machine import Filler
from node_agent.protocols import _redis_commands as commands
from node_agent.protocols import _redis_key, redis
from node_agent.protocols._types import Request

_FILLER = Filler(_redis_key.MACHINE)
_SPACES = b" \t\n\r\x0b\x0c"


def _filled(text: bytes) -> bytes:
    return b"x" * len(text)


def _key(key: bytes, cut: bool) -> bytes:
    """A key with the same pattern."""
    seen = key[: _redis_key.KEY_BYTES]
    masked, shown = _FILLER.mask(seen, "part0", cut or len(key) > _redis_key.KEY_BYTES)
    # Letters that look like a part of a UUID are emitted, and taken out of the pattern as a whole.
    emitted, _ = _redis_key.MACHINE.run(bytes(masked), "part0", cut or len(key) > _redis_key.KEY_BYTES)
    for found in _redis_key._UUID.finditer(emitted.decode("ascii", "replace")):
        for place in shown[found.start() : found.end()]:
            if masked[place : place + 1].isalpha():
                masked[place] = ord("a")
    return bytes(masked) + _filled(key[len(seen) :])


def _argument(command: str, argument: bytes, cut: bool) -> bytes:
    """The first argument of `command`, as far as it is shown."""
    if commands.is_keyed(command):
        return _key(argument, cut)
    if command in commands.CONTAINERS and not cut and commands.subcommand(argument):
        return argument
    return _filled(argument)


def request(text: bytes, context: int = 0) -> bytes:
    """One command as far as it was captured."""
    if text[:1] != b"*":
        return _inline(text)
    parsed = redis.parse_request(text, context)
    if not parsed.valid:
        return _values(text, {})
    read = redis.number(text, 0)
    assert read is not None
    word = redis._bulk(text, read[1])
    assert word is not None
    command = commands.known(text[word[0] : word[1]])
    shown = {word[0]: text[word[0] : word[1]]} if command != "~other" else {}
    first = redis._bulk(text, word[1] + 2) if read[0] > 1 else None
    if first is not None:
        argument = text[first[0] : first[1]]
        shown[first[0]] = _argument(command, argument, first[1] > len(text))
    return _values(text, shown)


def _inline(text: bytes) -> bytes:
    parsed = redis.parse_request(text)
    line, feed, rest = text.partition(b"\n")
    if not parsed.valid:
        return _filled(line) + feed + _filled(rest)
    words = re.split(rb"([ \t\r\x0b\x0c]+)", line)
    number, cut, out = 0, not feed and len(line.split()) <= 2, b""
    command = commands.known(line.split()[0])
    for word in words:
        if not word or word[0] in _SPACES:
            out += word
            continue
        out += word if number == 0 else _argument(command, word, cut) if number == 1 else _filled(word)
        number += 1
    return out + feed + _filled(rest)


def responses(piece: bytes, total: int, requests: list[Request]) -> bytes:  # noqa: ARG001
    """The first bytes of replies, one behind the other."""
    out = b""
    while len(out) < len(piece):
        rest = piece[len(out) :]
        if rest[:1] in (b"+", b"-"):
            feed = rest.find(b"\n")
            value = rest if feed < 0 else rest[: feed + 1]
            out += _line(value, is_error=rest[:1] == b"-")
            continue
        shown = _error_word(rest) if rest[:1] == b"!" else {}
        end = redis.value_end(rest, 0)
        if end is None:
            return out + _values(rest, shown)
        out += _values(rest[:end], shown)
    return out


def _error_word(value: bytes) -> dict[int, bytes]:
    """Place and text of a known error word in a RESP3 error, with the space behind it."""
    read = redis.number(value, 0)
    word = commands.error(b"-" + value[read[1] :])[1] if read is not None else "~other"
    return {read[1]: value[read[1] : read[1] + len(word) + 1]} if read is not None and word != "~other" else {}


def _line(value: bytes, is_error: bool) -> bytes:
    """A top-level status or error: its line end and a known error word stay."""
    ending = b"\r\n" if value.endswith(b"\r\n") else b"\n" if value.endswith(b"\n") else b""
    content = value[1 : len(value) - len(ending)]
    known = commands.error(value)[1] if is_error else "~other"
    word = content[: len(known) + 1] if known != "~other" else b""
    return value[:1] + word + _filled(content[len(word) :]) + ending


def _values(data: bytes, shown: dict[int, bytes]) -> bytes:
    """RESP values with lengths and line ends; strings are x but for those that `shown` gives by their place.

    From where the bytes are no RESP, or are cut within a line, everything is x.
    """
    out, at = bytearray(), 0
    while at < len(data):
        kind = data[at : at + 1]
        if kind in (b"$", b"=", b"!", b"*", b"~", b">", b"%", b"|"):
            read = redis.number(data, at)
            if read is None:
                out += kind
                at += 1
                break
            count, behind = read
            out += data[at:behind]
            at = behind
            if kind in (b"$", b"=", b"!") and count >= 0:
                text = data[at : at + count]
                given = shown.get(at, b"")[: len(text)]
                out += given + _filled(text[len(given) :])
                at += len(text)
                end = data[at : at + 2]
                out += end if end == b"\r\n"[: len(end)] else _filled(end)
                at += len(end)
        elif kind in (b"+", b"-", b":", b",", b"#", b"_", b"("):
            feed = data.find(b"\n", at, at + redis.LINE)
            if feed < 0:
                out += kind
                at += 1
                break
            line = data[at : feed + 1]
            ending = b"\r\n" if line.endswith(b"\r\n") else b"\n"
            out += kind + _filled(line[1 : -len(ending)]) + ending
            at = feed + 1
        else:
            break
    return bytes(out) + _filled(data[at:])


def tail(last: bytes) -> bytes:
    """The last bytes of a reply."""
    kept = b"\r\n" if last.endswith(b"\r\n") else b""
    return _filled(last[: len(last) - len(kept)]) + kept
