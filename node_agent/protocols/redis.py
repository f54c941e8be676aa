"""RESP2 and RESP3: https://redis.io/docs/latest/develop/reference/protocol-spec/.

A row is one command with its reply; commands of a pipeline are rows of their own. Shown are the command, the
pattern of its key where the command is known to take one first, and "?" for all other arguments.
"""

from __future__ import annotations

from node_agent.protocols import _redis_commands as commands
from node_agent.protocols import _redis_key
from node_agent.protocols._types import INVALID, NO_RESPONSE, STATEMENT_BYTES, Message, Request, Response, Status

NUMBER, NAME = 3, "redis"

#: Longest line of a value inside an array that is looked through for its end; numbers and states are shorter.
LINE = 64
DIGITS = 10
#: More values than any reply has; a count beyond is not believed.
MANY = 1 << 31


def context(prefix: bytes, head: bytes, tail: bytes, response_bytes: int) -> int:  # noqa: ARG001
    """Commands read the same whatever the reply is."""
    return 0


def number(data: bytes, at: int) -> tuple[int, int] | None:
    """Number behind the type byte at `at`, and the place behind its line; -1 is the only negative one."""
    end = data.find(b"\r\n", at + 1, at + 3 + DIGITS)
    digits = data[at + 1 : end]
    if end < 0 or not (digits.isdigit() or digits == b"-1"):
        return None
    return int(digits), end + 2


def value_end(data: bytes, at: int) -> int | None:
    """Place behind the RESP value at `at`, beyond `data` where only a last string's length shows; None: unknown."""
    left = 1
    while left:
        if at >= len(data) or left > MANY:
            return None
        kind = data[at : at + 1]
        if kind in b"$=!*~>%|":
            read = number(data, at)
            if read is None:
                return None
            count, at = read
            if kind in b"$=!":
                at += count + 2 if count >= 0 else 0
                left -= 1
            else:
                left += max(count, 0) * (2 if kind in b"%|" else 1) - (kind != b"|")
        elif kind in b"+-:,#_(":
            at = data.find(b"\n", at, at + LINE) + 1
            left -= 1
            if not at:
                return None
        else:
            return None
    return at


def split(prefix: bytes, request_bytes: int) -> list[Message]:
    """Commands of a pipeline, as far as the prefix shows their lengths."""
    messages: list[Message] = []
    at = 0
    while at < request_bytes:
        is_array = prefix[at : at + 1] == b"*"
        end = value_end(prefix, at) if is_array else prefix.find(b"\n", at) + 1 or None
        messages.append(Message(at, None if end is None else end - at))
        if end is None:
            break
        at = end
    return messages


def _bulk(data: bytes, at: int) -> tuple[int, int] | None:
    """Start and end of the string at `at`; its end may be beyond `data`."""
    if data[at : at + 1] != b"$":
        return None
    read = number(data, at)
    return None if read is None or read[0] < 0 else (read[1], read[1] + read[0])


def parse_request(prefix: bytes, context: int = 0) -> Request:  # noqa: ARG001
    """The first command in `prefix`."""
    prefix = prefix[:STATEMENT_BYTES]
    if prefix[:1] != b"*":
        return _inline(prefix)
    read = number(prefix, 0)
    word = _bulk(prefix, read[1]) if read is not None and 1 <= read[0] <= MANY else None
    if read is None or word is None or word[1] == word[0] or word[1] > len(prefix):
        return INVALID
    command, rest = commands.known(prefix[word[0] : word[1]]), read[0] - 1
    first = _bulk(prefix, word[1] + 2) if rest else None
    argument, cut = None, False
    if first is not None:
        argument, cut = prefix[first[0] : first[1]], first[1] > len(prefix)
    return _request(command, argument, rest, cut or (rest > 0 and first is None))


def _inline(prefix: bytes) -> Request:
    line, feed, _ = prefix.partition(b"\n")
    words = line.split()
    if not words or commands.known(words[0]) == "~other":
        return INVALID
    cut = not feed and len(words) <= 2
    if cut and len(words) == 1:
        return INVALID
    return _request(commands.known(words[0]), words[1] if len(words) > 1 else None, len(words) - 1, cut)


def _request(command: str, argument: bytes | None, rest: int, cut: bool) -> Request:
    """Request of a command with `rest` arguments, the first of which is `argument` (`cut`: not all of it)."""
    key, shown = "", command
    if argument is not None and commands.is_keyed(command):
        key = _redis_key.pattern(argument, cut)
        shown, rest = f"{command} {key}", rest - 1
    elif argument is not None and command in commands.CONTAINERS and not cut and commands.subcommand(argument):
        command = shown = f"{command} {commands.subcommand(argument)}"
        rest -= 1
    else:
        cut = cut and (commands.is_keyed(command) or command in commands.CONTAINERS)
    return Request(True, command, key, f"{shown} ?" if rest > 0 else shown, cut)


def response_end(head: bytes, at: int, request: Request) -> int | None:  # noqa: ARG001
    """Place behind the reply at `at`."""
    return value_end(head, at)


def parse_response(head: bytes, tail: bytes, response_bytes: int, request: Request) -> Response:  # noqa: ARG001
    """The reply; an error's first word is its code. Errors inside an EXEC's array are not looked for."""
    if response_bytes <= 0:
        return NO_RESPONSE
    kind = head[:1]
    if kind in (b"+", b"-"):
        feed = head.find(b"\n")
        complete = tail.endswith(b"\r\n") and feed in (-1, response_bytes - 1)
        if kind == b"-":
            status, word = commands.error(head)
            return Response(status, word, complete)
        return Response(Status.OK, "", complete)
    end = value_end(head, 0) if head else None
    complete = end is not None and end == response_bytes
    if kind == b"!":
        read = number(head, 0)
        status, word = commands.error(b"-" + head[read[1] :] if read else b"")
        return Response(status, word, complete)
    return Response(Status.OK, "", complete)
