"""One process of synthetic agents: `python -m bench.sender FILE`, started and read by bench/senders.py.

Each agent has a stream of its own with the real window, and answers a retryable refusal by sending again. Batches are
made from templates moved in time, sealed as the agent's spool does. Prints "ready", waits for a line, sends, and
writes the result to FILE as JSON: one entry an acknowledged batch. Times are of the machine's monotonic clock, so
results of several processes can be put together.

`rate` 0: everything is sealed beforehand and sent as fast as the window allows, for at most `seconds`. Otherwise a
batch is sealed `rate` times a second at each agent, from a random moment on, and its time runs from when it was due:
an agent that is held up does not hide the wait of the batches behind it.
"""

from __future__ import annotations

import collections
import hashlib
import json
import math
import pickle
import random
import sys
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import zstandard

from proto import sonde_pb2 as pb
from proto import sonde_pb2_grpc as rpc
from sonde import WIRE_VERSION, batches

#: As the agent's stream: unacknowledged batches, largest message.
_WINDOW = 64
_OPTIONS = [("grpc.max_send_message_length", 64 << 20), ("grpc.enable_http_proxy", 0)]
_AGAIN_S = 0.25
_LAST_WORD_S = 60.0


@dataclass
class Order:
    """What a process of senders does; pickled."""

    port: int
    agents: list[tuple[str, bytes, list[bytes]]]  # name, spool id, templates: serialised batches of seconds in a row
    count: int  # batches an agent
    begin_us: int  # the first template's second, 0: now
    rate: float = 0.0
    seconds: float = math.inf  # then a flood ends, whatever is not acknowledged yet
    first: int = 0  # batches that were sent before


class Template:
    """A batch that can be moved in time: its columns are decoded once."""

    def __init__(self, plain: bytes) -> None:
        self._batch = pb.Batch.FromString(plain)
        names = ("requests", "connections", "agent_stats")
        self._sections = {
            name: batches.read(name, getattr(self._batch, name)) for name in names if getattr(self._batch, name).rows
        }
        self.rows = self._batch.requests.rows
        self._seen_us = self._batch.host.seen_us

    def moved(self, by_us: int, cycle: int) -> bytes:
        """The batch `by_us` later; in another `cycle` its requests lie elsewhere in their streams."""
        for name, columns in self._sections.items():
            of = "start" if name == "requests" else "time"
            other = columns | {of: columns[of] + np.uint64(by_us % 2**64)}
            if name == "requests":
                other["offset"] = columns["offset"] + np.uint64(cycle << 24)
            batches.fill(name, getattr(self._batch, name), other)
        self._batch.host.seen_us = self._seen_us + by_us
        return bytes(self._batch.SerializeToString())


