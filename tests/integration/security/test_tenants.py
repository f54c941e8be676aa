"""A tenant's token on the SQL port shows the rows of its hosts: by no query, error or count those of another's."""

from __future__ import annotations

import http.client
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import clickhouse_connect
import pytest

from tests.support import certificates
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder
from tests.support.certificates import Authority

#: Words that stand in rows of the other tenant, or of a host without one, only.
SECRETS = ("bank", "nobody-host", "SECRET", "203.0.113.66")
VISIBLE = ("shop-web", "shop-db")


class Port:
    """The SQL port with one token."""

    def __init__(self, aggregator: Aggregator, token: str) -> None:
        self.aggregator, self.token = aggregator, token

    def ask(self, query: str, **parameters: str) -> tuple[int, str, str]:
        """Status, body, and what the summary header says."""
        connection = http.client.HTTPConnection("127.0.0.1", self.aggregator.sql, timeout=60)
        try:
            headers = {"X-ClickHouse-Key": self.token} if self.token else {}
            connection.request("POST", f"/?{urlencode(parameters)}", body=query.encode(), headers=headers)
            answer = connection.getresponse()
            return answer.status, answer.read().decode(), answer.headers.get("X-ClickHouse-Summary", "")
        finally:
            connection.close()

    def rows(self, query: str) -> list[str]:
        """Lines of a query that succeeds."""
        status, body, _ = self.ask(query)
        assert status == 200, body
        return body.splitlines()


def send(aggregator: Aggregator, authority: Authority, name: str, tenant: str, **given: Any) -> Agent:
    """Something of `name` in every table; the stream that the answer comes on."""
    credentials = authority.credentials(authority.agent(name, tenant))
    agent = Agent(aggregator.grpc, name, credentials=credentials)
    builder = Builder(name, [given["address"]])
    peer = given.get("peer", "198.51.100.9")
    link = builder.link(given["role"], f"{name}-service", given["address"], 40_000, peer, 80, given["connection"])
    for number in range(3):
        statement = f"{given['word']} {number}"
        builder.request(
            link, resource=f"/{given['word']}", duration_us=200_000, statement=statement,
            statement_id=given["first_id"] + number,
        )  # fmt: skip
        builder.statement(given["first_id"] + number, statement)
    builder.connection(link)
    builder.endpoint(given["address"], 80, f"{name}-service")
    builder.in_flight(link)
    builder.agent_stats(f"{name}-probe")
    agent.send(builder.seal(1))
    return agent


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    folder = tmp_path_factory.mktemp("tenants")
    authority = Authority(folder / "ca")
    made = Aggregator(
        folder,
        PEERS__WAIT_S="0.2",
        PEERS__SETTLE_S="0",
        STORAGE__BLOCK_DELAY_S="3",  # all in one part: the engine cannot leave out another's rows as a whole
        SQL__TOKEN_FILE=str(folder / "all"),
        SQL__TENANTS=f"{{shop: {folder}/shop, bank: {folder}/bank, new: {folder}/new}}",
        **certificates.environment(authority.aggregator(), authority.ca),
    ).start()
    give = {"shop-web": "shop", "shop-db": "shop", "bank-web": "bank", "nobody-host": ""}
    agents = []
    for number, (name, tenant) in enumerate(give.items()):
        ours = tenant == "shop"
        agent = send(
            made, authority, name, tenant,
            role="client" if number % 2 == 0 else "server",
            address=f"10.0.0.{number + 1}" if ours else f"203.0.113.{66 + number}",
            connection=77 if number < 2 else 88,  # 88: bank and nobody speak to each other
            word="open" if ours else "SECRET", first_id=100 if ours else 500,
        )  # fmt: skip
        agents.append(agent)
    for agent in agents:
        assert agent.answer().WhichOneof("message") == "ack"
        agent.close()
    everything = port(made, "all")
    parts = "SELECT count() FROM system.parts WHERE database = 'sonde' AND table = 'requests' AND active"
    assert everything.rows(parts) == ["1"]
    yield made
    assert made.stop() == 0


def port(aggregator: Aggregator, name: str) -> Port:
    return Port(aggregator, (aggregator.folder / name).read_text().strip())


TABLES = (
    "requests", "request_stats_10s", "request_stats_1m", "request_stats_1h", "statement_stats_1m", "statement_texts",
    "statements", "connections", "hosts", "host_reports", "host_tenants", "endpoints", "endpoint_reports",
    "agent_stats", "in_flight", "in_flight_reports", "accepted_batches", "exchanges", "slow_requests",
)  # fmt: skip


