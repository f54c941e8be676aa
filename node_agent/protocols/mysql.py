"""MySQL and MariaDB client protocol: https://mariadb.com/kb/en/clientserver-protocol/.

https://dev.mysql.com/doc/dev/mysql-server/latest/PAGE_PROTOCOL.html

A row is one command packet (sequence number 0) with its whole answer. The text of COM_QUERY and
COM_STMT_PREPARE is shown without literals (`_sql`); parameters, users and passwords are never read. A packet
that is not a known command (the login, the data of LOAD DATA LOCAL) is not valid.
"""

from __future__ import annotations

from node_agent.protocols import _mysql_errors, _sql, _sql_text
from node_agent.protocols._types import INVALID, NO_RESPONSE, STATEMENT_BYTES, Message, Request, Response, Status

NUMBER, NAME = 2, "mysql"

QUIT, INIT_DB, QUERY, FIELD_LIST, STATISTICS, PREPARE, SEND_LONG_DATA, CLOSE = 1, 2, 3, 4, 9, 22, 24, 25
#: Command byte -> operation; QUERY's is its verb. https://mariadb.com/kb/en/0-packet/#command-list
COMMANDS = {
    QUIT: "QUIT", INIT_DB: "INIT_DB", QUERY: "QUERY", FIELD_LIST: "FIELD_LIST", 5: "CREATE_DB", 6: "DROP_DB",
    7: "REFRESH", 8: "SHUTDOWN", STATISTICS: "STATISTICS", 10: "PROCESS_INFO", 12: "PROCESS_KILL", 13: "DEBUG",
    14: "PING", 17: "CHANGE_USER", 18: "BINLOG_DUMP", 19: "TABLE_DUMP", 21: "REGISTER_SLAVE", PREPARE: "PREPARE",
    23: "EXECUTE", SEND_LONG_DATA: "SEND_LONG_DATA", CLOSE: "CLOSE", 26: "RESET", 27: "SET_OPTION", 28: "FETCH",
    30: "BINLOG_DUMP_GTID", 31: "RESET_CONNECTION", 0xFA: "BULK_EXECUTE",
}  # fmt: skip
#: Commands that the server answers with nothing.
ONE_WAY = frozenset((QUIT, SEND_LONG_DATA, CLOSE))
#: Commands whose payload is SQL or a name.
TEXT = frozenset((INIT_DB, QUERY, FIELD_LIST, PREPARE))
#: Operations that `Questions` leaves out: measured on MariaDB 10.11, tests/data/mysql_questions.json. A statement with
#: such a verb (`PREPARE s FROM ...`), which it does count, is `SQL PREPARE`.
NOT_QUESTIONS = frozenset(("PING", "STATISTICS", "PREPARE", "CLOSE", "RESET"))
#: Longest packet; one as long is followed by more of the same message.
FULL = 0xFFFFFF
MORE_RESULTS, NO_BACKSLASH_ESCAPES = 0x0008, 0x0200
#: Sizes of a terminating packet that the tail can show whole: EOF, or OK in its place.
TERMINATORS = (5, 7, 8, 9, 10, 11, 12)


def split(prefix: bytes, request_bytes: int) -> list[Message]:
    """Commands of a turn, such as CLOSE before QUERY; what follows a packet that is no command belongs to it."""
    messages: list[Message] = []
    at = 0
    while at < request_bytes:
        if at + 5 > len(prefix):
            messages.append(Message(at, None))
            break
        length, sequence, command = int.from_bytes(prefix[at : at + 3], "little"), prefix[at + 3], prefix[at + 4]
        if sequence or not length or length == FULL:
            messages.append(Message(at, None))
            break
        messages.append(Message(at, 4 + length, command in ONE_WAY))
        at += 4 + length
    return messages


def escapes(prefix: bytes, head: bytes, tail: bytes, response_bytes: int) -> int:
    """How backslashes read, from the status flags of the answer: `_sql.ESCAPED`, PLAIN, or STRICT where unknown."""
    flags = None
    if len(head) >= 5:
        if 4 + int.from_bytes(head[:3], "little") == response_bytes:
            if head[4] == 0 and len(prefix) > 4 and prefix[4] != PREPARE:
                flags = _ok_flags(head[4:])
        elif head[4] != 0xFF:
            flags = _terminator(tail)
    if flags is None:
        return _sql.STRICT
    return _sql.PLAIN if flags & NO_BACKSLASH_ESCAPES else _sql.ESCAPED


context = escapes


