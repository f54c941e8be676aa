import pytest

from node_agent.protocols import Status, _sql, mysql
from node_agent.protocols._types import Message, Request

from .turns import EOF_PACKET, OK, decode_both, error, query

S = "Xsecret"

MASKS = [
    (f"SELECT a FROM t WHERE b = '{S}'", "SELECT", "t", "SELECT a FROM t WHERE b = ?"),
    (f"select a from t where b = '{S}", "SELECT", "t", "select a from t where b = ?"),
    (f"SELECT '{S}''{S}', \"{S}\" FROM `d b`.`t`", "SELECT", "d b.t", "SELECT ?, ? FROM `d b`.`t`"),
    (f"SELECT 'it\\'s {S}', 'a\\\\' FROM t", "SELECT", "t", "SELECT ?, ? FROM t"),
    (f"SELECT 1 -- {S}\n, 2 FROM t # {S}", "SELECT", "t", "SELECT ? , ? FROM t"),
    (f"SELECT 1 /* {S} */ FROM t", "SELECT", "t", "SELECT ? FROM t"),
    ("SELECT a-1, a--1, a/b FROM t", "SELECT", "t", "SELECT a-?, a--?, a/b FROM t"),
    ("SELECT 0x1F, x'41', 1e-5, .5, -3, N'a', _utf8'b' FROM t1", "SELECT", "t1", "SELECT ?, ?, ?, ?, ?, ?, ? FROM t1"),
    (
        "SELECT * FROM t WHERE a IN (1,2, 'x') AND b IN (1)",
        "SELECT",
        "t",
        "SELECT * FROM t WHERE a IN (?) AND b IN (?)",
    ),
    ("INSERT INTO t (a,b) VALUES (1,'x'),(2, NULL) , (3,'y')", "INSERT", "t", "INSERT INTO t (a,b) VALUES (?)"),
    ("UPDATE LOW_PRIORITY shop.t SET a=1", "UPDATE", "shop.t", "UPDATE LOW_PRIORITY shop.t SET a=?"),
    ("DELETE FROM t WHERE EXTRACT(YEAR FROM d) = 2024", "DELETE", "t", "DELETE FROM t WHERE EXTRACT(YEAR FROM d) = ?"),
    ("SELECT EXTRACT(YEAR FROM d) FROM t", "SELECT", "t", "SELECT EXTRACT(YEAR FROM d) FROM t"),
    ("SELECT SLEEP(0.2)", "SELECT", "", "SELECT SLEEP(?)"),
    ("CALL p(1, 2)", "CALL", "p", "CALL p(?)"),
    ("CREATE TABLE IF NOT EXISTS t (a INT)", "CREATE", "t", "CREATE TABLE IF NOT EXISTS t (a INT)"),
    ("  (SELECT 1) UNION (SELECT 2)", "SELECT", "", "(SELECT ?) UNION (SELECT ?)"),
    ("/* c */ COMMIT", "COMMIT", "", "COMMIT"),
    ("/*!40101 SET NAMES utf8mb4 */", "SET", "", "SET NAMES utf"),
    (f"/*!40101 SET a = '{S}' */ {S}", "SET", "", "SET a = ..."),
    ("gibberish 'x'", "~other", "", "gibberish ?"),
    ("PREPARE s FROM 'SELECT 1'", "SQL PREPARE", "", "PREPARE s FROM ?"),
    (f"SELECT `a` FROM `t' {S}", "SELECT", "", "SELECT `a` FROM `t ..."),
    (b"\x00\x01SELECT a FROM t", "SELECT", "t", "SELECT a FROM t"),
    (b"\x01\x01\x00\x01\x08\x00\x04nameSELECT 1", "~other", "", "..."),
    (b"\x00\x02" + S.encode(), "~other", "", "..."),
    ("SELECT a", "SELECT", "", "SELECT a"),
    ("", "~other", "", ""),
]


