"""The SQL port as a hostile client sees it."""

from __future__ import annotations

import http.client
import os
from pathlib import Path
from urllib.parse import urlencode

import pytest

from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

REFUSED = [
    "SELECT * FROM file('/etc/passwd', 'LineAsString')",
    "SELECT file('/etc/passwd')",
    "DESCRIBE TABLE file('/etc/passwd', 'LineAsString')",
    "SELECT * FROM url('http://127.0.0.1:1/', 'CSV', 'a String')",
    "SELECT * FROM executable('ls', 'CSV', 'a String')",
    "SELECT * FROM s3('http://127.0.0.1:1/bucket/x', 'CSV', 'a String')",
    "SELECT * FROM remote('127.0.0.1', 'system', 'one')",
    "SELECT * FROM python('x')",
    "INSERT INTO requests (host) VALUES ('x')",
    "INSERT INTO FUNCTION file('/tmp/sonde-test', 'CSV', 'a UInt8') VALUES (1)",
    "WITH x AS (SELECT 1) INSERT INTO requests (host) SELECT 'x'",
    "CREATE TABLE evil (a UInt8) ENGINE = Memory",
    "CREATE TEMPORARY TABLE evil (a UInt8)",
    "CREATE FUNCTION evil AS (x) -> x",
    "ALTER TABLE requests DELETE WHERE 1",
    "DROP TABLE requests",
    "TRUNCATE TABLE requests",
    "OPTIMIZE TABLE requests",
    "SYSTEM SHUTDOWN",
    "KILL QUERY WHERE 1",
    "SET readonly = 0",
    "SELECT 1 SETTINGS readonly = 0",
    "SELECT 1 SETTINGS max_memory_usage = 0",
    "SELECT 1; DROP TABLE requests",
    "SELECT * FROM numbers(1e12) SETTINGS max_execution_time = 0",
]


def ask(
    aggregator: Aggregator, body: str, headers: dict[str, str] | None = None, method: str = "POST", **parameters: str
) -> tuple[int, str, http.client.HTTPMessage]:
    connection = http.client.HTTPConnection("127.0.0.1", aggregator.sql, timeout=60)
    try:
        connection.request(method, f"/?{urlencode(parameters)}", body=body.encode(), headers=headers or {})
        answer = connection.getresponse()
        return answer.status, answer.read().decode(), answer.headers
    finally:
        connection.close()


@pytest.mark.parametrize("query", REFUSED)
def test_what_does_not_only_read_is_refused(aggregator: Aggregator, query: str) -> None:
    status, body, headers = ask(aggregator, query)
    assert 400 <= status < 600
    assert int(headers["X-ClickHouse-Exception-Code"]) > 0
    assert body.startswith("Code: ")
    assert "root:" not in body
    assert ask(aggregator, "SELECT count() FROM system.tables WHERE name = 'requests'")[1] == "1\n"


def test_nothing_is_written_to_a_file(aggregator: Aggregator, tmp_path: Path) -> None:
    target = tmp_path / "out"
    assert ask(aggregator, f"SELECT 1 INTO OUTFILE '{target}'")[0] == 403
    assert not os.path.exists(target)


@pytest.mark.parametrize(
    "parameters", [{"readonly": "0"}, {"allow_ddl": "1"}, {"max_memory_usage": "0x"}, {"format_schema": "/etc/passwd"}]
)
def test_settings_outside_the_allow_list_are_refused(aggregator: Aggregator, parameters: dict[str, str]) -> None:
    status, body, _ = ask(aggregator, "SELECT 1", **parameters)
    assert status == 403
    assert body.startswith("Code: ")


def test_other_host_headers_are_refused(aggregator: Aggregator) -> None:
    assert ask(aggregator, "SELECT 1", {"Host": "evil.example"})[0] == 403
    assert ask(aggregator, "SELECT 1", {"Host": "localhost"})[0] == 200


def test_queries_come_in_the_url_the_body_or_both(aggregator: Aggregator) -> None:
    assert ask(aggregator, "", method="GET", query="SELECT 1")[1] == "1\n"
    assert ask(aggregator, "SELECT 2")[1] == "2\n"
    assert ask(aggregator, "3", query="SELECT")[1] == "3\n"
    assert ask(aggregator, "SELECT {n:UInt8} + 1, {t:String}", param_n="4", param_t="a'b")[1] == "5\ta\\'b\n"
    assert ask(aggregator, "SELECT 1 AS a", default_format="JSONEachRow")[1] == '{"a":1}\n'
    assert ask(aggregator, "SELECT currentDatabase()", database="system")[1] == "system\n"
    assert ask(aggregator, "", method="GET")[1] == "Ok.\n"


def test_a_wrong_query_says_why(aggregator: Aggregator) -> None:
    for query, status, name in (
        ("SELEC 1", 403, "READONLY"),
        ("SELECT FROM WHERE", 400, "SYNTAX_ERROR"),
        ("SELECT * FROM nothing", 404, "UNKNOWN_TABLE"),
        ("SELECT nothing FROM requests", 400, "UNKNOWN_IDENTIFIER"),
    ):
        answer = ask(aggregator, query)
        assert (answer[0], name in answer[1]) == (status, True), answer


def test_a_query_too_large_for_its_limits_stops_and_ingestion_goes_on(aggregator: Aggregator) -> None:
    status, body, _ = ask(
        aggregator, "SELECT count() FROM numbers(100000000000) WHERE sipHash64(number) = 1", max_execution_time="1"
    )
    assert status == 408
    assert "TIMEOUT_EXCEEDED" in body
    status, body, _ = ask(aggregator, "SELECT length(groupArray(number)) FROM numbers(1000000000)")
    assert status == 500
    assert "MEMORY_LIMIT_EXCEEDED" in body
    agent = Agent(aggregator.grpc, "limits")
    assert agent.deliver(Builder("limits").seal(1)).ack.sequence == 1
    agent.close()


def test_a_token_is_asked_for_when_set(tmp_path: Path) -> None:
    token_file = tmp_path / "token"
    made = Aggregator(tmp_path, SQL__TOKEN_FILE=str(token_file)).start()
    try:
        token = token_file.read_text().strip()
        assert token_file.stat().st_mode & 0o777 == 0o640
        assert ask(made, "SELECT 1")[0] == 401
        assert ask(made, "SELECT 1", {"X-ClickHouse-Key": "wrong"})[0] == 401
        assert ask(made, "SELECT 1", {"X-ClickHouse-Key": token})[0] == 200
        assert ask(made, "SELECT 1", {"Authorization": f"Bearer {token}"})[0] == 200
    finally:
        made.stop()
