"""Placeholders of the schema files."""

from __future__ import annotations

import hashlib

import pytest

from aggregator.config import Cluster
from aggregator.storage import users
from aggregator.storage.catalog import Catalog, Table, differences
from aggregator.storage.client import Store, cluster_insert_settings, parse
from aggregator.storage.migrations import migrations
from aggregator.storage.templates import Target, render
from sonde.errors import UsageError

TEXT = """CREATE TABLE @local(t) @on_cluster
(a UInt8) ENGINE = @replicated(MergeTree) SETTINGS @deduplicated"""


def test_one_engine_sees_no_cluster() -> None:
    assert render(TEXT, Target()) == (
        "CREATE TABLE t\n(a UInt8) ENGINE = MergeTree SETTINGS non_replicated_deduplication_window = 10000"
    )
    assert render("@distributed(t, host)", Target()) == ""
    for migration in migrations():
        for statement in migration.rendered(Target()):
            assert "@" not in statement
            assert "CLUSTER" not in statement
            assert "Replicated" not in statement


def test_a_cluster_has_replicated_tables_and_distributed_ones_over_them() -> None:
    rendered = render(TEXT, Target("main"))
    assert "TABLE t_local ON CLUSTER 'main'\n" in rendered
    assert "ReplicatedMergeTree('/clickhouse/tables/{uuid}/{shard}', '{replica}')" in rendered
    assert "replicated_deduplication_window_seconds = 604800" in rendered
    assert render("@distributed(t, host)", Target("main", "d")).endswith(
        "AS t_local\nENGINE = Distributed('main', 'd', 't_local', cityHash64(host))"
    )


def test_every_table_of_rows_is_replicated_deduplicated_and_distributed() -> None:
    for migration in migrations():
        statements = migration.rendered(Target("main"))
        tables = [one for one in statements if one.startswith("CREATE TABLE") and "Distributed(" not in one]
        for table in tables:
            name = table.split()[5]
            assert name.endswith("_local"), name
            assert "ENGINE = Replicated" in table
            assert "replicated_deduplication_window = " in table
            over = f"CREATE TABLE IF NOT EXISTS {name.removesuffix('_local')} ON CLUSTER 'main' AS {name}\n"
            assert any(one.startswith(over) for one in statements), name


@pytest.mark.parametrize("text", ["@nothing", "@replicated", "@distributed(t)", "@local()"])
def test_an_unknown_placeholder_is_an_error(text: str) -> None:
    with pytest.raises(UsageError, match="no placeholder"):
        render(text, Target())


@pytest.mark.parametrize(("cluster", "database"), [("a'b", "sonde"), ("main", "a b"), ("main", ""), ("x" * 200, "d")])
def test_names_cannot_carry_sql(cluster: str, database: str) -> None:
    with pytest.raises(UsageError):
        Target(cluster, database)


def test_the_embedded_engine_is_no_cluster(tmp_path) -> None:
    with pytest.raises(UsageError, match=r"storage\.cluster\.name"):
        Store(parse(f"chdb://{tmp_path}/s"), 2**30, Cluster(name="main"))


def test_an_insert_into_a_cluster_waits_for_a_quorum_on_every_shard() -> None:
    assert cluster_insert_settings(Cluster()) == {}
    assert cluster_insert_settings(Cluster(name="main", insert_timeout_s=5)) == {
        "distributed_foreground_insert": 1,
        "distributed_product_mode": "global",
        "insert_quorum": "auto",
        "insert_quorum_parallel": 1,
        "insert_quorum_timeout": 5000,
    }


def test_engines_and_keys_are_compared() -> None:
    wanted = Catalog({"t": Table("MergeTree", "PARTITION BY a ORDER BY b", {"a": "UInt8"})}, {1: "x"})
    assert differences(wanted, wanted) == []
    actual = Catalog({"t": Table("Log", "PARTITION BY nothing ORDER BY b", {"a": "UInt8"})}, {1: "y", 2: "z"})
    assert differences(actual, wanted) == [
        "schema file 001: changed after it was applied",
        "schema file 002: applied by another release",
        "t: engine Log, the files say MergeTree",
        "t: PARTITION BY nothing ORDER BY b, the files say PARTITION BY a ORDER BY b",
    ]


def test_a_password_is_hashed_with_a_salt_of_its_own() -> None:
    _, first = users.user("reader", "sonde_reader", "correct horse battery", Target())
    _, second = users.user("reader", "sonde_reader", "correct horse battery", Target())
    assert first != second
    assert first["hash"] == hashlib.sha256(f"correct horse battery{first['salt']}".encode()).hexdigest()
    for name, role, password in (("a b", "r", "x" * 20), ("a", "r; DROP", "x" * 20), ("a", "r", "short")):
        with pytest.raises(UsageError):
            users.user(name, role, password, Target())
