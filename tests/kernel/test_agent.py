"""The real `sonde agent` process and the real aggregator: rows arrive, nothing stays behind, one probe fails alone."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.conftest import skip_or_fail
from tests.kernel.conftest import why_not
from tests.support.aggregators import ROOT, Aggregator, free_port
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.netns import Namespace

COUNTED = "SELECT role, sum(requests) FROM request_stats_10s WHERE host = '{}' GROUP BY role ORDER BY role"


@pytest.fixture(scope="module")
def aggregator(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    if reason := why_not():
        skip_or_fail(reason)
    made = Aggregator(tmp_path_factory.mktemp("aggregator"), PEERS__SETTLE_S="0", PEERS__WAIT_S="2").start()
    yield made
    made.stop()


class Running:
    """An agent process that looks at one namespace."""

    def __init__(self, host: Namespace, name: str, grpc: int, folder: Path, *options: str, **settings: str) -> None:
        """`settings` by their variables: BUDGET__CPU_PERCENT="1"."""
        self.log = folder / f"{name}.log"
        argv = [sys.executable, "-m", "sonde", "agent", "--host-name", name, "--scope-netns", str(host.path)]
        argv += ["--aggregator", f"127.0.0.1:{grpc}", "--metrics-listen", "", *options]
        with self.log.open("wb") as log:
            environment = os.environ | {f"SONDE_AGENT__{key}": value for key, value in settings.items()}
            self.process = subprocess.Popen(argv, cwd=ROOT, stdout=log, stderr=log, env=environment)

    def wait_for(self, text: str, timeout: float = 60) -> None:
        deadline = time.monotonic() + timeout
        while text not in self.log.read_text():
            assert self.process.poll() is None, self.log.read_text()
            assert time.monotonic() < deadline, self.log.read_text()
            time.sleep(0.05)

    def programs(self) -> set[int]:
        """Ids of the BPF programs that the process holds."""
        out = set()
        for entry in Path(f"/proc/{self.process.pid}/fdinfo").iterdir():
            with contextlib.suppress(FileNotFoundError):  # a descriptor that was closed meanwhile
                for line in entry.read_text().splitlines():
                    if line.startswith("prog_id:"):
                        out.add(int(line.split()[1]))
        return out

    def terminate(self) -> int:
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(30)

    def __enter__(self) -> Running:
        return self

    def __exit__(self, *_: object) -> None:
        if self.process.poll() is None:
            self.process.kill()
            self.process.wait()


def all_programs() -> set[int]:
    done = subprocess.run(["bpftool", "-j", "prog", "show"], capture_output=True, check=True)
    return {int(program["id"]) for program in json.loads(done.stdout)}


def until_counted(aggregator: Aggregator, name: str, expected: list[list[str]], timeout: float = 60) -> None:
    deadline = time.monotonic() + timeout
    while (found := aggregator.query(COUNTED.format(name))) != expected:
        assert time.monotonic() < deadline, found
        time.sleep(0.2)


def test_rows_arrive_and_sigterm_detaches(aggregator: Aggregator, host: Namespace, tmp_path: Path) -> None:
    with Raw(host, "plain", threads=1) as server, Running(host, "agent-a", aggregator.grpc, tmp_path) as agent:
        agent.wait_for("observing as agent-a")
        programs = agent.programs()
        assert len(programs) > 20
        assert programs <= all_programs()
        for _ in range(7):
            with host.connect(server.address, 8000) as link:
                for number in range(11):
                    raw.ask(link, f"/agent?n={number}")
        assert agent.terminate() == 0  # the last word: everything seen is delivered
        until_counted(aggregator, "agent-a", [["client", "77"], ["server", "77"]])
        deadline = time.monotonic() + 10  # the kernel frees programs after a grace period
        while programs & all_programs():
            assert time.monotonic() < deadline, programs & all_programs()
            time.sleep(0.1)
        joined = aggregator.query("SELECT count(), uniqExact(exchange_id), min(network_ns) >= 0 FROM exchanges")
        assert joined == [["77", "77", "1"]] or joined == [["77", "77", "true"]]
        assert aggregator.query("SELECT DISTINCT statement FROM requests WHERE host = 'agent-a'") == [["GET /agent?n="]]
        closed = "host = 'agent-a' AND outcome = 'closed' GROUP BY role ORDER BY role"
        assert aggregator.query(f"SELECT role, count() FROM connections WHERE {closed}") == [
            ["client", "7"],
            ["server", "7"],
        ]


def test_aggregator_that_comes_later(host: Namespace, tmp_path: Path) -> None:
    """Batches are kept until there is somebody to take them."""
    later = Aggregator(tmp_path, PEERS__SETTLE_S="0", PEERS__WAIT_S="2")
    try:
        with Raw(host, "plain") as server, Running(host, "agent-b", later.grpc, tmp_path) as agent:
            agent.wait_for("observing as agent-b")
            with host.connect(server.address, 8000) as link:
                for _ in range(13):
                    raw.ask(link)
            agent.wait_for("batches are kept and sent again")
            time.sleep(2)
            later.start()
            until_counted(later, "agent-b", [["client", "13"], ["server", "13"]], timeout=90)
            assert agent.terminate() == 0
            assert later.query("SELECT count() FROM requests WHERE host = 'agent-b'") == [["26"]]
    finally:
        later.stop()


def test_one_broken_probe_leaves_the_other(aggregator: Aggregator, host: Namespace, tmp_path: Path) -> None:
    options = ["--probe", "requests", "--probe", "nonsense"]
    with Raw(host, "plain") as server, Running(host, "agent-c", aggregator.grpc, tmp_path, *options) as agent:
        agent.wait_for("observing as agent-c, probes: requests")
        with host.connect(server.address, 8000) as link:
            raw.ask(link)
        until_counted(aggregator, "agent-c", [["client", "1"], ["server", "1"]])
        assert agent.terminate() == 0
        assert "nonsense" in agent.log.read_text()
        deadline = time.monotonic() + 30
        named = "SELECT DISTINCT probe FROM agent_stats WHERE host = 'agent-c' ORDER BY probe"
        while (found := aggregator.query(named)) != [["agent"], ["nonsense"], ["requests"]]:
            assert time.monotonic() < deadline, found
            time.sleep(0.2)


def test_wrong_address_of_the_metrics_is_one_line(host: Namespace, tmp_path: Path) -> None:
    with Running(host, "agent-d", free_port(), tmp_path, "--metrics-listen", "nowhere") as agent:
        assert agent.process.wait(60) == 2
        text = agent.log.read_text()
    assert "metrics.listen nowhere" in text
    assert "Traceback" not in text


def test_killed_agent_leaves_no_programs(aggregator: Aggregator, host: Namespace, tmp_path: Path) -> None:
    with Running(host, "agent-e", aggregator.grpc, tmp_path) as agent:
        agent.wait_for("observing as agent-e")
        programs = agent.programs()
        os.kill(agent.process.pid, signal.SIGKILL)
        agent.process.wait()
    deadline = time.monotonic() + 10
    while programs & all_programs():
        assert time.monotonic() < deadline
        time.sleep(0.1)
