"""Settings, store URLs, addresses, tokens and the table that `sonde sql` prints."""

from __future__ import annotations

import pytest
from pydantic import SecretStr

from aggregator import config
from aggregator.config import Sql
from aggregator.sql_client import table
from aggregator.storage.client import parse
from aggregator.storage.migrations import migrations, split
from aggregator.storage.sql_token import token
from aggregator.storage.templates import Target
from aggregator.web import split_address
from sonde.config import show
from sonde.errors import ConfigError, UsageError


def test_flags_win_over_the_environment(monkeypatch) -> None:
    monkeypatch.setenv("SONDE_AGGREGATOR__GRPC__LISTEN", "127.0.0.1:1")
    monkeypatch.setenv("SONDE_AGGREGATOR__PEERS__WAIT_S", "3")
    loaded = config.load({"grpc": {"listen": "127.0.0.1:2"}})
    assert (loaded.grpc.listen, loaded.peers.wait_s) == ("127.0.0.1:2", 3)


def test_queries_must_leave_memory_to_inserts() -> None:
    with pytest.raises(ConfigError, match=r"storage\.memory_bytes"):
        config.load({"sql": {"max_concurrent": 64}})


def test_the_password_of_the_store_is_not_shown() -> None:
    shown = show(config.load({"storage": {"url": "clickhouse://user:s3cr@t@ch:8443/sonde"}}))
    assert "s3cr" not in shown
    assert "clickhouse://user:********@ch:8443/sonde" in shown


def test_store_urls() -> None:
    assert parse("chdb:///var/lib/sonde/store").path == "/var/lib/sonde/store"
    remote = parse("clickhouse://user:p%40ss@ch:9000/other?secure=true")
    assert dict(remote.options) == {"host": "ch", "port": 9000, "username": "user", "password": "p@ss", "secure": True}
    assert remote.database == "other"
    for bad in ("chdb://relative/path", "chdb:///", "mysql://x/y", "/path", "clickhouse://h/d?x=1"):
        with pytest.raises(UsageError):
            parse(bad)


def test_addresses() -> None:
    assert split_address("[::1]:8123") == ("::1", 8123)
    for bad in ("8123", "host:", "host:99999", ":1"):
        with pytest.raises(UsageError):
            split_address(bad)


def test_a_token_is_made_once_and_kept_from_others(tmp_path) -> None:
    path = tmp_path / "token"
    made = token(Sql(token_file=str(path)))
    assert len(made) >= 32
    assert path.stat().st_mode & 0o777 == 0o640
    assert token(Sql(token_file=str(path))) == made
    assert token(Sql(token=SecretStr("x"))) == "x"
    path.chmod(0o644)
    with pytest.raises(UsageError, match="0640"):
        token(Sql(token_file=str(path)))
    with pytest.raises(UsageError, match="token_file"):
        token(Sql(listen="0.0.0.0:8123"))
    assert token(Sql()) == ""


def test_schema_files_are_numbered_without_gaps_and_split_into_statements() -> None:
    found = migrations()
    assert [one.number for one in found] == list(range(1, len(found) + 1))
    for migration in found:
        for target in (Target(), Target("main")):
            assert migration.rendered(target)
            for statement in migration.rendered(target):
                assert "IF NOT EXISTS" in statement or statement.startswith("CREATE OR REPLACE VIEW")
                assert ";" not in statement
    assert split("-- a;\nSELECT 1;\nSELECT 2") == ("SELECT 1", "SELECT 2")


def test_a_table_is_aligned() -> None:
    result = {
        "meta": [{"name": "host", "type": "String"}, {"name": "n", "type": "UInt64"}],
        "data": [["web", 1000], ["database", None]],
    }
    assert table(result) == "host         n\n--------  ----\nweb       1000\ndatabase     -\n(2 rows)\n"