@pytest.mark.parametrize(("text", "operation", "table", "statement"), MASKS)
def test_statement_is_shown_without_its_literals(text, operation, table, statement):
    (row,), _ = decode_both(mysql.NUMBER, [(query(text), OK)])
    assert row["valid"]
    assert row["single"]
    assert row["framed"]
    if statement.startswith("SET NAMES"):
        assert row["statement"].startswith(statement)
    else:
        assert row["statement"] == statement
    assert (row["operation"], row["resource"]) == (operation, table)
    assert S not in str(row)


def test_escaped_quote_is_believed_only_with_the_servers_status_flags():
    text = f"SELECT 'a\\', '{S} -- '"
    plain = bytearray(OK)
    plain[8] |= 0x02  # NO_BACKSLASH_ESCAPES
    rows, _ = decode_both(
        mysql.NUMBER, [(query(text), bytes(plain)), (query(text), error(1064)), (query("SELECT 'it\\'s', a"), OK)]
    )
    assert [row["statement"] for row in rows] == ["SELECT ?, ?", "SELECT ? ...", "SELECT ?, a"]
    # as a server with backslash escapes reads it, the secret is a name: the server said so, and would complain
    assert mysql.parse_request(query(text), _sql.STRICT).statement == "SELECT ? ..."


def test_name_that_may_end_in_half_a_character_hides_what_its_backtick_would_turn_inside_out():
    # GBK: 0xBF60 is one character, so there is no backtick, and the quote behind it begins a string
    (row,), _ = decode_both(mysql.NUMBER, [(query(b"SELECT a\xbf` , '" + S.encode() + b"` '"), OK)])
    assert row["statement"] == "SELECT a\ufffd ..."


def test_same_text_is_another_statement_by_another_command_or_status_flags():
    text, plain = "SELECT 'it\\'s', a", bytearray(OK)
    prepared = b"\x0c\0\0\1\0\1" + bytes(10)
    plain[8] |= 0x02
    turns = [(query(text), OK), (query(text), error(1064)), (query(text), bytes(plain)), (query(text, 22), prepared)]
    for order in (turns, turns[::-1]):
        rows, _ = decode_both(mysql.NUMBER, order)
        shown = {(row["operation"], row["statement"]) for row in rows}
        assert shown == {
            ("SELECT", "SELECT ?, a"),
            ("SELECT", "SELECT ? ..."),
            ("SELECT", "SELECT ?s?"),
            ("PREPARE", "SELECT ? ..."),
        }


def test_multibyte_character_that_holds_a_backslash_hides_the_rest():
    # GBK: 0xBF5C is one character, so the quote behind it ends the string
    (row,), _ = decode_both(mysql.NUMBER, [(query(b"SELECT '\xbf\\', " + S.encode() + b" , 'x'"), OK)])
    assert row["statement"] == "SELECT ? ..."


@pytest.mark.parametrize(("code", "operation", "one_way", "counted"), [
    (1, "QUIT", True, True), (2, "INIT_DB", False, True), (14, "PING", False, False), (9, "STATISTICS", False, False),
    (22, "PREPARE", False, False), (23, "EXECUTE", False, True), (24, "SEND_LONG_DATA", True, True),
    (25, "CLOSE", True, False), (26, "RESET", False, False), (31, "RESET_CONNECTION", False, True),
])  # fmt: skip
def test_other_commands_are_named(code, operation, one_way, counted):
    (row,), _ = decode_both(mysql.NUMBER, [(query("shop", code), b"" if one_way else OK)])
    assert (row["operation"], row["one_way"], row["counted"]) == (operation, one_way, counted)
    assert row["status"] == (Status.ONE_WAY if one_way else Status.OK)
    assert row["resource"] == ("shop" if code == 2 else "")