def test_every_table_and_view_shows_the_tenants_rows_and_no_other(aggregator: Aggregator) -> None:
    everything, shop = port(aggregator, "all"), port(aggregator, "shop")
    known = set(everything.rows("SELECT name FROM system.tables WHERE database = 'sonde'"))
    assert set(TABLES) <= known
    for table in sorted(known):
        whole = everything.rows(f"SELECT * FROM {table}")
        status, body, summary = shop.ask(f"SELECT * FROM {table} FORMAT JSONEachRow")
        assert status == 200, (table, body)
        assert not [word for word in SECRETS if word in body], table
        assert '"read_rows": "0"' in summary
        if table in TABLES:
            assert body, table
            assert len(body.splitlines()) < len(whole), table


ATTACKS = [
    "SELECT groupUniqArray(host) FROM sonde.requests",
    "SELECT groupUniqArray(host) FROM requests WHERE 1 OR host = 'bank-web'",
    "SELECT host FROM (SELECT * FROM requests)",
    "SELECT host FROM view(SELECT * FROM requests)",
    "WITH x AS (SELECT * FROM requests) SELECT groupUniqArray(host), groupUniqArray(statement) FROM x",
    "WITH (SELECT groupUniqArray(host) FROM requests) AS h SELECT h",
    "SELECT (SELECT max(host) FROM hosts), (SELECT min(host) FROM requests)",
    "SELECT a.host, b.host FROM requests AS a CROSS JOIN requests AS b",
    "SELECT b.host FROM hosts AS a RIGHT JOIN requests AS b ON 1 = 1",
    "SELECT * FROM exchanges AS e RIGHT JOIN requests AS r ON e.exchange_id = r.exchange_id",
    "SELECT host FROM requests UNION ALL SELECT host FROM connections UNION ALL SELECT agent FROM accepted_batches",
    "SELECT host FROM requests WHERE host IN (SELECT host FROM requests WHERE host LIKE 'bank%')",
    "SELECT 'bank' WHERE EXISTS (SELECT 1 FROM requests WHERE host = 'bank-web') AND 1 = 0",
    "SELECT max(statement) FROM requests HAVING 1",
    "SELECT text FROM statement_texts FINAL",
    "SELECT groupUniqArray(host) FROM request_stats_1m_from_10s",
    "SELECT groupUniqArray(host) FROM request_stats_1h_from_10s",
    "SELECT host FROM host_reports FINAL",
    "SELECT any(host) OVER (ORDER BY host DESC) FROM requests",
    "SELECT host FROM requests ORDER BY host LIMIT 1 BY host",
    "SELECT host, count() FROM requests GROUP BY host WITH TOTALS",
    "SELECT tenant, host FROM host_tenants",
    "SELECT * FROM hosts AS requests",
]


@pytest.mark.parametrize("query", ATTACKS)
def test_no_way_of_asking_shows_another_tenants_rows(aggregator: Aggregator, query: str) -> None:
    status, body, _ = port(aggregator, "shop").ask(query)
    assert status == 200, body
    assert not [word for word in SECRETS if word in body]


#: True of a row of another tenant only: evaluated for it, the query fails and so tells of it.
ORACLES = [
    "SELECT count() FROM requests WHERE throwIf(host LIKE 'bank%') = 0",
    "SELECT count() FROM (SELECT * FROM requests) WHERE throwIf(statement LIKE 'SECRET%') = 0",
    "SELECT count() FROM slow_requests WHERE throwIf(statement LIKE 'SECRET%') = 0 AND start > now() - 3600",
    "SELECT count() FROM requests WHERE throwIf(statement_id >= 500) = 0",
    # Of columns of the table's key, which the engine likes to evaluate first.
    "SELECT count() FROM statement_stats_1m WHERE throwIf(statement_id >= 500) = 0",
    "SELECT count() FROM statement_texts WHERE throwIf(statement_id >= 500) = 0",
    "SELECT count() FROM request_stats_1m WHERE throwIf(resource = '/SECRET') = 0",
    "SELECT count() FROM endpoint_reports WHERE throwIf(service LIKE 'bank%') = 0",
    "SELECT count() FROM agent_stats WHERE throwIf(probe LIKE 'bank%') = 0",
    "SELECT count() FROM accepted_batches WHERE throwIf(agent LIKE 'bank%') = 0",
    "SELECT count() FROM exchanges WHERE throwIf(statement_id >= 500) = 0",
    "SELECT count() FROM requests WHERE throwIf(pid = 100 AND local_ip >= toIPv6('203.0.113.1')) = 0",
    "SELECT count() FROM requests WHERE intDiv(1, host NOT LIKE 'bank%') = 1",
    "SELECT count() FROM statements WHERE throwIf(text LIKE 'SECRET%') = 0",
    "SELECT count() FROM requests AS a JOIN connections AS b USING (host) WHERE throwIf(b.host LIKE 'bank%') = 0",
    "SELECT count() FROM hosts WHERE throwIf(host LIKE 'bank%') = 0",
    "SELECT sum(throwIf(host LIKE 'bank%')) FROM request_stats_1h",
    "SELECT host FROM requests ORDER BY throwIf(host LIKE 'bank%') LIMIT 1",
    "SELECT count() FROM requests WHERE throwIf(statement_id >= 500) = 0 GROUP BY host HAVING host != ''",
]