@dataclass
class Agent:
    """One stream."""

    name: str
    spool_id: bytes
    templates: list[Template]
    order: Order
    compressor: Any
    frames: list[tuple[int, pb.AgentMessage, int]] = field(default_factory=list)
    done: list[tuple[float, float, int]] = field(default_factory=list)  # due or sent, acknowledged, rows
    refused: collections.Counter[str] = field(default_factory=collections.Counter)

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._window = threading.Semaphore(_WINDOW)
        self._again: collections.deque[int] = collections.deque()
        self._out: dict[int, tuple[float, pb.AgentMessage, int]] = {}

    def seal(self, number: int, now_us: int) -> tuple[int, pb.AgentMessage, int]:
        """Sequence, message and rows of the batch `number`, which ends at `now_us`."""
        template = self.templates[number % len(self.templates)]
        plain = template.moved(now_us - template._seen_us, number // len(self.templates) + 1)
        content = self.compressor.compress(plain)
        sealed = pb.SealedBatch(
            wire_version=WIRE_VERSION, agent=self.name, spool_id=self.spool_id, sequence=number + 1,
            content=content, content_bytes=len(plain),
            checksum=int.from_bytes(hashlib.blake2b(content).digest()[:8], "little"),
        )  # fmt: skip
        return number + 1, pb.AgentMessage(batch=sealed), template.rows

    def prepare(self) -> None:
        """Seal everything beforehand."""
        for number in range(self.order.first, self.order.first + self.order.count):
            self.frames.append(self.seal(number, self.order.begin_us + (number + 1) * 1_000_000))

    def _due(self, begin: float) -> Iterator[tuple[float, tuple[int, pb.AgentMessage, int]]]:
        """When each batch was due, and the batch."""
        end = begin + self.order.seconds
        if not self.order.rate:
            for frame in self.frames:
                if time.monotonic() > end:
                    return
                yield 0.0, frame
            return
        at = begin + random.random() / self.order.rate
        for number in range(self.order.first, self.order.first + self.order.count):
            time.sleep(max(0.0, at - time.monotonic()))
            yield at, self.seal(number, time.time_ns() // 1000)
            at += 1 / self.order.rate

    def messages(self, begin: float) -> Iterator[pb.AgentMessage]:
        """Everything to send, until all is acknowledged."""
        yield pb.AgentMessage(
            hello=pb.Hello(wire_version=WIRE_VERSION, agent=self.name, agent_version="bench", spool_id=self.spool_id)
        )
        for due, (sequence, message, rows) in self._due(begin):
            while not self._window.acquire(timeout=_AGAIN_S):
                if time.monotonic() > begin + self.order.seconds:
                    return
                yield from self._repeat()
            with self._lock:
                self._out[sequence] = (due or time.monotonic(), message, rows)
            yield message
            yield from self._repeat()
        give_up = time.monotonic() + (_LAST_WORD_S if self.order.seconds == math.inf else 0)
        while self._out and time.monotonic() < give_up:
            yield from self._repeat()
            time.sleep(0.02)

    def _repeat(self) -> Iterator[pb.AgentMessage]:
        if self._again:
            time.sleep(_AGAIN_S)
            while self._again:
                yield self._out[self._again.popleft()][1]

    def run(self, begin: float) -> None:
        """Deliver."""
        try:
            with grpc.insecure_channel(f"127.0.0.1:{self.order.port}", options=_OPTIONS) as channel:
                answers = rpc.IngestStub(channel).Deliver(self.messages(begin))
                last = threading.Timer(self.order.seconds, answers.cancel) if self.order.seconds < math.inf else None
                if last is not None:
                    last.start()
                for answer in answers:
                    self._take(answer)
        except grpc.RpcError as error:
            if error.code() != grpc.StatusCode.CANCELLED:
                self.refused["broken stream"] += 1

    def _take(self, answer: pb.AggregatorMessage) -> None:
        kind = answer.WhichOneof("message")
        if kind == "ack":
            now = time.monotonic()
            with self._lock:
                since, _, rows = self._out.pop(answer.ack.sequence)
            self.done.append((since, now, rows))
            self._window.release()
        elif kind == "refusal":
            self.refused[pb.Refusal.Code.Name(answer.refusal.code)] += 1
            if answer.refusal.retryable:
                self._again.append(answer.refusal.sequence)
            else:
                with self._lock:
                    self._out.pop(answer.refusal.sequence, None)
                self._window.release()

    @property
    def left(self) -> int:
        """Batches that were sent and not acknowledged."""
        return len(self._out)


def main() -> None:
    """See the module."""
    file = Path(sys.argv[1])
    order: Order = pickle.loads(file.read_bytes())
    compressor = zstandard.ZstdCompressor(level=3)
    lock = threading.Lock()

    class Shared:
        """One compressor for all threads."""

        def compress(self, plain: bytes) -> bytes:
            with lock:
                return compressor.compress(plain)

    agents = [
        Agent(name, spool_id, [Template(plain) for plain in plains], order, Shared())
        for name, spool_id, plains in order.agents
    ]
    if not order.rate:
        for agent in agents:
            agent.prepare()
    print("ready", flush=True)
    sys.stdin.readline()
    begin = time.monotonic()
    threads = [threading.Thread(target=agent.run, args=(begin,)) for agent in agents]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    refused = sum((agent.refused for agent in agents), collections.Counter())
    cpu = time.process_time()
    result = {
        "begin": begin, "done": [one for agent in agents for one in agent.done], "refused": refused,
        "left": sum(agent.left for agent in agents), "cpu_s": cpu,
        "bytes": sum(message.ByteSize() for agent in agents for _, message, _ in agent.frames),
    }  # fmt: skip
    file.write_text(json.dumps(result))


if __name__ == "__main__":
    main()
