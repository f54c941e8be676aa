"""Three hosts' batches with known answers: nginx on web calls shop-api on app, which calls mariadb on db."""

from __future__ import annotations

import time

import numpy as np

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder, connection_id

REQUESTS = 1009
ERRORS = 13
QUERIES = 499
LOST, UNMATCHED = 11, 3
SLOW_STATEMENT = "GET /checkout?cart=?"
#: 100 ns. The slow request at both ends: network 3 ms, server queue 80 ms, process 150 ms, client late 5, transfer 2.
SLOW_CLIENT = {"receive": 10_000, "process": 2_320_000, "queue": 50_000, "transfer": 20_000, "gap": 400_000}
SLOW_SERVER = {"queue": 800_000, "receive": 0, "process": 1_500_000, "transfer": 10_000}


def durations_us() -> np.ndarray:
    """us of the HTTP requests at the server: lognormal, median 2 ms."""
    return np.random.default_rng(1009).lognormal(np.log(2000), 0.8, REQUESTS).astype(np.int64)


class Fleet:
    """What was sent, and the aggregator that has it."""

    def __init__(self, aggregator: Aggregator) -> None:
        self.aggregator = aggregator
        self.begin_us = time.time_ns() // 1000 - 150_000_000
        now = time.time_ns() // 1000
        self.web = Builder("web", ["10.9.0.1"], now)
        self.app = Builder("app", ["10.9.0.2"], now)
        self.db = Builder("db", ["10.9.0.3"], now)
        self.db.replay = True
        self._http()
        self._mysql()
        self._rest()

    def _http(self) -> None:
        connection = connection_id(1)
        ends = {"connection_id": connection}
        here = self.web.link("client", "nginx", "10.9.0.1", 40000, "10.9.0.2", 8080, **ends)
        there = self.app.link("server", "shop-api", "10.9.0.2", 8080, "10.9.0.1", 40000, **ends)
        self.app.endpoint("10.9.0.2", 8080, "shop-api")
        self.web.connection(here)
        self.app.connection(there)
        for number, taken in enumerate(durations_us().tolist()):
            start = self.begin_us + number * 120_000
            bad = number < ERRORS
            same = {"resource": "/cart", "offset": 100 * number, "status": pb.SERVER_ERROR if bad else pb.OK,
                    "status_code": "500" if bad else "200", "start": start, "statement": "GET /cart?id=?"}  # fmt: skip
            self.app.request(there, duration_us=taken, **same)
            # 0.4 ms of network: the server's 10 us of queue and its process are inside the client's process.
            own = {"queue": 100, "receive": 0, "process": taken * 10 - 100 + 4000, "transfer": 100}
            self.web.request(here, duration_us=(sum(own.values())) // 10, **same, **own)
        same = {
            "resource": "/checkout",
            "offset": 10**6,
            "start": self.begin_us + 60_000_000,
            "statement": SLOW_STATEMENT,
        }
        self.web.request(here, duration_us=240_000, **same, **SLOW_CLIENT)
        self.app.request(there, duration_us=231_000, **same, **SLOW_SERVER)

    def _mysql(self) -> None:
        ends = {"connection_id": connection_id(2)}
        here = self.app.link("client", "shop-api", "10.9.0.2", 50000, "10.9.0.3", 3306, **ends)
        there = self.db.link("server", "mariadb", "10.9.0.3", 3306, "10.9.0.2", 50000, **ends)
        self.db.endpoint("10.9.0.3", 3306, "mariadb")
        self.app.connection(here)
        self.db.connection(there)
        for number in range(QUERIES):
            same = {"protocol": pb.MYSQL, "operation": "SELECT", "resource": "cart", "offset": 50 * number,
                    "status_code": "", "start": self.begin_us + number * 200_000}  # fmt: skip
            self.db.request(there, duration_us=700, **same)
            self.app.request(here, duration_us=1000, **same)
        self.app.in_flight(here, protocol=pb.MYSQL, operation=self.app.text("SELECT"),
                           statement=self.app.text("SELECT SLEEP(?)"))  # fmt: skip

    def _rest(self) -> None:
        self.app.agent_stats("requests", events=REQUESTS, lost_in_kernel=LOST, unmatched=UNMATCHED)
        for builder in (self.web, self.app, self.db):
            builder.agent_stats("agent", cpu=10_000_000)

    def deliver(self) -> None:
        """Send all and wait until the totals are in the store: peers are resolved up to 15 s after."""
        hosts = (self.web, self.app, self.db)
        # As after any start: each agent has reported its host and endpoints before the first totals come.
        first = {builder.host: Builder(builder.host, builder.addresses) for builder in hosts}
        first["app"].endpoint("10.9.0.2", 8080, "shop-api")
        first["db"].endpoint("10.9.0.3", 3306, "mariadb")
        for builder, sequence in [
            *((first[builder.host], 1) for builder in hosts),
            *((builder, 2) for builder in hosts),
        ]:
            agent = Agent(self.aggregator.grpc, builder.host)
            answer = agent.deliver(builder.seal(sequence))
            assert answer.WhichOneof("message") == "ack", answer
            agent.close()
        wanted = [["client", str(REQUESTS + 1 + QUERIES)], ["server", str(REQUESTS + 1 + QUERIES)]]
        for _ in range(300):
            rows = self.aggregator.query(
                "SELECT role, sum(requests) FROM sonde.request_stats_10s GROUP BY role ORDER BY role"
            )
            if rows == wanted:
                return
            time.sleep(0.1)
        raise AssertionError(f"totals are {rows}, not {wanted}")

    def refresh_in_flight(self) -> None:
        """Say once more, now, what is in flight: the store forgets after 20 s of silence."""
        builder = Builder("app", ["10.9.0.2"])
        link = builder.link("client", "shop-api", "10.9.0.2", 50000, "10.9.0.3", 3306, connection_id=connection_id(2))
        builder.in_flight(
            link, protocol=pb.MYSQL, operation=builder.text("SELECT"), statement=builder.text("SELECT SLEEP(?)")
        )
        agent = Agent(self.aggregator.grpc, "app")
        assert agent.deliver(builder.seal(3)).WhichOneof("message") == "ack"
        agent.close()
