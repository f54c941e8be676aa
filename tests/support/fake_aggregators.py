"""Real gRPC servers on loopback that answer an agent as a test says, also wrongly, late or never.

with FakeAggregator() as one, delivering(spool, one.address) as delivery:
    one.answer = lambda batch: [one.refusal(batch, pb.Refusal.OVERLOADED, retryable=True)]
"""

from __future__ import annotations

import contextlib
import threading
import time
from collections.abc import Callable, Iterable, Iterator
from concurrent import futures
from typing import Any

import grpc

from node_agent.config import AgentSettings
from node_agent.delivery.spool import Spool
from node_agent.delivery.stream import Delivery
from proto import sonde_pb2 as pb
from proto import sonde_pb2_grpc as rpc
from sonde import WIRE_VERSION
from tests.support.spools import AGENT

PATIENCE_S = 60.0


def until(true: Callable[[], object], what: str = "") -> None:
    """Wait for something to become true."""
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline, what
        time.sleep(0.01)


class FakeAggregator(rpc.IngestServicer):
    """Acknowledges everything unless told otherwise."""

    def __init__(self) -> None:
        self.hellos: list[pb.Hello] = []
        self.got: list[int] = []  # sequence numbers in the order in which they came, repeated ones too
        self.at: list[float] = []  # when, monotonic seconds
        self.stored: set[int] = set()  # acknowledged
        self.welcome: Callable[[], pb.AggregatorMessage | None] = self.plain_welcome
        self.answer: Callable[[pb.SealedBatch], Iterable[pb.AggregatorMessage]] = lambda batch: [self.ack(batch)]
        self.max_batch_bytes = 0
        self.reads = threading.Event()  # cleared: it stops reading after the greeting
        self.reads.set()
        self._ending = threading.Event()
        self._server = grpc.server(
            futures.ThreadPoolExecutor(8),
            options=[("grpc.so_reuseport", 0), ("grpc.http2.min_ping_interval_without_data_ms", 1000)],
        )
        rpc.add_IngestServicer_to_server(self, self._server)
        self.port: int = self._server.add_insecure_port("127.0.0.1:0")
        self._server.start()

    def __enter__(self) -> FakeAggregator:
        return self

    def __exit__(self, *_: object) -> None:
        self._ending.set()
        self.reads.set()
        self._server.stop(0).wait()

    @property
    def address(self) -> str:
        """host:port."""
        return f"127.0.0.1:{self.port}"

    def plain_welcome(self) -> pb.AggregatorMessage:
        """What an aggregator says first."""
        welcome = pb.Welcome(wire_version=WIRE_VERSION, aggregator_version="fake", max_batch_bytes=self.max_batch_bytes)
        return pb.AggregatorMessage(welcome=welcome)

    def ack(self, batch: pb.SealedBatch) -> pb.AggregatorMessage:
        """Its rows are in the store."""
        self.stored.add(batch.sequence)
        return pb.AggregatorMessage(ack=pb.Ack(spool_id=batch.spool_id, sequence=batch.sequence))

    @staticmethod
    def refusal(batch: pb.SealedBatch, code: int, **more: Any) -> pb.AggregatorMessage:
        """No."""
        refusal = pb.Refusal(spool_id=batch.spool_id, sequence=batch.sequence, code=code, message="no", **more)
        return pb.AggregatorMessage(refusal=refusal)

    def Deliver(self, request_iterator: Iterator[pb.AgentMessage], context: Any) -> Iterator[pb.AggregatorMessage]:  # noqa: N802
        """The service."""
        ended = threading.Event()
        context.add_callback(ended.set)
        self.hellos.append(next(request_iterator).hello)
        welcome = self.welcome()
        if welcome is None:
            while not ended.wait(0.05) and not self._ending.is_set():
                pass
            return
        yield welcome
        self.reads.wait()
        for message in request_iterator:
            self.got.append(message.batch.sequence)
            self.at.append(time.monotonic())
            yield from self.answer(message.batch)


def settings(*addresses: str, **delivery: Any) -> AgentSettings:
    """Of an agent with short deadlines."""
    short = {"connect_seconds": 2, "answer_seconds": 2, "retry_seconds": 0.25, "drain_seconds": 1}
    return AgentSettings.model_validate(
        {"host_name": AGENT, "aggregator": list(addresses), "delivery": short | delivery}
    )


@contextlib.contextmanager
def delivering(spool: Spool, *addresses: str, **delivery: Any) -> Iterator[Delivery]:
    """An agent's delivery to these addresses."""
    made = Delivery(settings(*addresses, **delivery), spool)
    made.start()
    try:
        yield made
    finally:
        made.close(0)
