"""The processes of one run: agents, a proxy before each, and the aggregator that they all deliver to.

Invariant: everything here is ended by `close`, stopped processes too; a process that ends without being told to is a
finding of the run (`check`).
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import sys
import time
from pathlib import Path

from tests.chaos import acts
from tests.chaos.agent import Options
from tests.chaos.disks import Disk
from tests.chaos.schedule import Plan
from tests.support.aggregators import ROOT, Aggregator
from tests.support.faulty_proxy import FaultyProxy

_START_S, _DRAIN_S = 60.0, 60.0
#: Limits that normal batches stay below and a batch of numbered.TOO_MANY_ROWS does not.
_SETTINGS = {"PEERS__SETTLE_S": "0.3", "PEERS__WAIT_S": "1", "LIMITS__ROWS": "150"}


class ChaosAggregator(Aggregator):
    """The `sonde aggregator` process; `told` is what tests/chaos/aggregator.py does to it."""

    def __init__(self, folder: Path, journal: Path) -> None:
        super().__init__(folder, **_SETTINGS, STORAGE__JOURNAL=str(journal))
        self.journal = journal
        self.wanted = False
        self.upgraded = False

    def run(self, die: str = "", die_calls: int = 0, ready: bool = True) -> None:
        """Start it; not `ready`: it may die before it is."""
        told = {"die": die, "die_calls": die_calls, "migration": self.upgraded}
        self.module = ("tests.chaos.aggregator", json.dumps(told))
        self.spawn()
        self.wanted = ready
        if ready:
            self.wait_ready()

    def kill(self) -> None:
        self.wanted = False
        super().kill()


class AgentProcess:
    """One synthetic agent, its spool and its connection; it lives as often as `start` is called."""

    def __init__(self, number: int, plan: Plan, folder: Path, port: int) -> None:
        self.number, self._plan = number, plan
        self._folder = folder / f"agent{number}"
        self._folder.mkdir()
        self.proxy = FaultyProxy(port)
        self.disk = Disk(self._folder / "disk") if plan.on_disk else None
        self.spool = (self.disk.folder if self.disk else self._folder) / "spool.db"
        self.acts, self.sent = self._folder / "acts", self._folder / "sent"
        self.log = self._folder / "log"
        self.process: subprocess.Popen[bytes] | None = None
        self.wanted = False
        self.kills = self._starts = 0
        self.uncounted = self.limited = False

    def start(self, die: str = "", die_calls: int = 0, max_bytes: int = 1 << 30, sealing: bool = True) -> None:
        """Start it; `wait_started` waits until it lives."""
        options = Options(
            agent=self.number, target=self.proxy.address, spool=str(self.spool), acts=str(self.acts),
            sent=str(self.sent), interval_s=self._plan.interval_s, drain_s=_DRAIN_S, refusing=self._plan.refusing,
            max_bytes=max_bytes, sealing=sealing, die=die, die_calls=die_calls,
        )  # fmt: skip
        self._starts = acts.read(self.acts).starts
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "tests.chaos.agent", options.argument()], cwd=ROOT, stdout=log, stderr=log
            )
        self.wanted = sealing and not die

    def wait_started(self) -> None:
        """Until it opens its spool: from then on it takes signals."""
        assert self.process is not None
        deadline = time.monotonic() + _START_S
        while acts.read(self.acts).starts == self._starts and self.process.poll() is None:
            if time.monotonic() > deadline:
                raise AssertionError(f"agent {self.number} does not start; see {self.log}")
            time.sleep(0.05)

    def kill(self) -> None:
        """SIGKILL."""
        assert self.process is not None
        self.wanted = False
        self.process.kill()
        self.process.wait()
        self.kills += 1

    def signal(self, number: signal.Signals) -> None:
        """Send it, once it is ready for it."""
        assert self.process is not None
        self.wait_started()
        self.process.send_signal(number)

    def read_acts(self) -> acts.Acts:
        """What it did so far."""
        return acts.read(self.acts)

    def close(self) -> None:
        """End everything of it."""
        with contextlib.ExitStack() as stack:
            if self.disk is not None:
                stack.callback(self.disk.close)
            stack.callback(self.proxy.close)
            if self.process is not None and self.process.poll() is None:
                stack.callback(self.process.wait)
                stack.callback(self.process.kill)


class Fleet:
    """All of them, up after `start`."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.disk = Disk(folder / "disk") if plan.on_disk else None
        self.aggregator = ChaosAggregator(folder, (self.disk.folder if self.disk else folder) / "journal")
        self.agents: list[AgentProcess] = []
        self.notes: list[str] = []  # what the faults came upon
        for number in range(plan.agents):
            self.agents.append(AgentProcess(number, plan, folder, self.aggregator.grpc))

    def start(self) -> None:
        """Everything, and wait for it."""
        for agent in self.agents:
            agent.start()
        self.aggregator.run()
        for agent in self.agents:
            agent.wait_started()

    def check(self) -> None:
        """Raise AssertionError if a process ended that was not told to."""
        for name, one in (("aggregator", self.aggregator), *((f"agent {each.number}", each) for each in self.agents)):
            if one.wanted and one.process is not None and one.process.poll() is not None:
                raise AssertionError(f"{name} ended by itself with code {one.process.returncode}; see {one.log}")

    def close(self) -> None:
        """End everything."""
        with contextlib.ExitStack() as stack:
            if self.disk is not None:
                stack.callback(self.disk.close)
            for agent in self.agents:
                stack.callback(agent.close)
            if self.aggregator.process is not None and self.aggregator.process.poll() is None:
                stack.callback(self.aggregator.kill)
