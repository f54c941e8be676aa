"""The guard of the SQL port: what passes, what does not, and that no comment or quote hides anything from it."""

from __future__ import annotations

import pytest

from aggregator.config import Sql
from aggregator.storage.sql_guard import Guard, SqlRefused
from aggregator.storage.sql_http import host_is_allowed
from aggregator.storage.sql_settings import effective

GUARD = Guard(["file", "url", "s3", "numbers", "cluster", "eval"])

ALLOWED = [
    "SELECT 1", " select 1 ; ", "WITH 1 AS x SELECT x", "(SELECT 1) UNION ALL (SELECT 2)", "SHOW TABLES",
    "DESCRIBE TABLE requests", "EXPLAIN SELECT 1", "EXISTS TABLE requests", "FROM requests SELECT count()",
    "SELECT 'file(''x'') INTO OUTFILE; --'", "SELECT sum(requests) FROM request_stats_10s GROUP BY ALL ORDER BY ALL",
    "SELECT count() FROM numbers(3)", "SELECT format('{}', 1)", "SELECT file FROM (SELECT 1 AS file)",
    "SELECT {x:String}, [1, 2][1], map('a', 1)['a'], 1 / 2 % 3", "SELECT 'ä' AS `größe`",
]  # fmt: skip

REFUSED = [
    "", "  ;", "-- nothing", "INSERT INTO requests VALUES (1)", "DROP TABLE requests", "CREATE TABLE x (a UInt8)",
    "SET readonly = 0", "USE system", "KILL QUERY WHERE 1", "SYSTEM FLUSH LOGS", "ATTACH TABLE x",
    "OPTIMIZE TABLE requests",
    "SELECT 1; SELECT 2", "SELECT 1; DROP TABLE requests", "SELECT file('/etc/passwd')", "SELECT FILE ('/etc/passwd')",
    "SELECT * FROM file('/etc/passwd', 'LineAsString')", "SELECT * FROM `file`('/etc/passwd')",
    'SELECT * FROM "file" ("/etc/passwd")', "SELECT * FROM fi/**/le('/etc/passwd') file(",
    "SELECT 1 INTO OUTFILE '/tmp/x'",
    "SELECT 1 into/**/outfile '/tmp/x'", "SELECT * FROM url('http://x/')", "SELECT * FROM executable('x')",
    "SELECT * FROM s3('http://x/')", "SELECT * FROM cluster('x', y)", "DESCRIBE TABLE file('/etc/passwd')",
    "SELECT sleep(3)", "SELECT aiGenerate('x')", "SELECT $$x$$", "SELECT “x”", "SELECT ‘x’", "SELECT 'open",
    "SELECT 1 /* open", "SELECT 1 // '\n, file('/etc/passwd') //'", "SELECT `fi\\x6ce`('/etc/passwd')",
    "SELECT 1 # x\n; DROP TABLE requests", "SELECT \x00 1", "EXPLAIN SELECT file('/etc/passwd')",
]  # fmt: skip


@pytest.mark.parametrize("text", ALLOWED)
def test_a_reading_query_passes_unchanged(text) -> None:
    assert GUARD.check(text).text == text.rstrip().rstrip(";").rstrip()


@pytest.mark.parametrize("text", REFUSED)
def test_everything_else_is_refused(text) -> None:
    with pytest.raises(SqlRefused):
        GUARD.check(text)


def test_comments_do_not_reach_the_engine() -> None:
    assert GUARD.check("SELECT/* ' */1-- ;\n+ 1 # '\n").text == "SELECT 1  + 1"


def test_the_format_clause_is_seen() -> None:
    assert GUARD.check("SELECT 1 format JSON ;").format == "JSON"
    assert GUARD.check("SELECT 'FORMAT JSON'").format == ""


def test_settings_are_clamped_ignored_or_refused() -> None:
    limits = Sql()
    plain = effective({}, limits)
    assert plain["max_memory_usage"] == str(limits.max_memory_bytes)
    sent = {"max_execution_time": "99999", "max_threads": "1", "session_id": "x", "param_x": "1", "readonly": "2"}
    sent |= {"output_format_json_quote_64bit_integers": "0", "query": "SELECT 1"}
    made = effective(sent, limits)
    assert made["max_execution_time"] == plain["max_execution_time"]
    assert made["max_threads"] == "1"
    assert "session_id" not in made
    assert "readonly" not in made
    assert made["output_format_json_quote_64bit_integers"] == "0"
    for bad in ({"readonly": "0"}, {"allow_ddl": "1"}, {"max_memory_usage": "x"}, {"max_memory_usage": "1; SET a = 1"},
                {"join_use_nulls": "2"}, {"max_block_size": "0"}, {"user_files_path": "/"}):  # fmt: skip
        with pytest.raises(SqlRefused):
            effective(bad, limits)


@pytest.mark.parametrize("header", ["localhost:8123", "127.0.0.1", "[::1]:8123", "10.0.0.1:8123", "sonde.example:8123"])
def test_known_host_headers_pass(header) -> None:
    assert host_is_allowed(header, ["sonde.example"])


@pytest.mark.parametrize("header", ["", "evil.example", "127.0.0.1.evil.example:8123", "localhost.evil:80"])
def test_other_host_headers_do_not(header) -> None:
    assert not host_is_allowed(header, ["sonde.example"])
