"""Whatever the bytes: no exception, the same by both paths, and no planted secret in any text."""

import random
import string

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node_agent.protocols import Decoder, registry
from tests.unit.protocols.turns import EOF_PACKET, NUMBERS, OK, TEXTS, decode_both, error, query, resp, shown

PROTOCOLS = sorted(registry.PROTOCOLS)
LIGHT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))

SECRET = "Zq7wSecretX9"
ALPHABET = {
    1: (
        b"GET ~POST ~/~?~&~=~ ~;~HTTP/1.1\r\n~\r\n~Content-Length: ~7~ab~Transfer-Encoding: chunked\r\n~"
        b"HTTP/1.1 200 OK\r\n~v1~http://~0\r\n\r\n~\t~\n~\xff"
    ).split(b"~"),
    2: (b"'~\"~`~\\~--~ ~\n~/*~*/~/*!~/*M!~#~1~e~-~.~SELECT~ FROM ~x~?~(~)~,~\x00~\x01~\xbf~\xc3\xa9~0x~\x03~a").split(
        b"~"
    ),
    3: (b"*~$~\r\n~1~2~-1~3~GET~SET~:~a~+~-ERR x~%~|~_~ab~CONFIG~\n~ ~0~!~99999999999~=~#t").split(b"~"),
}
STARTS = {
    1: [b"GET /", b""],
    2: [b"\x20\0\0\0\x03", b"\xff\0\0\0\x03", b"\x09\0\0\0\x16", b""],
    3: [b"*2\r\n$3\r\nGET\r\n", b"*", b""],
}
ANSWERS = {
    1: [b"HTTP/1.1 200 OK\r\n", b""],
    2: [OK, error(1064), EOF_PACKET, b"\1\0\0\1\2", b"\1\0\0\1\2" + bytes(30) + EOF_PACKET, b""],
    3: [b"+OK\r\n", b"*2\r\n", b"-", b""],
}


def soup(protocol, starts):
    """Bytes that look like the protocol, in wrong order."""
    parts = st.lists(st.sampled_from(ALPHABET[protocol]) | st.binary(max_size=3), max_size=30).map(b"".join)
    return st.tuples(st.sampled_from(starts), parts).map(b"".join) | st.binary(max_size=60)


def turns(protocol):
    turn = st.tuples(soup(protocol, STARTS[protocol]), soup(protocol, ANSWERS[protocol]))
    return st.lists(turn, min_size=1, max_size=12)


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_both_paths_agree_on_anything(protocol):
    @LIGHT
    @given(turns(protocol), st.sampled_from([8, 40, 128]), st.sampled_from([3, 16, 64]))
    def check(some, width, answer_width):
        decode_both(protocol, some, width, answer_width)

    check()


@pytest.mark.parametrize("protocol", PROTOCOLS)
def test_scalar_parsers_never_raise(protocol):
    module = registry.PROTOCOLS[protocol]

    @LIGHT
    @given(
        soup(protocol, STARTS[protocol]),
        soup(protocol, ANSWERS[protocol]),
        st.integers(0, 2**40),
        st.integers(0, 2**40),
    )
    def check(prefix, head, request_bytes, response_bytes):
        messages = module.split(prefix, request_bytes)
        assert [m.offset for m in messages] == sorted({m.offset for m in messages})
        assert all(m.length is not None for m in messages[:-1])
        request = module.parse_request(prefix)
        module.parse_response(head, head[-16:], response_bytes, request)
        module.response_end(head, 0, request)
        parts = Decoder().split(protocol, prefix, request_bytes, head, head[-16:], response_bytes)
        assert len(parts) == len(messages)

    check()


# --- SQL whose literals are secrets ---------------------------------------------------------------------------

INSIDE = st.lists(
    st.sampled_from(
        ["''", "\\'", "\\\\", '"', "`", "--", "-- ", "/*", "*/", "#", "(", ";", "é", "中", "\\n", "5", " "]
    ),
    max_size=4,
)


@st.composite
def literal(draw):
    kind = draw(st.sampled_from(["'", '"', "number", "hex", "comment", "line"]))
    if kind == "number":
        return f"7{SECRET}"  # digits first, as in 0x..., 1e5
    if kind == "hex":
        return f"x'{SECRET}'"
    if kind == "comment":
        return f"/* {SECRET} ' */"
    if kind == "line":
        return f"-- it's {SECRET}\n"
    before, after = ("".join(draw(INSIDE)) for _ in range(2))
    text = f"{before}{SECRET}{after}"
    if kind == '"':
        text = text.replace('"', '""').replace("\\'", "").replace("''", "'")
    return f"{kind}{text}{kind}"


@st.composite
def sql(draw):
    words = st.sampled_from(
        ["SELECT a", "FROM t", "WHERE b =", "`c d`", "IN (", ")", ",", "VALUES (", "+", "LIKE", "AND", "x.y", "\n", ";"]
    )
    parts = draw(st.lists(words | literal(), min_size=2, max_size=14))
    return " ".join(parts)


