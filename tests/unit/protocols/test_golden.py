"""Bytes recorded from real servers: tests/data/record.py."""

from collections import Counter

import pytest

from node_agent.protocols import Status

from .turns import NUMBERS, decode_both, golden, shown


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_recorded_request_is_valid_framed_and_without_secrets(name):
    turns = golden(name)
    if name == "mysql":
        turns = [turn for turn in turns if turn[0][3:4] == b"\0"]  # without logins
    rows, _ = decode_both(NUMBERS[name], turns, 1024, 512)
    assert all(row["valid"] for row in rows)
    unframed = [turn for turn, row in zip(turns, rows, strict=True) if row["single"] and not row["framed"]]
    assert all(len(response) > 512 for _, response in unframed)
    assert "secret" not in shown(rows)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_cut_of_a_recorded_request_gives_the_same_by_both_paths_and_no_secret(name):
    for request, response in golden(name)[:40]:
        turns = [(request[:cut], response) for cut in range(0, len(request), 3)]
        rows, _ = decode_both(NUMBERS[name], turns, 128, 64)
        assert "secret" not in shown(rows)


@pytest.mark.parametrize("name", sorted(NUMBERS))
def test_every_cut_of_a_recorded_response_gives_the_same_by_both_paths(name):
    for request, response in golden(name)[:40]:
        decode_both(NUMBERS[name], [(request, response[:cut]) for cut in range(0, len(response), 7)], 256, 64)


def test_mysql_statements_and_errors_are_those_that_were_sent():
    turns = [turn for turn in golden("mysql") if turn[0][3:4] == b"\0"]
    rows, _ = decode_both(NUMBERS["mysql"], turns, 1024, 512)
    codes = Counter(row["status_code"] for row in rows if row["status"] != Status.OK and row["status_code"])
    assert codes == {"1146": 1, "1064": 1, "1062": 1, "1242": 1}
    statements = {row["statement"] for row in rows}
    assert "SELECT name FROM people WHERE id IN (?) AND name <> ?" in statements
    assert "INSERT INTO `shop`.`people` (id, name) VALUES (?)" in statements
    assert {"QUIT", "PREPARE", "EXECUTE", "SEND_LONG_DATA", "PING"} <= {row["operation"] for row in rows}


def test_mysql_server_says_when_backslashes_do_not_escape():
    turns = [turn for turn in golden("mysql") if turn[0][5:].startswith(b"SELECT 'a\\'")]
    (row,), _ = decode_both(NUMBERS["mysql"], turns)
    assert row["statement"] == "SELECT ?, ?"


def test_mysql_commands_without_answer_are_split_from_the_next():
    several = [turn for turn in golden("mysql") if turn[0][4:5] == b"\x18"]
    for request, response in several:
        _, decoder = decode_both(NUMBERS["mysql"], [(request, response)])
        parts = decoder.split(NUMBERS["mysql"], request, len(request), response, response[-16:], len(response))
        names = [decoder.strings[part.operation] for part in parts]
        assert names == ["SEND_LONG_DATA", "CLOSE", "RESET_CONNECTION"]
        assert [part.status for part in parts] == [Status.ONE_WAY, Status.ONE_WAY, Status.OK]
    assert several


def test_redis_transaction_is_split_into_its_commands():
    pipelines = [turn for turn in golden("redis") if b"MULTI" in turn[0]]
    assert len(pipelines) == 2
    for request, response in pipelines:
        _, decoder = decode_both(NUMBERS["redis"], [(request, response)], 384, 256)
        parts = decoder.split(NUMBERS["redis"], request, len(request), response, response[-16:], len(response))
        assert [decoder.strings[part.operation] for part in parts] == ["MULTI", "SET", "GET", "INCRBY", "EXEC"]
        assert all(part.framed for part in parts)


def test_redis_errors_are_those_of_the_server():
    rows, _ = decode_both(NUMBERS["redis"], golden("redis"), 384, 512)
    words = Counter(row["status_code"] for row in rows if row["status"] == Status.CLIENT_ERROR)
    assert words["WRONGTYPE"] == 2
    assert words["ERR"] >= 4


def test_http1_codes_are_those_of_the_server():
    rows, _ = decode_both(NUMBERS["http1"], golden("http1"), 384, 512)
    codes = Counter(row["status_code"] for row in rows)
    assert codes["404"] >= 1
    assert codes["500"] == codes["204"] == codes["301"] == 1
    assert {"/items/{id}", "/broken"} <= {row["resource"] for row in rows}
