"""Batches over a real stream, read back over the SQL port."""

from __future__ import annotations

import json
import subprocess
import sys

import clickhouse_connect
import pytest

from proto import sonde_pb2 as pb
from tests.support.aggregators import ROOT, Agent, Aggregator, free_port
from tests.support.batches import Builder


def sonde(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "sonde", *arguments], cwd=ROOT, capture_output=True, text=True, check=False
    )


def pair(first: str, second: str, connection: int, requests: int, net: int) -> tuple[Builder, Builder]:
    """Both ends of one connection with `requests` each; 300 us on the network, 1 ms in the server."""
    client, server = Builder(first, [f"10.{net}.0.1"]), Builder(second, [f"10.{net}.0.2"])
    there = client.link("client", "nginx", f"10.{net}.0.1", 40_000, f"10.{net}.0.2", 8080, connection)
    here = server.link("server", "api", f"10.{net}.0.2", 8080, f"10.{net}.0.1", 40_000, connection)
    for number in range(requests):
        client.request(
            there, offset=number * 100, duration=14_000, queue=100, receive=200, process=13_600, transfer=100
        )
        server.request(here, offset=number * 100, duration=11_000, queue=500, receive=300, process=10_000, transfer=200)
    return client, server


def test_both_ends_of_a_request_meet(aggregator: Aggregator) -> None:
    client, server = pair("d-web", "d-app", 77, 31, 1)
    web, app = Agent(aggregator.grpc, "d-web"), Agent(aggregator.grpc, "d-app")
    assert web.welcome.max_batch_bytes > 0
    web.deliver(Builder("d-web", ["10.1.0.1"]).seal(1))  # so that both addresses are known to be inside
    app.deliver(Builder("d-app", ["10.1.0.2"]).seal(1))
    web.send(client.seal(2))
    app.send(server.seal(2))
    assert web.answer().ack.sequence == 2
    assert app.answer().ack.sequence == 2
    rows = aggregator.query(
        "SELECT host, role, remote_host, remote_service, protocol, count() FROM requests WHERE host LIKE 'd-%' "
        "GROUP BY ALL ORDER BY ALL"
    )
    assert rows == [
        ["d-app", "server", "d-web", "nginx", "http1", "31"],
        ["d-web", "client", "d-app", "api", "http1", "31"],
    ]
    exchanges = aggregator.query(
        "SELECT count(), uniqExact(exchange_id), min(network_ns), max(network_ns) FROM exchanges "
        "WHERE client_host = 'd-web'"
    )
    # 20 us + 1,360 us at the client, less 50 + 30 + 1,000 us at the server.
    assert exchanges == [["31", "31", "300000", "300000"]]
    parts = aggregator.query(
        "SELECT DISTINCT network_ns + server_queue_ns + server_receive_ns + server_process_ns + client_queue_ns + "
        "client_transfer_ns = client_duration_ns FROM exchanges WHERE client_host = 'd-web'"
    )
    assert parts == [["1"]]
    for table in ("10s", "1m", "1h"):
        assert aggregator.query(
            f"SELECT host, sum(requests), sum(duration_sum_ns) FROM request_stats_{table} WHERE host LIKE 'd-%' "
            "GROUP BY host ORDER BY host"
        ) == [["d-app", "31", str(31 * 1_100_000)], ["d-web", "31", str(31 * 1_400_000)]]
        median = aggregator.query(
            f"SELECT sketchQuantile(0.5, sumMap(duration)) FROM request_stats_{table} WHERE host = 'd-app'"
        )
        assert float(median[0][0]) == pytest.approx(1_100_000, rel=0.01)
    web.close()
    app.close()


def test_a_batch_that_waits_for_its_peer_holds_up_no_other(aggregator: Aggregator) -> None:
    client, server = pair("w-web", "w-app", 78, 3, 2)
    agent, other = Agent(aggregator.grpc, "w-app"), Agent(aggregator.grpc, "w-web")
    other.deliver(Builder("w-web", ["10.2.0.1"]).seal(1))
    waiting = server.seal(1)
    agent.send(waiting)
    agent.send(Builder("w-app", ["10.2.0.2"]).seal(2))
    assert agent.answer().ack.sequence == 2
    other.send(client.seal(2))
    assert other.answer().ack.sequence == 2
    assert agent.answer().ack.sequence == 1
    rows = aggregator.query("SELECT DISTINCT remote_host, remote_service FROM requests WHERE host = 'w-app'")
    assert rows == [["w-web", "nginx"]]


def test_a_peer_that_never_speaks_is_unknown_and_counted(aggregator: Aggregator) -> None:
    _, server = pair("u-web", "u-app", 79, 3, 3)
    before = aggregator.metric("sonde_links_unresolved_total")
    web, app = Agent(aggregator.grpc, "u-web"), Agent(aggregator.grpc, "u-app")
    web.deliver(Builder("u-web", ["10.3.0.1"]).seal(1))
    assert app.deliver(server.seal(1)).ack.sequence == 1
    rows = aggregator.query("SELECT DISTINCT remote_host, remote_service FROM request_stats_10s WHERE host = 'u-app'")
    assert rows == [["~unknown", "~unknown"]]
    assert aggregator.metric("sonde_links_unresolved_total") == before + 1