@LIGHT
@given(st.lists(st.tuples(sql(), st.integers(0, 400), st.booleans()), min_size=1, max_size=6))
@example([(f"SELECT 'a\\\\\\'{SECRET}'", 0, True)])
@example([(f"SELECT 'é\\'{SECRET}'", 0, True)])
def test_no_literal_of_a_statement_survives(statements):
    some = []
    for text, cut, answered in statements:
        whole = query(text)
        some.append((whole[: max(6, len(whole) - cut)], OK if answered else error(1064)))
    for width in (64, 512):
        rows, _ = decode_both(NUMBERS["mysql"], some, width, 64)
        assert SECRET not in shown(rows)
        assert SECRET[:6] not in shown(rows)


@LIGHT
@given(st.lists(st.tuples(sql(), st.integers(5, 200)), min_size=1, max_size=6))
def test_literals_do_not_change_the_statement(statements):
    secret, other = (
        decode_both(NUMBERS["mysql"], [(query(text.replace(SECRET, by)), OK) for text, _ in statements], 1024, 64)[0]
        for by in (SECRET, "X" * len(SECRET))
    )
    assert [row["statement_id"] for row in secret] == [row["statement_id"] for row in other]


def without_backslash_escapes(text):
    """What a server in NO_BACKSLASH_ESCAPES takes for literals in `text`: an independent reading, for '...' only."""
    found, at = [], 0
    while (at := text.find("'", at)) >= 0:
        end = at + 1
        while end < len(text) and not (text[end] == "'" and text[end + 1 : end + 2] != "'"):
            end += 2 if text[end] == "'" else 1
        found.append(text[at + 1 : end])
        at = end + 1
    return found


@LIGHT
@given(st.lists(st.text(alphabet="ab\\'\" ", max_size=6), min_size=1, max_size=4), st.booleans())
def test_server_without_backslash_escapes_leaks_nothing(values, answered):
    text = "SELECT " + ", ".join("'" + value.replace("'", "''") + SECRET + "\\'" for value in values)
    assert sum(SECRET in found for found in without_backslash_escapes(text)) == len(values)
    plain = bytearray(OK)
    plain[8] |= 2
    rows, _ = decode_both(NUMBERS["mysql"], [(query(text), bytes(plain) if answered else error(1064))], 512, 64)
    assert SECRET not in shown(rows)


# --- Redis and HTTP -----------------------------------------------------------------------------------------------

COMMAND = st.sampled_from(
    ["SET", "get", "HSET", "MSET", "EVAL", "AUTH", "CONFIG", "XADD", "NOSUCH", "PUBLISH", "JSON.SET"]
)


@LIGHT
@given(
    st.lists(
        st.tuples(
            COMMAND,
            st.lists(st.sampled_from([SECRET, f"id:{SECRET}", f"{SECRET}:id", "k:1", ""]), max_size=4),
            st.integers(0, 60),
        ),
        min_size=1,
        max_size=6,
    )
)
def test_no_argument_of_a_command_survives(commands):
    some = []
    for command, arguments, cut in commands:
        whole = resp(command, *arguments)
        some.append((whole[: max(1, len(whole) - cut)], f"-ERR {SECRET}\r\n".encode()))
        some.append((whole * 3, f"-{SECRET} {SECRET}\r\n".encode()))
    rows, decoder = decode_both(NUMBERS["redis"], some, 128, 64)
    assert SECRET not in shown(rows)
    for request, response in some:
        decoder.split(NUMBERS["redis"], request, len(request), response, response[-16:], len(response))
    assert not any(SECRET in text for text in decoder.strings.texts)


PLACES = [
    "/{}",
    "/a/{}/b",
    "/a?{}",
    "/a?x={}",
    "/a?x=1&{}=2",
    "/a;{}",
    "/a;s={}/b",
    "http://u:{}@h/a",
    "/a?x={}&y",
    "{}:443",
    "/%20{}",
]


@LIGHT
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 80)), min_size=1, max_size=8))
def test_no_value_of_a_target_or_header_survives(requests):
    some = []
    for place, cut in requests:
        target = place.format(SECRET)
        whole = f"GET {target} HTTP/1.1\r\nAuthorization: {SECRET}\r\nCookie: a={SECRET}\r\n\r\n{SECRET}".encode()
        some.append((whole[: max(5, len(whole) - cut)], f"HTTP/1.1 404 {SECRET}\r\nX: {SECRET}\r\n\r\n".encode()))
    for width in (24, 128):
        rows, _ = decode_both(NUMBERS["http1"], some, width, 64)
        assert SECRET not in shown(rows)


def test_random_ids_make_few_texts_and_few_parses():
    made = random.Random(5)
    some = []
    for _ in range(2000):
        token = "".join(made.choices(string.hexdigits.lower(), k=32))
        word = "".join(made.choices(string.ascii_letters + string.digits, k=43))
        some += [(f"GET /o/{token}/{word} HTTP/1.1\r\n\r\n".encode(), b"")]
    rows, decoder = decode_both(NUMBERS["http1"], some)
    assert {row["resource"] for row in rows} == {"/o/{id}/{id}"}
    assert decoder.parsed < 10  # the hash takes back what an id begins with
    rows, decoder = decode_both(NUMBERS["redis"], [(resp("GET", f"o:{turn[0][7:39].decode()}"), b"") for turn in some])
    assert {row["resource"] for row in rows} == {"o:*"}
    assert decoder.parsed < 10
    assert len(decoder.strings) < 10
    assert set(TEXTS) <= set(rows[0])