def parse_request(prefix: bytes, context: int = _sql.STRICT) -> Request:
    """The first command in `prefix`; `context` is what `escapes` said."""
    prefix = prefix[:STATEMENT_BYTES]
    if len(prefix) < 5:
        return INVALID
    length, command = int.from_bytes(prefix[:3], "little"), prefix[4]
    if prefix[3] or not length or command not in COMMANDS:
        return INVALID
    operation, one_way = COMMANDS[command], command in ONE_WAY
    if command not in TEXT:
        return Request(True, operation, one_way=one_way, counted=operation not in NOT_QUESTIONS)
    masked, _ = _sql.MACHINE.run(prefix[5 : 4 + length], _sql.START[context])
    shown = _sql_text.text(masked)
    truncated = 4 + length > len(prefix)
    if command in (INIT_DB, FIELD_LIST):
        name = _sql_text.first_table("USE " + shown)
        return Request(True, operation, name, "", truncated)
    if command == QUERY:
        operation = _sql_text.verb(shown)
        operation = f"SQL {operation}" if operation in NOT_QUESTIONS else operation
    return Request(True, operation, _sql_text.first_table(shown), shown, truncated, counted=command != PREPARE)


def parse_response(head: bytes, tail: bytes, response_bytes: int, request: Request) -> Response:
    """The answer: one OK or ERR, or a result set that ends in EOF, OK, or a late ERR."""
    if response_bytes <= 0:
        return Response(Status.ONE_WAY, complete=True) if request.one_way else NO_RESPONSE
    if len(head) < 5:
        return Response(Status.OK)
    first, exact = head[4], 4 + int.from_bytes(head[:3], "little") == response_bytes
    if first == 0xFF and head[5:7] != b"\xff\xff":
        return _error(head[4:], exact)
    if first in (0xFB, 0xFE) or request.operation == "STATISTICS":
        return Response(Status.OK, complete=exact and first != 0xFB)
    if exact and first == 0 and request.operation != "PREPARE":
        flags = _ok_flags(head[4:])
        return Response(Status.OK, complete=flags is not None and not flags & MORE_RESULTS)
    if exact and first == 0:
        return Response(Status.OK, complete=head[9:13] == bytes(4))
    flags = _terminator(tail)
    if flags is not None:
        return Response(Status.OK, complete=not flags & MORE_RESULTS)
    return _last_packet(head, tail, response_bytes)


def response_end(head: bytes, at: int, request: Request) -> int | None:
    """Place behind the answer at `at`, where one packet is all of it."""
    packet = head[at + 4 :]
    if packet[:1] == b"\xff" or (packet[:1] == b"\x00" and request.operation != "PREPARE"):
        flags = 0 if packet[:1] == b"\xff" else _ok_flags(packet)
        if flags is not None and not flags & MORE_RESULTS:
            return at + 4 + int.from_bytes(head[at : at + 3], "little")
    return None


def _last_packet(head: bytes, tail: bytes, response_bytes: int) -> Response:
    """A longer answer without a terminator in its tail: looked at packet by packet where all of it is there."""
    if response_bytes <= len(head):
        at = 0
        while at + 5 <= response_bytes:
            end = at + 4 + int.from_bytes(head[at : at + 3], "little")
            if end == response_bytes:
                packet = head[at + 4 : end]
                if packet[:1] == b"\xff":
                    return _error(packet, exact=True)
                flags = _ok_flags(packet) if packet[:1] in (b"\xfe", b"\x00") else None
                return Response(Status.OK, complete=flags is not None and not flags & MORE_RESULTS)
            at = end
    for at in range(len(tail) - 12):
        if tail[at + 4] == 0xFF and tail[at + 7] == 0x23 and tail[at] + 4 == len(tail) - at:
            return _error(tail[at + 4 :], exact=True)
    return Response(Status.OK)


def _error(packet: bytes, exact: bool) -> Response:
    number = int.from_bytes(packet[1:3], "little")
    sqlstate = packet[4:9].decode("ascii", "replace") if packet[3:4] == b"#" and len(packet) >= 9 else ""
    return Response(_mysql_errors.status(number, sqlstate), str(number), exact)


def _length_of_integer(first: int) -> int:
    """Bytes of a length-encoded integer.

    See: https://mariadb.com/kb/en/protocol-data-types/#length-encoded-integers
    """
    return {0xFC: 3, 0xFD: 4, 0xFE: 9}.get(first, 1)


def _ok_flags(packet: bytes) -> int | None:
    """Status flags of an OK packet; None where they are not in the bytes."""
    at = 1
    for _ in range(2):
        if at >= len(packet):
            return None
        at += _length_of_integer(packet[at])
    return int.from_bytes(packet[at : at + 2], "little") if at + 2 <= len(packet) else None


def _terminator(tail: bytes) -> int | None:
    """Status flags of the EOF or OK packet that `tail` ends in; both keep them at the fourth byte of the payload."""
    for size in TERMINATORS:
        at = len(tail) - 4 - size
        if at < 0:
            break
        if tail[at : at + 3] == bytes((size, 0, 0)) and (tail[at + 4] == 0xFE or (tail[at + 4] == 0 and size > 5)):
            return int.from_bytes(tail[at + 7 : at + 9], "little")
    return None