@pytest.mark.parametrize("query", ORACLES)
def test_no_error_tells_of_another_tenants_rows(aggregator: Aggregator, query: str) -> None:
    assert port(aggregator, "all").ask(query)[0] != 200  # it does see such rows
    status, body, _ = port(aggregator, "shop").ask(query)
    assert status == 200, body


REFUSED = [
    "SELECT count() FROM requests PREWHERE throwIf(host = 'bank-web') = 0",
    "SELECT * FROM requests SETTINGS additional_table_filters = {}",
    "SET additional_table_filters = {}",
    "SELECT * FROM system.parts",
    "SELECT * FROM system.tables",
    "SELECT * FROM system.columns",
    "SELECT * FROM system.processes",
    "SELECT * FROM system.query_log",
    "SELECT * FROM `system`.`parts`",
    'SELECT * FROM "system"."processes"',
    "SELECT * FROM SYSTEM.parts",
    "SELECT * FROM system /* x */ . /* y */ parts",
    r"SELECT * FROM `\x73ystem`.parts",
    "SELECT * FROM information_schema.tables",
    "SELECT * FROM INFORMATION_SCHEMA.TABLES",
    "SELECT * FROM {d:Identifier}.parts",
    "SELECT groupUniqArray(host) FROM requests AS `sonde.accepted_batches`",
    "SELECT groupUniqArray(host) FROM requests AS `sonde.statement_texts`",
    "SELECT * FROM merge('sonde', 'requests')",
    "SELECT * FROM merge(requests)",
    "SELECT * FROM loop(requests) LIMIT 100",
    "SELECT * FROM mergeTreeIndex(sonde, requests)",
    "SELECT * FROM cluster('default', sonde, requests)",
    "SELECT * FROM dictionary('x')",
    "EXPLAIN ESTIMATE SELECT * FROM requests",
    "SELECT * FROM (EXPLAIN indexes = 1 SELECT * FROM requests)",
    "SELECT * FROM viewExplain('EXPLAIN', '', (SELECT 1))",
    "SHOW PROCESSLIST",
    "SHOW SETTINGS LIKE 'additional%'",
    "SHOW INDEXES FROM requests",
    "DROP TABLE requests",
]


@pytest.mark.parametrize("query", REFUSED)
def test_what_goes_round_the_filter_is_refused(aggregator: Aggregator, query: str) -> None:
    status, body, _ = port(aggregator, "shop").ask(query, param_d="system")
    assert status in (400, 403), body
    assert body.startswith("Code: ")
    assert not [word for word in SECRETS if word in body.replace(query, "")]


def test_neither_database_nor_settings_of_the_url_go_round_it(aggregator: Aggregator) -> None:
    shop = port(aggregator, "shop")
    assert shop.ask("SELECT * FROM parts", database="system")[0] == 403
    for name in ("additional_table_filters", "query_plan_filter_push_down", "optimize_move_to_prewhere", "readonly"):
        assert shop.ask("SELECT groupUniqArray(host) FROM requests", **{name: "0"})[0] == 403


def test_the_token_decides_and_none_is_no_access(aggregator: Aggregator) -> None:
    hosts = "SELECT arraySort(groupUniqArray(host)) FROM hosts"
    assert port(aggregator, "all").rows(hosts) == ["['bank-web','nobody-host','shop-db','shop-web']"]
    assert port(aggregator, "shop").rows(hosts) == ["['shop-db','shop-web']"]
    assert port(aggregator, "bank").rows(hosts) == ["['bank-web']"]
    assert port(aggregator, "new").rows(hosts) == ["[]"]
    assert port(aggregator, "new").rows("SELECT count() FROM requests") == ["0"]
    assert Port(aggregator, "").ask(hosts)[0] == 401
    assert Port(aggregator, "wrong").ask(hosts)[0] == 401
    assert port(aggregator, "shop").rows("SELECT DISTINCT tenant FROM hosts") == ["shop"]
    assert (Path(aggregator.folder) / "shop").stat().st_mode & 0o777 == 0o640


def test_ordinary_clients_work_with_a_tenants_token(aggregator: Aggregator) -> None:
    client = clickhouse_connect.get_client(
        host="127.0.0.1", port=aggregator.sql, password=port(aggregator, "shop").token, database="sonde"
    )
    assert client.query("SELECT DISTINCT host FROM requests ORDER BY host").result_rows == [("shop-db",), ("shop-web",)]
    client.close()
    shop = port(aggregator, "shop")
    assert "requests" in shop.rows("SHOW TABLES")
    assert shop.rows("DESCRIBE requests")
