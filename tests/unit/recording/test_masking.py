"""Masked records give the rows of the original ones, and hold no literal."""

import numpy as np
import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from node_agent.kernel import layout
from node_agent.masking import MASKERS, Masker, cleaned
from node_agent.protocols import registry
from tests.fuzz.test_protocols import ANSWERS, PLACES, SECRET, STARTS, literal, soup, sql
from tests.unit.protocols.turns import EOF_PACKET, NUMBERS, OK, error, golden, query, resp

from .turns import records, shown

LIGHT = settings(max_examples=150, deadline=None, suppress_health_check=list(HealthCheck))
RINGS = sorted(layout.TURNS)
SECRETS = (SECRET.encode(), SECRET[:6].encode())
WHOLE = b"HTTP/1.1 200 OK\r\nContent-Length: 7\r\nX-Token: %s\r\n\r\nsecret7"


def check(protocol, turns, ring="small_turns", segments=None, secrets=SECRETS):
    original = records(protocol, turns, ring, segments)
    masked = Masker().mask(original)
    assert masked.dtype == original.dtype
    assert shown(masked, ring) == shown(original, ring)
    for secret in (*secrets, b"LEFTOVER"):
        assert secret not in masked.tobytes()
    # A masked record is its own mask: nothing in it is taken for a literal.
    assert Masker().mask(masked).tobytes() == masked.tobytes()
    return masked


def test_every_protocol_has_a_masker():
    assert set(MASKERS) == set(registry.PROTOCOLS)
    assert list(MASKERS) == sorted(MASKERS)


@pytest.mark.parametrize("ring", RINGS)
@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_recorded_turns_give_the_same_rows_masked(name, ring):
    turns = golden(name)
    check(NUMBERS[name], turns, ring, secrets=(b"secret", b"made-up", b"4711", b"it\\'s"))


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_cut_of_a_recorded_turn_gives_the_same_rows_masked(name):
    for request, response in golden(name)[:40]:
        cuts = [(request[:cut], response) for cut in range(1, len(request), 5)]
        cuts += [(request, response[:cut]) for cut in range(0, len(response), 7)]
        check(NUMBERS[name], cuts, "medium_turns", secrets=(b"secret",))


@pytest.mark.parametrize("protocol", sorted(MASKERS))
def test_whatever_the_bytes_the_rows_are_the_same(protocol):
    answers = soup(protocol, ANSWERS[protocol])
    if protocol == NUMBERS["mysql"]:  # any other is masked as a whole, see below
        answers = answers.filter(lambda answer: len(answer) <= 4 or answer[3] == 1 or answer == EOF_PACKET)
    turn = st.tuples(soup(protocol, STARTS[protocol]).filter(bool), answers)

    @LIGHT
    @given(st.lists(turn, min_size=1, max_size=6), st.sampled_from(RINGS))
    def run(turns, ring):
        original = records(protocol, turns, ring)
        masked = Masker().mask(original)
        assert shown(masked, ring) == shown(original, ring)

    run()


@LIGHT
@given(st.lists(st.tuples(sql(), st.integers(0, 400), st.booleans()), min_size=1, max_size=6), st.sampled_from(RINGS))
@example([(f"SELECT 'a\\\\\\'{SECRET}'", 0, True)], "small_turns")
@example([(f"SELECT 'é\\'{SECRET}'", 0, True)], "small_turns")
def test_no_literal_of_a_statement_is_in_the_records(statements, ring):
    turns = []
    for text, cut, answered in statements:
        whole = query(text)
        answer = b"\1\0\0\1\2\x09\0\0\2Zq7wSecre" + EOF_PACKET if answered else error(1064, message=SECRET)
        turns.append((whole[: max(6, len(whole) - cut)], answer))
    check(NUMBERS["mysql"], turns, ring)


@LIGHT
@given(st.lists(literal(), min_size=1, max_size=4))
def test_no_literal_of_two_statements_in_one_turn_is_in_the_records(literals):
    text = "SELECT a FROM t WHERE b IN (" + ", ".join(literals) + ")"
    close = query(SECRET[:4].encode(), 25)
    masked = check(NUMBERS["mysql"], [(close + query(text), OK)], "large_turns")
    rows, _ = shown(masked, "large_turns")
    assert [row["operation"] for row in rows] == ["CLOSE", "SELECT"]


@LIGHT
@given(
    st.lists(
        st.tuples(
            st.sampled_from(["SET", "get", "HSET", "MSET", "EVAL", "AUTH", "CONFIG", "XADD", "NOSUCH", "JSON.SET"]),
            st.lists(st.sampled_from([SECRET, f"id:{SECRET}", f"{SECRET}:id", "k:1", ""]), max_size=4),
            st.integers(0, 60),
            st.sampled_from(
                [f"-ERR {SECRET}\r\n", f"-{SECRET} {SECRET}\r\n", f"+{SECRET}\r\n", f"$12\r\n{SECRET}\r\n"]
            ),
        ),
        min_size=1,
        max_size=6,
    ),
    st.sampled_from(RINGS),
)
def test_no_argument_of_a_command_is_in_the_records(commands, ring):
    turns = []
    for command, arguments, cut, answer in commands:
        whole = resp(command, *arguments)
        turns.append((whole[: max(1, len(whole) - cut)], answer.encode()))
        turns.append((whole * 3, answer.encode() * 3))
    check(NUMBERS["redis"], turns, ring)


