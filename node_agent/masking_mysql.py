"""MySQL without its literals: packet headers, commands, masked SQL, error numbers and framing stay, all else is x.

Of status flags only the two bits that are read stay. What is no packet in its place in the sequence, and not all of an
answer, is x.
"""

from __future__ import annotations

import re

from node_agent.masking_machine import Filler
from node_agent.protocols import _sql, mysql
from node_agent.protocols._types import Request

_FILLER = Filler(_sql.MACHINE)
_HEADER = 4
_READ_FLAGS = mysql.MORE_RESULTS | mysql.NO_BACKSLASH_ESCAPES
_NO_COMMAND = b"\0\0\0\x01"
_OK, _EOF, _ERROR, _OTHER = 0x00, 0xFE, 0xFF, 0x01
#: Marker and SQLSTATE, or at least its class.
_STATE = re.compile(rb"#[0-9A-Z]{2}(?:[0-9A-Z]{3})?")


def _filled(text: bytes) -> bytes:
    return b"x" * len(text)


def request(text: bytes, context: int = 0) -> bytes:
    """One command packet as far as it was captured; `context` is what mysql.escapes says of the original."""
    if len(text) <= _HEADER:
        return _filled(text)
    length, command = int.from_bytes(text[:3], "little"), text[4]
    if text[3] or not length:
        return _NO_COMMAND + _filled(text[_HEADER:])
    if command not in mysql.COMMANDS:
        return text[:_HEADER] + b"\0" + _filled(text[5:])
    payload = text[5 : _HEADER + length]
    masked = _filled(payload)
    if command in mysql.TEXT:
        masked = bytes(_FILLER.mask(payload, _sql.START[context])[0])
    if command == mysql.FIELD_LIST:  # behind the table's name is a pattern
        table, end, pattern = masked.partition(b"\0")
        masked = table + end + _filled(pattern)
    return text[:5] + masked + _filled(text[5 + len(payload) :])


def responses(piece: bytes, total: int, requests: list[Request]) -> bytes:
    """The first bytes of `total` of answers to `requests`, one behind the other."""
    out = bytearray()
    sequence, number, begins = 0, 0, True
    while len(piece) - len(out) > _HEADER:
        at = len(out)
        size, follows = int.from_bytes(piece[at : at + 3], "little"), piece[at + 3]
        whole = at == 0 and _HEADER + size == total
        if follows not in (1, (sequence + 1) & 0xFF) and not whole:
            break
        sequence, end = follows, at + _HEADER + size
        packet = piece[at + _HEADER : end]
        asked = requests[min(number, len(requests) - 1)].operation if requests else ""
        if begins and not (asked == "STATISTICS" and packet[:1] != b"\xff"):
            masked = _first(packet, asked == "PREPARE")
        else:
            masked = _last(packet) if end == total and not begins else _plain(packet)
        out += piece[at : at + _HEADER] + masked
        number += 1
        begins = begins and number < len(requests) and mysql.response_end(piece, at, requests[number - 1]) is not None
    return bytes(out) + _filled(piece[len(out) :])


def _plain(packet: bytes) -> bytes:
    return bytes([_OTHER])[: len(packet)] + _filled(packet[1:])


def _first(packet: bytes, is_prepare: bool) -> bytes:
    """The first packet of an answer."""
    kind = packet[:1]
    if kind == b"\xff":
        return _error(packet)
    if kind == b"\0":
        if is_prepare:  # identity, columns, parameters
            return packet[:1] + bytes(len(packet[1:5])) + packet[5:9] + _filled(packet[9:])
        return _ok(packet)
    if kind in (b"\xfb", b"\xfe"):
        return kind + _filled(packet[1:])
    return _plain(packet)


def _last(packet: bytes) -> bytes:
    """The last packet of a longer answer."""
    if packet[:1] == b"\xff":
        return _error(packet)
    return _ok(packet) if packet[:1] in (b"\xfe", b"\0") else _plain(packet)


def _error(packet: bytes) -> bytes:
    if packet[1:3] == b"\xff\xff":  # a report of progress
        return packet[:3] + _filled(packet[3:])
    kept = next((size for size in (6, 3) if _STATE.fullmatch(packet[3 : 3 + size])), 0)
    return packet[: 3 + kept] + _filled(packet[3 + kept :])


def _read_flags(octets: bytes) -> bytes:
    return (int.from_bytes(octets, "little") & _READ_FLAGS).to_bytes(2, "little")[: len(octets)]


def _ok(packet: bytes) -> bytes:
    """OK or EOF: sizes of its two integers and the flags that are read stay, numbers are 0."""
    if packet[:1] == b"\xfe" and len(packet) == mysql.TERMINATORS[0]:
        sizes = bytes(octet if mysql._length_of_integer(octet) > 1 else 0 for octet in packet[1:3])
        return packet[:1] + sizes + _read_flags(packet[3:5])
    out = bytearray(packet[:1])
    for _ in range(2):
        first = packet[len(out) : len(out) + 1]
        size = mysql._length_of_integer(first[0]) if first else 0
        octets = packet[len(out) : len(out) + size]
        out += (first if size > 1 else bytes(1)) + bytes(len(octets) - 1) if octets else b""
    out += _read_flags(packet[len(out) : len(out) + 2])
    return bytes(out) + _filled(packet[len(out) :])


def tail(last: bytes) -> bytes:
    """The last bytes of an answer: the packet that ends it, without its numbers."""
    for size in mysql.TERMINATORS:
        at = len(last) - _HEADER - size
        if at < 0:
            break
        kind = last[at + 4]
        if last[at : at + 3] == bytes((size, 0, 0)) and (kind == _EOF or (kind == _OK and size > 5)):
            packet = bytes([kind, 0, 0]) + _read_flags(last[at + 7 : at + 9]) + _filled(last[at + 9 :])
            return _filled(last[:at]) + last[at : at + _HEADER] + packet
    for at in range(len(last) - 12):
        if last[at + 4] == _ERROR and last[at + 7] == 0x23 and last[at] + 4 == len(last) - at:
            return _filled(last[:at]) + last[at : at + 1] + b"\0\0\0" + _error(last[at + 4 :])
    return _filled(last)
