"""What is measured: one host (a network namespace) with Redis and nginx, one agent on it, and loads."""

from __future__ import annotations

import contextlib
import csv
import os
import re
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

from tests.targets.netns import Namespace
from tests.targets.process import Process
from tests.targets.redis import Redis

SONDE = str(Path(sys.executable).with_name("sonde"))
_PATIENCE_S = 60
_TICK = os.sysconf("SC_CLK_TCK")


class Agent(Process):
    """`sonde agent` limited to the namespace; in use when its probes are attached."""

    def __init__(self, host: Namespace, grpc_port: int, metrics_port: int) -> None:
        super().__init__(
            None,
            *(SONDE, "agent", "--host-name", "bench", "--scope-netns", str(host.inode)),
            *("--aggregator", f"127.0.0.1:{grpc_port}", "--metrics-listen", f"127.0.0.1:{metrics_port}"),
            timeout_s=_PATIENCE_S,
        )
        self.metrics_port = metrics_port

    def wait_ready(self) -> None:
        """Until it says that it observes."""
        deadline = time.monotonic() + _PATIENCE_S
        while b"observing as" not in self.log.read_bytes():
            if time.monotonic() > deadline or (self.child is not None and self.child.poll() is not None):
                raise SystemExit(f"the agent did not start: {self.tail()}")
            time.sleep(0.05)

    def cpu_s(self) -> float:
        """User and system time so far."""
        words = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(words[11]) + int(words[12])) / _TICK

    def rss_mb(self) -> float:
        """Resident memory, 10^6 bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGE_SIZE") / 1e6

    def kernel_ns(self) -> tuple[int, int]:
        """Time and runs of its programs since they were loaded, as far as the kernel's statistics were on."""
        time_ns, runs, seen = 0, 0, set()
        for path in Path(f"/proc/{self.pid}/fdinfo").iterdir():
            with contextlib.suppress(OSError):
                fields = dict(re.findall(r"^(\w+):\s*(\S+)$", path.read_text(), re.MULTILINE))
                if "run_time_ns" in fields and fields["prog_id"] not in seen:
                    seen.add(fields["prog_id"])
                    time_ns += int(fields["run_time_ns"])
                    runs += int(fields["run_cnt"])
        return time_ns, runs

    def counters(self) -> dict[str, int]:
        """Totals of /metrics, as probe/counter."""
        with urllib.request.urlopen(f"http://127.0.0.1:{self.metrics_port}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        found = re.findall(r'^sonde_agent_total\{counter="([^"]+)",probe="([^"]+)"\} (\S+)$', text, re.MULTILINE)
        return {f"{probe}/{counter}": int(float(value)) for counter, probe, value in found}


def benchmark(host: Namespace, redis: Redis, requests: int) -> float:
    """Requests a second of redis-benchmark with SET, 50 connections, no pipelining."""
    command = ("redis-benchmark", "-h", redis.address, "-p", str(redis.port), "--csv", "-t", "set", "-r", "100000")
    rows = list(csv.reader(host.run(*command, "-n", str(requests), timeout=_PATIENCE_S).splitlines()))
    return float(rows[-1][1])


def steady(host: Namespace, kind: str, server: Process, port: int, rate: int, seconds: int) -> int:
    """Requests that bench.client made."""
    command = (sys.executable, "-m", "bench.client", kind, server.address, str(port), str(rate), str(seconds))
    return int(host.run(*command, timeout=seconds + _PATIENCE_S))


@contextlib.contextmanager
def agent(host: Namespace, grpc_port: int, metrics_port: int) -> Iterator[Agent]:
    """An agent that observes."""
    started = Agent(host, grpc_port, metrics_port)
    with started:
        yield started
