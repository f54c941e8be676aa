"""HTTP/1 without its literals: method, route, names of parameters, status code and framing stay, all else is x.

Of a header's lines only Content-Length, Transfer-Encoding and Connection stay, with values that frame; line ends
stay where they are, so a message is cut where it was cut.
"""

from __future__ import annotations

import re

from node_agent.masking_machine import Filler
from node_agent.protocols import _http_target, http1
from node_agent.protocols._types import Request

_FILLER = Filler(_http_target.MACHINE)
_FRAMING = re.compile(
    rb"(?:content-length:[ \t]*\d{1,15}[ \t]*|transfer-encoding:[ \t]*chunked|"
    rb"connection:[ \t]*(?:close|keep-alive))\r?",
    re.IGNORECASE,
)
_CHUNKED_NAME = b"transfer-encoding:"
_NOT_LINE_ENDS = re.compile(rb"[^\r\n]")


def _filled(text: bytes) -> bytes:
    return b"x" * len(text)


def _lines(header: bytes) -> bytes:
    """Header lines; the first is what is left of the start line."""
    first, *others = header.split(b"\n")
    out = [_NOT_LINE_ENDS.sub(b"x", first)]
    for line in others:
        masked = _NOT_LINE_ENDS.sub(b"x", line)
        if _FRAMING.fullmatch(line):
            masked = line
        elif line[: len(_CHUNKED_NAME)].lower() == _CHUNKED_NAME:
            masked = line[: len(_CHUNKED_NAME)] + masked[len(_CHUNKED_NAME) :]
        out.append(masked)
    return b"\n".join(out)


def request(text: bytes, context: int = 0) -> bytes:
    """One request as far as it was captured."""
    end = text.find(http1.END)
    end = len(text) if end < 0 else end + len(http1.END)
    start = b""
    if http1.parse_request(text, context).valid:
        masked, _ = _FILLER.mask(text[:end], "method", cut=True, until=_http_target.DONE)
        if text[len(masked) - 1] in b"\r\n":
            masked[-1] = text[len(masked) - 1]
        start = bytes(masked)
    return start + _lines(text[len(start) : end]) + _filled(text[end:])


def responses(piece: bytes, total: int, requests: list[Request]) -> bytes:
    """The first bytes of `total` of answers to `requests`, one behind the other."""
    out = b""
    for asked in requests:
        at = len(out)
        if at >= len(piece):
            break
        end = piece.find(http1.END, at)
        end = len(piece) if end < 0 else end + len(http1.END)
        out += _header(piece[at:end])
        behind = http1.response_end(piece, at, asked)
        if behind is None or behind >= len(piece):
            break
        out += _filled(piece[len(out) : behind])
    out += _filled(piece[len(out) :])
    # The last chunk's first line end can be the header's own.
    ends = len(piece) == total and piece.endswith(http1.LAST_CHUNK)
    return out[: -len(http1.LAST_CHUNK)] + http1.LAST_CHUNK if ends else out


def _header(header: bytes) -> bytes:
    code = header[9:12]
    known = header.startswith(b"HTTP/1.") and header[8:9] == b" " and code.isdigit() and len(code) == 3
    if not known and not header.startswith(b"HTTP/1."[: len(header)]):
        return _filled(header)
    if not known:
        return header[:7] + _filled(header[7:])
    return header[:7] + b"1" + header[8:12] + _lines(header[12:])


def tail(last: bytes) -> bytes:
    """The last bytes of a response."""
    kept = http1.LAST_CHUNK if last.endswith(http1.LAST_CHUNK) else b""
    return _filled(last[: len(last) - len(kept)]) + kept