@pytest.mark.parametrize(("number", "sqlstate", "status"), [
    (1064, "42000", Status.CLIENT_ERROR), (1146, "42S02", Status.CLIENT_ERROR), (1062, "23000", Status.CLIENT_ERROR),
    (1364, "HY000", Status.CLIENT_ERROR), (1205, "HY000", Status.SERVER_ERROR), (1213, "40001", Status.SERVER_ERROR),
    (1040, "08004", Status.SERVER_ERROR), (1226, "42000", Status.SERVER_ERROR), (3024, "HY000", Status.SERVER_ERROR),
])  # fmt: skip
def test_error_is_told_by_number_and_sqlstate(number, sqlstate, status):
    (row,), _ = decode_both(mysql.NUMBER, [(query("SELECT 1"), error(number, sqlstate))])
    assert (row["status"], row["status_code"], row["framed"]) == (status, str(number), True)


def test_result_set_ends_in_eof_or_ok_without_more_results():
    start = b"\x01\x00\x00\x01\x02" + bytes(80)
    more = b"\x05\x00\x00\x05\xfe\x00\x00\x0a\x00"
    deprecate = b"\x07\x00\x00\x05\xfe\x00\x00\x02\x00\x00\x00"
    rows, _ = decode_both(
        mysql.NUMBER, [(query("SELECT 1"), start + end) for end in (EOF_PACKET, more, deprecate, b"row")]
    )
    assert [row["framed"] for row in rows] == [True, False, True, False]
    assert {row["status"] for row in rows} == {Status.OK}


def test_error_behind_rows_is_found_where_all_of_the_answer_was_captured():
    late = b"\x01\x00\x00\x01\x01" + b"\x02\x00\x00\x02ab" + EOF_PACKET + error(1317, "70100", "Query execution")
    (row,), _ = decode_both(mysql.NUMBER, [(query("SELECT 1"), late)])
    assert (row["status"], row["status_code"], row["framed"]) == (Status.SERVER_ERROR, "1317", True)
    tail = mysql.parse_response(b"\x01\x00\x00\x01\x01", error(1317, "70100", "abc"), 500, Request(True, "SELECT"))
    assert (tail.status_code, tail.complete) == ("1317", True)


def test_close_before_a_query_is_a_message_of_its_own():
    turn = query(b"\1\0\0\0", 25) + query("SELECT 1")
    assert mysql.split(turn, len(turn)) == [Message(0, 9, True), Message(9, 13)]
    (row,), decoder = decode_both(mysql.NUMBER, [(turn, OK)])
    assert not row["single"]
    first, second = decoder.split(mysql.NUMBER, turn, len(turn), OK, OK, len(OK))
    assert (first.status, first.one_way, second.status, second.framed) == (Status.ONE_WAY, True, Status.OK, True)
    assert decoder.strings[second.statement] == "SELECT ?"


@pytest.mark.parametrize("data", [b"", b"\1", b"\0\0\0\0\3", b"\5\0\0\1\3SELE", b"\5\0\0\0\x7fabcd"])
def test_bytes_that_are_no_command_are_not_valid(data):
    assert not mysql.parse_request(data).valid
    (row,), _ = decode_both(mysql.NUMBER, [(data, OK)])
    assert not any(row[name] for name in row)


def test_statement_longer_than_the_prefix_has_the_same_id_at_both_ends():
    text = "SELECT a FROM t WHERE b IN (" + ", ".join(map(str, range(900))) + ")"
    (row,), _ = decode_both(mysql.NUMBER, [(query(text), OK)], 1024)
    (again,), _ = decode_both(mysql.NUMBER, [(query(text), OK)], 2048)
    assert row["truncated"]
    assert row["statement"] == "SELECT a FROM t WHERE b IN (?"
    assert row["statement_id"] == again["statement_id"]


def test_counted_agrees_with_what_the_server_added_to_questions():
    import json

    from .turns import DATA

    adds = json.loads((DATA / "mysql_questions.json").read_text())["adds"]
    for code, operation in mysql.COMMANDS.items():
        if operation in adds and operation != "QUERY":
            assert mysql.parse_request(query("x", code)).counted == bool(adds[operation]), operation
