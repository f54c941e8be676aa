"""Synthetic agents in processes of their own, and what came of them; and the aggregator they deliver to, measured."""

from __future__ import annotations

import hashlib
import json
import os
import pickle
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from bench.sender import Order
from tests.support.aggregators import Aggregator

_PROCESSES = 2
_STOP_S = 20
_SAMPLE_S = 0.5
_TICK = os.sysconf("SC_CLK_TCK")


def machine_busy_s() -> float:
    """Time that all processors were not idle, since the machine started."""
    words = [int(word) for word in Path("/proc/stat").read_text().split("\n", 1)[0].split()[1:9]]
    return (sum(words) - words[3] - words[4]) / _TICK


class Measured(Aggregator):
    """A real aggregator whose CPU and memory can be read."""

    def stop(self) -> int:
        """SIGTERM, and SIGKILL to one that still works off what a benchmark left."""
        assert self.process is not None
        self.process.terminate()
        try:
            return self.process.wait(_STOP_S)
        except subprocess.TimeoutExpired:
            self.kill()
            return -1

    def cpu_s(self) -> float:
        """User and system time so far."""
        assert self.process is not None
        words = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICK

    def rss_mb(self) -> float:
        """Resident memory, 10^6 bytes."""
        assert self.process is not None
        words = Path(f"/proc/{self.process.pid}/statm").read_text().split()
        return int(words[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6


@dataclass(frozen=True)
class Sent:
    """What senders report. `done` (n, 3): due or sent, acknowledged (s, monotonic clock), rows of one batch."""

    begin: float
    done: npt.NDArray[np.float64]
    refused: dict[str, int]
    left: int
    cpu_s: float  # of the senders, preparation included
    sending_cpu_s: float
    others_cpu_s: float  # of everything but senders and aggregator while they sent
    aggregator_cpu_s: float
    bytes: int
    samples: npt.NDArray[np.float64]  # (n, 3): time (s, monotonic clock), CPU (s) and memory (MB) of the aggregator

    @property
    def rows(self) -> int:
        """Requests acknowledged."""
        return int(self.done[:, 2].sum())

    @property
    def seconds(self) -> float:
        """From the beginning to the last acknowledgement."""
        return float(self.done[:, 1].max()) - self.begin

    def rate(self, begin_s: float, end_s: float) -> float:
        """Requests acknowledged a second, between two moments after the beginning."""
        at = self.done[:, 1] - self.begin
        rows: float = self.done[(at >= begin_s) & (at < end_s), 2].sum()
        return rows / (end_s - begin_s)

    def cpu_us(self, begin_s: float, end_s: float) -> float:
        """CPU of the aggregator for a request acknowledged between two moments after the beginning."""
        at = self.samples[:, 0] - self.begin
        begin_s, end_s = at[at >= begin_s][0], at[at <= end_s][-1]
        used = np.interp([begin_s, end_s], at, self.samples[:, 1])
        return float(used[1] - used[0]) / (self.rate(begin_s, end_s) * (end_s - begin_s)) * 1e6

    def latency_ms(self, level: float) -> float:
        """Quantile of batch to acknowledgement."""
        return float(np.quantile(self.done[:, 1] - self.done[:, 0], level)) * 1e3


def spool_id(name: str) -> bytes:
    """An agent's."""
    return hashlib.blake2b(name.encode(), digest_size=16).digest()


def send(
    aggregator: Measured,
    folder: Path,
    agents: dict[str, list[bytes]],
    **order: float,
) -> Sent:
    """Deliver batches of `agents` (name -> templates); `order` as in sender.Order."""
    names = list(agents)
    children, files = [], []
    for number in range(_PROCESSES):
        mine = [(name, spool_id(name), agents[name]) for name in names[number::_PROCESSES]]
        files.append(folder / f"order-{number}")
        files[-1].write_bytes(pickle.dumps(Order(port=aggregator.grpc, agents=mine, **order)))  # type: ignore[arg-type]
        command = [sys.executable, "-m", "bench.sender", str(files[-1])]
        children.append(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True))
    try:
        for child in children:
            if child.stdout is None or child.stdout.readline() != "ready\n":
                raise SystemExit("a process of senders did not start")
        return _go(aggregator, children, files)
    finally:
        for child in children:
            child.kill()
            child.wait()


def _cpu_s(child: subprocess.Popen[str]) -> float:
    words = Path(f"/proc/{child.pid}/stat").read_text().rpartition(")")[2].split()
    return (int(words[11]) + int(words[12])) / _TICK


def _go(aggregator: Measured, children: list[subprocess.Popen[str]], files: list[Path]) -> Sent:
    prepared = sum(map(_cpu_s, children))
    cpu, busy = aggregator.cpu_s(), machine_busy_s()
    for child in children:
        assert child.stdin is not None
        child.stdin.write("go\n")
        child.stdin.flush()
    samples = []
    while any(child.poll() is None for child in children):
        samples.append((time.monotonic(), aggregator.cpu_s(), aggregator.rss_mb()))
        time.sleep(_SAMPLE_S)
    if any(child.returncode for child in children):
        raise SystemExit("a process of senders failed; its error is above")
    results = [json.loads(file.read_text()) for file in files]
    used = aggregator.cpu_s() - cpu
    senders = sum(result["cpu_s"] for result in results)
    sending = senders - prepared
    refused: dict[str, int] = {}
    for result in results:
        for code, count in result["refused"].items():
            refused[code] = refused.get(code, 0) + count
    done = np.array([one for result in results for one in result["done"]], dtype=np.float64).reshape(-1, 3)
    return Sent(
        begin=min(result["begin"] for result in results),
        done=done,
        refused=refused,
        left=sum(result["left"] for result in results),
        cpu_s=senders,
        sending_cpu_s=sending,
        others_cpu_s=machine_busy_s() - busy - used - sending,
        aggregator_cpu_s=used,
        bytes=sum(result["bytes"] for result in results),
        samples=np.array(samples),
    )