@LIGHT
@given(
    st.lists(st.tuples(st.sampled_from(PLACES), st.integers(0, 80), st.integers(0, 40)), min_size=1, max_size=6),
    st.sampled_from(RINGS),
)
def test_no_value_of_a_target_header_or_body_is_in_the_records(requests, ring):
    turns = []
    for place, cut, answer_cut in requests:
        head = f"POST {place.format(SECRET)} HTTP/1.1\r\nAuthorization: {SECRET}\r\nContent-Length: 12\r\n\r\n"
        whole = (head + SECRET).encode()
        answer = f"HTTP/1.1 404 {SECRET}\r\nX: {SECRET}\r\nContent-length: 12\r\n\r\n{SECRET}".encode()
        turns.append((whole[: max(5, len(whole) - cut)], answer[: len(answer) - answer_cut]))
        turns.append((whole * 2, answer * 2))
    check(NUMBERS["http1"], turns, ring)


def test_an_answer_out_of_sequence_is_masked_as_a_whole():
    masked = Masker().mask(records(NUMBERS["mysql"], [(query("SELECT 1"), b"Zq7wSecretX9 and more")]))
    assert masked["response"][0].tobytes().rstrip(b"\0") == b"x" * 21


def test_what_random_bytes_found():
    check(NUMBERS["redis"], [(resp("GET"), b"!"), (resp("GET"), b"!x\r\n")])
    check(NUMBERS["mysql"], [(query("'" * 7, 22) + b"'", EOF_PACKET)], "large_turns")


def test_a_key_that_is_a_uuid_of_letters_is_not_in_the_records():
    masked = check(NUMBERS["redis"], [(resp("GET", "u:deadbeef-cafe-babe-feed-facadedecade"), b"$-1\r\n")])
    rows, _ = shown(masked)
    assert rows[0]["resource"] == "u:*"
    assert b"deadbeef" not in masked.tobytes()


def test_answers_that_a_call_each_moved_keep_their_status_and_nothing_else():
    answers = [WHOLE % SECRET.encode(), b"HTTP/1.1 404 Zq7wSecret\r\nContent-Length: 0\r\n\r\n", WHOLE % b"Zq7wSecret"]
    request = f"GET /a?t={SECRET} HTTP/1.1\r\n\r\n".encode() * 3
    turns, sizes = [(request, b"".join(answers))], [[len(answer) for answer in answers]]
    masked = check(NUMBERS["http1"], turns, "large_turns", sizes)
    rows, _ = shown(masked, "large_turns")
    assert [row["status_code"] for row in rows] == ["200", "404", "200"]


def test_chunked_answers_that_a_call_each_moved_stay_framed():
    answer = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7\r\nsecret7\r\n0\r\n\r\n"
    empty = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n"
    for one in (answer, empty):
        request = b"GET /a HTTP/1.1\r\n\r\n" * 2
        masked = check(NUMBERS["http1"], [(request, one * 2)], "large_turns", [[len(one)] * 2], secrets=(b"secret",))
        assert shown(masked, "large_turns")[0][0]["ended_by"] == 1
        check(NUMBERS["http1"], [(b"GET /a HTTP/1.1\r\n\r\n", one)], "medium_turns", secrets=(b"secret",))


def test_bytes_of_a_protocol_without_a_masker_are_gone_but_for_their_number():
    original = records(3, [(b"Zq7wSecretX9", b"Zq7wSecretX9Zq7wSecretX9")])
    original["turn"]["protocol"] = 0
    masked = Masker().mask(original)
    assert b"Zq7w" not in masked.tobytes()
    assert masked["request"][0].tobytes().rstrip(b"\0") == b"x" * 12


def test_sockets_are_masked_and_hold_nothing_between_their_fields():
    request = query("SELECT 'Zq7wSecretX9'")
    conns = np.frombuffer(b"Zq7wSecretX9" * 1000, dtype=np.uint8)[: 2 * layout.REQUEST_CONN.itemsize]
    conns = conns.copy().view(layout.REQUEST_CONN)
    for conn, turn in zip(conns, conns["turn"], strict=True):
        conn["protocol"], conn["request"][: len(request)] = 2, np.frombuffer(request, np.uint8)
        turn["request_captured"] = turn["request_bytes"] = len(request)
        turn["response_captured"] = turn["response_bytes"] = 0
        turn["comm"] = b"mysqld"
        conn["local_ip"], conn["remote_ip"] = 0, 0
    masked = Masker().mask(conns)
    for name in ("number", "connection_id", "local_port", "remote_port", "pid"):
        masked[name] = 0
    for name in masked["turn"].dtype.names:
        if name not in ("tail", "comm"):
            masked["turn"][name] = 0
    assert b"Secret" not in masked.tobytes()
    assert b"SELECT '" in masked.tobytes()


def test_what_stands_behind_a_name_is_gone():
    some = records(3, [(b"PING\r\n", b"+PONG\r\n")])
    some["turn"]["comm"] = b"app\0Zq7wSecretX9"
    assert cleaned(some)["turn"]["comm"].tobytes() == b"app".ljust(16, b"\0")
