"""HTTP/1.0 and 1.1: https://www.rfc-editor.org/rfc/rfc9112.

A row is one request with its final response; interim 1xx responses are not one. The path becomes a route
template, of the query only names stay (`_http_target`); of headers, only what frames the messages is read.
"""

from __future__ import annotations

import re

from node_agent.protocols import _http_target
from node_agent.protocols._types import INVALID, NO_RESPONSE, STATEMENT_BYTES, Message, Request, Response, Status, words

NUMBER, NAME = 1, "http1"

#: https://www.iana.org/assignments/http-methods; others are not HTTP here.
METHODS = words(
    "GET HEAD POST PUT DELETE CONNECT OPTIONS TRACE PATCH COPY LOCK MKCOL MOVE PROPFIND PROPPATCH PURGE REPORT "
    "SEARCH UNLOCK"
)
#: Digits of a Content-Length that are read; 10^15 bytes do not pass in one message.
LENGTH_DIGITS = 15
LAST_CHUNK = b"\r\n0\r\n\r\n"
END = b"\r\n\r\n"
UNCODED = "~other"

_LENGTH = re.compile(rb"\r\ncontent-length:[ \t]*(\d{1,15})[ \t]*\r\n", re.IGNORECASE)
_CHUNKED = re.compile(rb"\r\ntransfer-encoding:", re.IGNORECASE)


def context(prefix: bytes, head: bytes, tail: bytes, response_bytes: int) -> int:  # noqa: ARG001
    """HTTP requests read the same whatever the answer is."""
    return 0


def _content_length(header: bytes) -> int | None:
    """Declared length of the body; None where no single number says so. `header` ends in the empty line."""
    found = _LENGTH.search(header)
    return None if found is None or _CHUNKED.search(header) else int(found[1])


def split(prefix: bytes, request_bytes: int) -> list[Message]:
    """Pipelined requests; a chunked body hides what follows it, so its message has no length."""
    messages: list[Message] = []
    at = 0
    while at < request_bytes:
        end = prefix.find(END, at)
        if at >= len(prefix) or end < 0:
            messages.append(Message(at, None))
            break
        header = prefix[at : end + 4]
        if _CHUNKED.search(header):
            messages.append(Message(at, None))
            break
        length = len(header) + (_content_length(header) or 0)
        messages.append(Message(at, length))
        at += length
    return messages


def parse_request(prefix: bytes, context: int = 0) -> Request:  # noqa: ARG001
    """The first request line in `prefix`."""
    emitted, state = _http_target.MACHINE.run(prefix[:STATEMENT_BYTES], "method", cut=True)
    if state in (_http_target.BAD, _http_target.METHOD):
        return INVALID
    method, path, query = _http_target.shown(emitted)
    if method not in METHODS:
        return INVALID
    truncated = state != _http_target.DONE
    return Request(True, method, path, f"{method} {path}{query}".strip(), truncated)


def parse_response(head: bytes, tail: bytes, response_bytes: int, request: Request) -> Response:
    """Status line and framing of the response; its end is told by Content-Length, the last chunk, or no body."""
    if response_bytes <= 0:
        return NO_RESPONSE
    code = head[9:12]
    if not head.startswith(b"HTTP/1.") or head[8:9] != b" " or not code.isdigit() or len(code) < 3:
        return Response(Status.OK, UNCODED if len(head) >= 12 else "")
    complete = _complete(head, tail, response_bytes, code, request.operation == "HEAD")
    interim = code[:1] == b"1" and code != b"101"
    return Response(status_of(int(code[:1])), code.decode(), complete, interim)


def response_end(head: bytes, at: int, request: Request) -> int | None:
    """Place behind the response at `at`, where its header is in `head` and gives its length."""
    end, code = head.find(END, at) + 4, head[at + 9 : at + 12]
    if end < 4 or not code.isdigit():
        return None
    if request.operation == "HEAD" or code in (b"204", b"304"):
        return end
    length = _content_length(head[at:end])
    return None if length is None or code[:1] == b"1" else end + length


def status_of(hundreds: int) -> Status:
    """Status of a code by its first digit: 4 the client's fault, 5 and above the server's."""
    if hundreds == 4:
        return Status.CLIENT_ERROR
    return Status.SERVER_ERROR if hundreds >= 5 else Status.OK


def _complete(head: bytes, tail: bytes, response_bytes: int, code: bytes, is_head: bool) -> bool:
    end = head.find(END)
    if end < 0:
        return False
    end += 4
    if is_head or code in (b"204", b"304") or code[:1] == b"1":
        return end == response_bytes
    header = head[:end]
    if _CHUNKED.search(header):
        return tail.endswith(LAST_CHUNK)
    length = _content_length(header)
    return length is not None and end + length == response_bytes
