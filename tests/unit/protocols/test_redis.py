import pytest

from node_agent.protocols import Status, redis
from node_agent.protocols._types import Message

from .turns import decode_both, resp

S = "Xsecret"

COMMANDS = [
    (("SET", "user:1001:name", S), "SET", "user:*:name", "SET user:*:name ?"),
    (("get", "user17"), "GET", "user*", "GET user*"),
    (("HSET", "h:550e8400-e29b-41d4-a716-446655440000", S, S), "HSET", "h:*", "HSET h:* ?"),
    (("HSET", "s.deadbeef99aa.x", S), "HSET", "s.*.x", "HSET s.*.x ?"),
    (("GET", "a" * 21), "GET", "*", "GET *"),
    (("GET", b"\xff\0bin"), "GET", "*", "GET *"),
    (("MSET", "a:1", S, "a:2", S), "MSET", "a:*", "MSET a:* ?"),
    (("EVAL", f"return '{S}'", "0"), "EVAL", "", "EVAL ?"),
    (("AUTH", S), "AUTH", "", "AUTH ?"),
    (("CONFIG", "GET", S), "CONFIG GET", "", "CONFIG GET ?"),
    (("CONFIG", S), "CONFIG", "", "CONFIG ?"),
    (("PING",), "PING", "", "PING"),
    (("PUBLISH", S, S), "PUBLISH", "", "PUBLISH ?"),
    ((S, S), "~other", "", "~other ?"),
    (("JSON.SET", "doc:1", "$", S), "JSON.SET", "doc:*", "JSON.SET doc:* ?"),
    (("GET", ""), "GET", "", "GET "),
]


@pytest.mark.parametrize(("words", "operation", "resource", "statement"), COMMANDS)
def test_command_and_key_pattern_are_shown_and_nothing_else(words, operation, resource, statement):
    (row,), _ = decode_both(redis.NUMBER, [(resp(*words), b"+OK\r\n")])
    assert (row["operation"], row["resource"], row["statement"]) == (operation, resource, statement)
    assert row["valid"]
    assert row["single"]
    assert row["framed"]
    assert S not in str(row)


@pytest.mark.parametrize(("answer", "status", "code", "framed"), [
    (b"+OK\r\n", Status.OK, "", True),
    (b"-ERR unknown Xsecret\r\n", Status.CLIENT_ERROR, "ERR", True),
    (b"-WRONGTYPE Operation\r\n", Status.CLIENT_ERROR, "WRONGTYPE", True),
    (b"-MOVED 3999 127.0.0.1:6381\r\n", Status.CLIENT_ERROR, "MOVED", True),
    (b"-OOM command not allowed\r\n", Status.SERVER_ERROR, "OOM", True),
    (b"-Xsecret said so\r\n", Status.CLIENT_ERROR, "~other", True),
    (b"-XSECRET said so\r\n", Status.CLIENT_ERROR, "~other", True),
    (b"-ERR " + b"x" * 100 + b"\r\n", Status.CLIENT_ERROR, "ERR", True),
    (b"!10\r\nSYNTAX bad\r\n", Status.CLIENT_ERROR, "SYNTAX", True),
    (b":12\r\n", Status.OK, "", True),
    (b"$5\r\nhello\r\n", Status.OK, "", True),
    (b"$500\r\n" + b"x" * 500 + b"\r\n", Status.OK, "", True),
    (b"$500\r\n" + b"x" * 400, Status.OK, "", False),
    (b"$-1\r\n", Status.OK, "", True),
    (b"_\r\n", Status.OK, "", True),
    (b"*3\r\n:1\r\n$1\r\na\r\n*2\r\n+x\r\n*-1\r\n", Status.OK, "", True),
    (b"*2\r\n:1\r\n", Status.OK, "", False),
    (b"%1\r\n+a\r\n,1.5\r\n", Status.OK, "", True),
    (b"|1\r\n+a\r\n#t\r\n:9\r\n", Status.OK, "", True),
    (b"*40\r\n" + b":1\r\n" * 40, Status.OK, "", False),
    (b"", Status.NO_RESPONSE, "", False),
])  # fmt: skip
def test_reply_of_each_type_is_framed(answer, status, code, framed):
    (row,), _ = decode_both(redis.NUMBER, [(resp("GET", "k"), answer)])
    assert (row["status"], row["status_code"], row["framed"]) == (status, code, framed)


def test_pipeline_is_split_and_each_command_gets_its_reply():
    turn = resp("SET", "a:1", S) + resp("INCR", "a:1") + resp("GET", "a:1")
    replies = b"+OK\r\n-ERR value\r\n$3\r\nabc\r\n"
    (row,), decoder = decode_both(redis.NUMBER, [(turn, replies)])
    assert not row["single"]
    parts = decoder.split(redis.NUMBER, turn, len(turn), replies, replies[-16:], len(replies))
    names = [decoder.strings[part.operation] for part in parts]
    assert names == ["SET", "INCR", "GET"]
    assert [part.status for part in parts] == [Status.OK, Status.CLIENT_ERROR, Status.OK]
    assert all(part.framed and part.seen for part in parts)
    cut = decoder.split(redis.NUMBER, turn, len(turn), replies[:9], replies[-16:], len(replies))
    assert [part.seen for part in cut] == [True, False, False]


def test_length_behind_the_prefix_is_told_where_its_header_shows():
    turn = resp("SET", "k", "x" * 1000)
    assert redis.split(turn[:64], len(turn)) == [Message(0, len(turn))]
    two = turn + resp("PING")
    assert redis.split(two[:64], len(two)) == [Message(0, len(turn)), Message(len(turn), None)]


def test_inline_command_is_valid_only_when_known():
    rows, _ = decode_both(
        redis.NUMBER, [(b"PING\r\n", b"+PONG\r\n"), (b"get user:1\r\n", b"$-1\r\n"), (b"Xsecret\r\n", b"")]
    )
    assert [(row["valid"], row["statement"]) for row in rows] == [(True, "PING"), (True, "GET user:*"), (False, "")]


def test_key_cut_behind_a_separator_is_not_the_key_that_ends_there():
    turns = [(resp("GET", "ab:"), b"$-1\r\n"), (resp("GET", "ab:cdefgh"), b"$-1\r\n")]
    rows, _ = decode_both(redis.NUMBER, turns, width=len(b"*2\r\n$3\r\nGET\r\n$9\r\nab:"))
    assert [row["resource"] for row in rows] == ["ab:", "ab:*"]


def test_key_cut_by_the_prefix_shows_no_part_that_its_rest_would_hide():
    (row,), _ = decode_both(redis.NUMBER, [(resp("GET", "session:" + "abcdefgh" * 30), b"$-1\r\n")], width=32)
    assert (row["resource"], row["truncated"]) == ("session:*", True)
