"""`sonde schema`: what it prints parses, what it applied is found again, and what differs is told."""

from __future__ import annotations

import re

import pytest

from aggregator.storage import users
from aggregator.storage.client import query_text
from aggregator.storage.migrations import migrations, split
from aggregator.storage.templates import Target, render
from tests.support.aggregators import Aggregator
from tests.support.clickhouse import Server
from tests.support.commands import change, sonde

CLUSTER = Target("main")


def test_the_store_of_an_aggregator_is_as_the_files_say(aggregator: Aggregator) -> None:
    checked = sonde("schema", "check", "--url", f"http://127.0.0.1:{aggregator.sql}")
    assert (checked.returncode, checked.stderr) == (0, "")
    assert "are as the schema files say" in checked.stdout


@pytest.mark.parametrize("aggregator", ["chdb"], indirect=True)
def test_every_cluster_statement_is_one_the_engine_parses(aggregator: Aggregator) -> None:
    texts = [render(query_text("create_database").replace("{database:Identifier}", "sonde"), CLUSTER)]
    texts += [render(one, CLUSTER) for one in split(query_text("create_migrations"))]
    texts += [text for migration in migrations() for text in migration.rendered(CLUSTER)]
    retention = query_text("set_retention").replace("{table:Identifier}", "requests_local")
    retention = retention.replace("{column:Identifier}", "start").replace("{days:UInt32}", "7")
    texts.append(render(retention, CLUSTER))
    assert len(texts) > 30
    for text in texts:
        assert "ON CLUSTER 'main'" in text
        assert aggregator.query(f"EXPLAIN AST {text}")
    everything = "\n".join(texts)
    for kind in ("Replicated(?!Aggreg)MergeTree", "ReplicatedAggregatingMergeTree", "Distributed"):
        assert len(re.findall(kind + r"\('", everything)) >= 1, kind


@pytest.mark.parametrize("aggregator", ["chdb"], indirect=True)
def test_a_store_that_an_aggregator_holds_is_said_to_be_held(aggregator: Aggregator) -> None:
    held = sonde("schema", "apply", SONDE_AGGREGATOR__STORAGE__URL=aggregator.store)
    assert held.returncode == 1
    assert held.stderr.count("\n") == 1
    assert f"held by process {aggregator.process.pid}" in held.stderr


def test_apply_then_check_then_every_difference_is_told(tmp_path) -> None:
    server = Server(tmp_path).wait()
    try:
        url = f"clickhouse://127.0.0.1:{server.port}/sonde"
        port = ("--url", f"http://127.0.0.1:{server.port}")
        applied = sonde("schema", "apply", SONDE_AGGREGATOR__STORAGE__URL=url)
        assert applied.returncode == 0, applied.stderr
        assert applied.stdout == f"{len(migrations())} schema files applied\n"
        again = sonde("schema", "apply", SONDE_AGGREGATOR__STORAGE__URL=url)
        assert again.stdout == "the schema was up to date\n"
        assert sonde("schema", "check", *port).returncode == 0
        change(server.port, "ALTER TABLE connections DROP COLUMN rtt_us")
        change(server.port, "ALTER TABLE connections MODIFY COLUMN retransmits UInt32")
        change(server.port, "ALTER TABLE agent_stats ADD COLUMN mine String")
        change(server.port, "DROP VIEW in_flight")
        change(server.port, "CREATE TABLE foreign (a UInt8) ENGINE = Memory")
        change(server.port, "ALTER TABLE schema_migrations DELETE WHERE number = 12 SETTINGS mutations_sync = 1")
        checked = sonde("schema", "check", *port)
        assert checked.returncode == 1
        assert checked.stdout.splitlines() == [
            "schema file 012: not applied; run `sonde schema apply` or start the aggregator",
            "agent_stats: column mine String is not in the schema files",
            "connections: column retransmits UInt32, the files say UInt64",
            "connections: column rtt_us UInt32 is missing",
            "foreign: not in the schema files",
            "in_flight: missing",
        ]
        assert "6 differences" in checked.stderr
    finally:
        server.stop()


@pytest.mark.parametrize("aggregator", ["chdb"], indirect=True)
@pytest.mark.parametrize("target", [Target(), CLUSTER])
def test_every_statement_of_roles_users_and_tenants_is_one_the_engine_parses(
    aggregator: Aggregator, target: Target
) -> None:
    made, given = users.user("reader", "sonde_reader", "a long password", target)
    texts = [*users.roles(target), *users.tenant("shop", target), *made]
    assert len(texts) > 40
    for text in texts:
        for name, value in given.items():
            text = text.replace(f"{{{name}:String}}", f"'{value}'")
        assert aggregator.query(f"EXPLAIN AST {text}")
        assert ("ON CLUSTER 'main'" in text) == bool(target.cluster)
        assert "a long password" not in text


@pytest.mark.parametrize("aggregator", ["chdb"], indirect=True)
def test_a_tenant_is_kept_from_every_table_that_has_hosts(aggregator: Aggregator) -> None:
    rows = aggregator.query(
        "SELECT table FROM system.columns WHERE database = 'sonde' AND name = 'host' AND table IN "
        "(SELECT name FROM system.tables WHERE database = 'sonde' AND engine LIKE '%MergeTree') ORDER BY table"
    )
    assert [row[0] for row in rows] == sorted(users.HOST_TABLES)


def test_users_are_made_at_the_server_alone() -> None:
    shown = sonde(
        "schema", "access", "--show", "--tenant", "shop", SONDE_AGGREGATOR__STORAGE__URL="clickhouse://a:b@h/other"
    )
    assert "SELECT ON other.* TO sonde_reader;" in shown.stdout
    assert (
        "host IN (SELECT host FROM other.host_tenants GROUP BY host HAVING argMax(tenant, time) = 'shop')"
        in shown.stdout
    )
    assert "tags" not in shown.stdout  # an agent chooses them itself
    embedded = sonde("schema", "access")
    assert (embedded.returncode, "sql.token_file" in embedded.stderr) == (2, True)
    wrong = sonde("schema", "access", "--show", "--tenant", "a'b")
    assert wrong.returncode == 2
