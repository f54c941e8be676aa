"""A real `sonde aggregator` process on free ports, and an agent's side of the stream, for tests."""

from __future__ import annotations

import http.client
import os
import queue
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import grpc

from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION
from tests.support.batches import SPOOL

ROOT = Path(__file__).resolve().parents[2]
_START_S = 60


def free_port() -> int:
    """A port that was free a moment ago."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


class Aggregator:
    """One process; start it again on the same store after `kill`. `server` is a ClickHouse server's HTTP port."""

    def __init__(self, folder: Path, server: int = 0, module: tuple[str, ...] = ("sonde",), **environment: str) -> None:
        self.folder, self.module = folder, module
        self.store = f"clickhouse://127.0.0.1:{server}/sonde" if server else f"chdb://{folder}/store"
        self.grpc, self.api, self.sql = free_port(), free_port(), free_port()
        self.sql = server or self.sql
        self.environment = {f"SONDE_AGGREGATOR__{key}": value for key, value in environment.items()}
        self.process: subprocess.Popen[bytes] | None = None
        self.log = folder / "aggregator.log"

    def start(self) -> Aggregator:
        """Start and wait until it is ready."""
        self.spawn()
        return self.wait_ready()

    def spawn(self) -> None:
        """Start."""
        command = [sys.executable, "-m", *self.module, "aggregator", "--store", self.store]
        for name, port in (("grpc", self.grpc), ("api", self.api), ("sql", self.sql)):
            command += [f"--{name}-listen", f"127.0.0.1:{port}"]
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                command, cwd=ROOT, env=os.environ | self.environment, stdout=log, stderr=log
            )

    def wait_ready(self) -> Aggregator:
        """Wait until it is ready."""
        assert self.process is not None
        for _ in range(_START_S * 20):
            if self.process.poll() is not None:
                raise AssertionError(f"aggregator exited {self.process.returncode}:\n{self.log.read_text()[-4000:]}")
            if self.get("/readyz", tolerate=True)[0] == 200:
                return self
            time.sleep(0.05)
        raise AssertionError(f"aggregator is not ready:\n{self.log.read_text()[-4000:]}")

    def get(self, path: str, port: int | None = None, tolerate: bool = False) -> tuple[int, str]:
        """Status and body of a GET on the API port."""
        connection = http.client.HTTPConnection("127.0.0.1", port or self.api, timeout=30)
        try:
            connection.request("GET", path)
            answer = connection.getresponse()
            return answer.status, answer.read().decode()
        except OSError:
            if tolerate:
                return 0, ""
            raise
        finally:
            connection.close()

    def metric(self, name: str) -> float:
        """Value of one sample on /metrics, labels included in the name; 0 if absent."""
        for line in self.get("/metrics")[1].splitlines():
            if line.rpartition(" ")[0] == name:
                return float(line.rpartition(" ")[2])
        return 0.0

    def query(self, sql: str) -> list[list[str]]:
        """Rows of a query as lists of texts."""
        connection = http.client.HTTPConnection("127.0.0.1", self.sql, timeout=60)
        try:
            connection.request("POST", "/?database=sonde", body=sql.encode())
            answer = connection.getresponse()
            body = answer.read().decode()
            assert answer.status == 200, body
            return [line.split("\t") for line in body.splitlines()]
        finally:
            connection.close()

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; its exit code."""
        if self.process is None or self.process.poll() is not None:
            return -1
        self.process.terminate()
        return self.process.wait(timeout=30)


class Agent:
    """An agent's stream, message by message."""

    def __init__(
        self,
        port: int,
        name: str,
        hello: bool = True,
        spool_id: bytes = SPOOL,
        credentials: Any = None,
        timeout_s: float | None = None,
    ) -> None:
        self.name = name
        address = f"127.0.0.1:{port}"
        self._channel = grpc.secure_channel(address, credentials) if credentials else grpc.insecure_channel(address)
        call = self._channel.stream_stream(
            "/sonde.v1.Ingest/Deliver", request_serializer=None, response_deserializer=pb.AggregatorMessage.FromString
        )
        self._out: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._answers: Any = call(iter(self._out.get, None), timeout=timeout_s)
        if hello:
            message = pb.Hello(wire_version=WIRE_VERSION, agent=name, agent_version="test", spool_id=spool_id)
            self.send_bytes(pb.AgentMessage(hello=message).SerializeToString())
            self.welcome = self.answer().welcome

    def send_bytes(self, frame: bytes) -> None:
        """Any bytes as one message."""
        self._out.put(frame)

    def send(self, sealed: pb.SealedBatch) -> None:
        """One batch."""
        self.send_bytes(pb.AgentMessage(batch=sealed).SerializeToString())

    def answer(self) -> pb.AggregatorMessage:
        """The next answer."""
        return next(self._answers)

    def deliver(self, sealed: pb.SealedBatch) -> pb.AggregatorMessage:
        """One batch and its answer."""
        self.send(sealed)
        return self.answer()

    def close(self) -> None:
        """End the stream."""
        self._out.put(None)
        self._answers.cancel()
        self._channel.close()
