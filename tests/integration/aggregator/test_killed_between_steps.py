"""SIGKILL between journal, inserts, ledger, and acknowledgement, on the real engine: every table is exact afterwards.

The aggregator kills itself right after a step. It is then started on the same store to be killed at the next one, and
agents send again what was not acknowledged, as they do.
"""

from __future__ import annotations

import contextlib
import os
from pathlib import Path

import grpc

from proto import sonde_pb2 as pb
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

_STEPS = ("journaled", "stored:requests", "stored:request_stats_10s", "stored:agent_stats", "accepted", "forgotten")
_AGENTS, _BATCHES, _REQUESTS = 3, 2, 101


def batches(host: str) -> list[pb.SealedBatch]:
    made = []
    for sequence in range(1, _BATCHES + 1):
        builder = Builder(host, ["10.9.0.1"])
        link = builder.link("client", "nginx", "10.9.0.1", 40_000, "203.0.113.7", 80, sequence)
        for number in range(_REQUESTS):
            builder.request(link, duration_us=1000 + number, resource=f"/{number % 7}", statement_id=1 + number % 5)
        builder.connection(link)
        builder.agent_stats("requests", events=_REQUESTS)
        made.append(builder.seal(sequence))
    return made


def deliver(port: int, waiting: dict[str, list[pb.SealedBatch]]) -> dict[str, list[pb.SealedBatch]]:
    """Sends all, then reads the answers; what was not acknowledged when the aggregator was gone."""
    left = dict(waiting)
    with contextlib.suppress(grpc.RpcError, StopIteration):
        agents = {host: Agent(port, host) for host in waiting}
        for host, agent in agents.items():
            for sealed in waiting[host]:
                agent.send(sealed)
        for host, agent in agents.items():
            while left[host]:
                answer = agent.answer()
                assert answer.WhichOneof("message") == "ack", answer
                left[host] = [sealed for sealed in left[host] if sealed.sequence != answer.ack.sequence]
            agent.close()
    return left


def test_a_kill_after_each_step_loses_and_repeats_nothing(tmp_path: Path) -> None:
    given = {"PEERS__SETTLE_S": "0", "PEERS__WAIT_S": "0", "STORAGE__BLOCK_DELAY_S": "0.1"}
    waiting: dict[str, list[pb.SealedBatch]] = {}
    for step in _STEPS:
        aggregator = Aggregator(tmp_path, module=("tests.support.dying_aggregator", step), **given).start()
        hosts = [f"{step}-{number}" for number in range(_AGENTS)]
        waiting |= deliver(aggregator.grpc, {host: batches(host) for host in hosts})
        assert aggregator.process is not None
        assert aggregator.process.wait(60) == -9
        assert any(waiting[host] for host in hosts), step
        if step != "forgotten":
            assert os.listdir(tmp_path / "store.journal"), step
    aggregator = Aggregator(tmp_path, **given).start()
    try:
        assert not os.listdir(tmp_path / "store.journal")
        assert not any(deliver(aggregator.grpc, waiting).values())
        hosts = sorted(waiting)
        each = _BATCHES * _REQUESTS
        duration_ns = _BATCHES * sum(1000 * (1000 + number) for number in range(_REQUESTS))
        query = "SELECT host, count(), sum(duration_ns) FROM requests GROUP BY host ORDER BY host"
        assert aggregator.query(query) == [[host, str(each), str(duration_ns)] for host in hosts]
        for table in ("request_stats_10s", "request_stats_1m", "request_stats_1h", "statement_stats_1m"):
            rows = aggregator.query(
                "SELECT host, sum(requests), sum(duration_sum_ns), arraySum(mapValues(sumMap(duration))) "
                f"FROM {table} GROUP BY host ORDER BY host"
            )
            assert rows == [[host, str(each), str(duration_ns), str(each)] for host in hosts], table
        for query in ("SELECT host, count() FROM connections", "SELECT host, count() FROM agent_stats"):
            assert aggregator.query(f"{query} GROUP BY host ORDER BY host") == [[host, str(_BATCHES)] for host in hosts]
        ledger = "SELECT agent, count(), uniqExact(sequence) FROM accepted_batches GROUP BY agent ORDER BY agent"
        assert aggregator.query(ledger) == [[host, str(_BATCHES), str(_BATCHES)] for host in hosts]
    finally:
        aggregator.stop()