def test_every_table_and_view_is_filled(aggregator: Aggregator) -> None:
    builder = Builder("t-web", ["10.4.0.1"])
    builder.tags, builder.replay = {"env": "test"}, True
    link = builder.link("client", "nginx", "10.4.0.1", 40_000, "203.0.113.9", 443, 0)
    builder.request(
        link, duration_us=250_000, statement_id=11, statement="SELECT ?", protocol=pb.MYSQL, flags=1 | 2 | 8
    )
    builder.request(link, status=pb.SERVER_ERROR, statement_id=11, protocol=pb.MYSQL, weight=3, gap=70)
    builder.connection(link, outcome=pb.REFUSED, connect=55, retransmits=3)
    builder.in_flight(link, request_bytes=9)
    builder.endpoint("0.0.0.0", 80, "nginx")
    builder.statement(12, "DELETE FROM ?")
    builder.agent_stats("requests", {"lost_in_kernel/redis/server": 7}, lost_in_kernel=7, cpu=5)
    agent = Agent(aggregator.grpc, "t-web")
    assert agent.deliver(builder.seal(1)).ack.sequence == 1
    ask = aggregator.query
    assert ask("SELECT tags['env'], replay, addresses FROM hosts WHERE host = 't-web'") == [
        ["test", "1", "['10.4.0.1']"]
    ]
    assert ask("SELECT toString(address), port, service FROM endpoints WHERE host = 't-web'") == [
        ["::ffff:0.0.0.0", "80", "nginx"]
    ]
    assert ask("SELECT statement_id, protocol, text FROM statements ORDER BY ALL") == [
        ["11", "mysql", "SELECT ?"],
        ["12", "mysql", "DELETE FROM ?"],
    ]
    assert ask("SELECT requests, errors, statement_id FROM statement_stats_1m WHERE host = 't-web'") == [
        ["4", "3", "11"]
    ]
    assert ask("SELECT outcome, connect_ns, retransmits, remote_host FROM connections WHERE host = 't-web'") == [
        ["refused", "5500", "3", "203.0.113.9"]
    ]
    assert ask("SELECT age_ns, request_bytes FROM in_flight WHERE host = 't-web'") == [["1000000000", "9"]]
    assert ask("SELECT lost_in_kernel, cpu_ns, interval_ns, details FROM agent_stats WHERE host = 't-web'") == [
        ["7", "5", "1000000000", "{'lost_in_kernel/redis/server':7}"]
    ]
    assert ask(
        "SELECT statement_truncated, tls, queue_exact, replay, duration_ns FROM slow_requests WHERE host = 't-web'"
    ) == [["1", "1", "0", "1", "250000000"]]
    totals = "SELECT sum(requests), max(estimated) FROM request_stats_1h WHERE host = 't-web'"
    assert ask(totals) == [["4", "1"]]
    agent.deliver(Builder("t-web", ["10.4.0.1"]).seal(2))
    assert ask("SELECT count() FROM in_flight WHERE host = 't-web'") == [["0"]]


def test_clickhouse_connect_reads_rows_arrow_and_parameters(aggregator: Aggregator) -> None:
    builder = Builder("c-web")
    builder.request(builder.link("client", "nginx", "10.5.0.1", 40_000, "198.51.100.7", 80))
    Agent(aggregator.grpc, "c-web").deliver(builder.seal(1))
    client = clickhouse_connect.get_client(host="127.0.0.1", port=aggregator.sql, database="sonde")
    try:
        query = "SELECT start, local_ip, role, duration_ns FROM requests WHERE host = {host:String}"
        row = client.query(query, parameters={"host": "c-web"}).result_rows[0]
        assert int(row[0].replace(tzinfo=None).timestamp() * 1e6) > 0
        assert row[1].ipv4_mapped.compressed == "10.5.0.1"
        assert row[2:] == ("client", 1_000_000)
        assert client.query_arrow(query, parameters={"host": "c-web"}).num_rows == 1
        sketch = client.query("SELECT duration FROM request_stats_1m WHERE host = 'c-web'").result_rows[0][0]
        assert sum(sketch.values()) == 1
    finally:
        client.close()


def test_sonde_sql_prints_tables_json_and_csv(aggregator: Aggregator) -> None:
    url = f"http://127.0.0.1:{aggregator.sql}"
    query = "SELECT 'web' AS host, toUInt64(18446744073709551615) AS n"
    assert sonde("sql", "--url", url, query).stdout.splitlines()[2] == "web   18446744073709551615"
    assert json.loads(sonde("sql", "--url", url, "--format", "json", query).stdout) == [{"host": "web", "n": 2**64 - 1}]
    assert sonde("sql", "--url", url, "--format", "csv", query).stdout == '"host","n"\n"web",18446744073709551615\n'
    assert sonde("sql", "--url", url, "SELECT 1 FORMAT TSV").stdout == "1\n"
    wrong = sonde("sql", "--url", url, "SELECT nothing FROM requests")
    assert (wrong.returncode, wrong.stdout) == (1, "")
    assert wrong.stderr.count("\n") == 1
    assert "UNKNOWN_IDENTIFIER" in wrong.stderr
    away = sonde("sql", "--url", f"http://127.0.0.1:{free_port()}", "SELECT 1")
    assert away.returncode == 1
    assert "is `sonde aggregator` running?" in away.stderr


def test_a_port_beyond_loopback_needs_insecure(tmp_path) -> None:
    store = f"chdb://{tmp_path}/store"
    ports = ["--api-listen", f"127.0.0.1:{free_port()}", "--sql-listen", f"127.0.0.1:{free_port()}"]
    refused = sonde("aggregator", "--store", store, "--grpc-listen", f"0.0.0.0:{free_port()}", *ports)
    assert refused.returncode == 2
    assert "--insecure" in refused.stderr
