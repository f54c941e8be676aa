"""`python -m tests.chaos.run --seed N --folder F`: one run of the set checker. One line, then what is wrong.

The fleet runs while the plan's faults come and go; then everything works again, the agents send what they have, the
aggregator is stopped and started, everything that was acknowledged is sent once more, and the set checker looks.
Ends within a minute or so; on any end, SIGTERM and SIGINT included, nothing of it is left but the folder.
"""

from __future__ import annotations

import argparse
import shutil
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

from proto import sonde_pb2 as pb
from tests.chaos import checker, disks, faults, schedule, tables
from tests.chaos.fleet import AgentProcess, Fleet
from tests.chaos.lifetime import end_with_parent
from tests.chaos.schedule import Fault, Plan
from tests.support.aggregators import Agent

_DRAIN_S = 75.0


class Run:
    """One run; `findings` is what is wrong."""

    def __init__(self, plan: Plan, folder: Path) -> None:
        self.plan, self._folder = plan, folder
        self.findings: list[str] = []
        self._notes: list[str] = []
        self.batches = self.rows = self.lost = self.refused = 0

    def go(self) -> None:
        """All of it; raises nothing that a fault of the product can cause."""
        fleet = Fleet(self.plan, self._folder)
        self._notes = fleet.notes
        try:
            fleet.start()
            self._break(fleet)
            self._drain(fleet)
            self._check(fleet)
        except (AssertionError, OSError, subprocess.SubprocessError) as error:
            self.findings.append(str(error) or repr(error))
        finally:
            if self.findings:
                self._keep(fleet)
            fleet.close()

    def _break(self, fleet: Fleet) -> None:
        moments = [(fault.begin_s, 1, fault) for fault in self.plan.faults]
        moments += [(fault.end_s, 0, fault) for fault in self.plan.faults]
        began = time.monotonic()
        for at_s, begins, fault in sorted(moments, key=lambda moment: moment[:2]):
            time.sleep(max(began + at_s - time.monotonic(), 0))
            fleet.check()
            self._apply(fleet, fault, bool(begins))
        fleet.check()

    @staticmethod
    def _apply(fleet: Fleet, fault: Fault, begins: bool) -> None:
        (faults.begin if begins else faults.end)(fleet, fault)

    def _drain(self, fleet: Fleet) -> None:
        deadline = time.monotonic() + _DRAIN_S
        for agent in fleet.agents:
            agent.wanted = False
            agent.signal(signal.SIGTERM)
        self._wait(fleet, deadline)
        for agent in fleet.agents:  # what was in a file that could not be opened then
            agent.start(sealing=False)
        self._wait(fleet, deadline)
        fleet.aggregator.wanted = False
        code = fleet.aggregator.stop()
        if code:
            self.findings.append(f"aggregator ended with code {code} after SIGTERM; see {fleet.aggregator.log}")
        fleet.aggregator.run()

    def _wait(self, fleet: Fleet, deadline: float) -> None:
        for agent in fleet.agents:
            assert agent.process is not None
            code = agent.process.wait(max(deadline - time.monotonic(), 1.0))
            if code:
                self.findings.append(f"agent {agent.number} ended with code {code}; see {agent.log}")

    def _check(self, fleet: Fleet) -> None:
        for agent in fleet.agents:
            self._send_again(fleet, agent)
        agents = {
            agent.number: checker.Agent(
                agent.read_acts(), self.plan.refusing, agent.kills, agent.uncounted, agent.limited
            )
            for agent in fleet.agents
        }
        stored = tables.read(fleet.aggregator.query)
        self.findings += checker.check(agents, stored)
        self.batches = sum(len(agent.acts.intended) for agent in agents.values())
        self.lost = sum(agent.acts.lost for agent in agents.values())
        self.refused = sum(len(agent.acts.refused) for agent in agents.values())
        self.rows = sum(map(len, stored.raw.values()))
        for log in (fleet.aggregator.log, *(agent.log for agent in fleet.agents)):
            if "Traceback" in log.read_text(encoding="utf-8", errors="replace"):
                self.findings.append(f"a traceback in {log}")
        fleet.aggregator.wanted = False
        fleet.aggregator.stop()

    def _send_again(self, fleet: Fleet, agent: AgentProcess) -> None:
        """What was acknowledged comes a second time, as from an agent that forgot: acknowledged, and not stored."""
        data = agent.sent.read_bytes() if agent.sent.exists() else b""
        sent, place = [], 0
        while place < len(data):
            size = int.from_bytes(data[place : place + 4], "little")
            sent.append(pb.SealedBatch.FromString(data[place + 4 : place + 4 + size]))
            place += 4 + size
        if not sent:
            return
        stream = Agent(fleet.aggregator.grpc, sent[0].agent)
        try:
            answers = [stream.deliver(sealed) for sealed in sent]
        finally:
            stream.close()
        bad = [answer for answer in answers if answer.WhichOneof("message") != "ack"]
        if bad:
            self.findings.append(f"host{agent.number}: {len(bad)} acknowledged batches are refused now: {bad[0]}")

    def _keep(self, fleet: Fleet) -> None:
        for disk in (fleet.disk, *(agent.disk for agent in fleet.agents)):
            if disk is not None:
                kept = disk.folder.with_name("disk-kept")
                shutil.copytree(disk.folder, kept, dirs_exist_ok=True, ignore=shutil.ignore_patterns("filler"))

    def line(self, seconds: float) -> str:
        """Seed, faults, rows, verdict."""
        verdict = "FAILED" if self.findings else "ok"
        counted = f"{self.batches} batches, {self.lost} lost and counted, {self.refused} refused, {self.rows} raw rows"
        happened = "; ".join(map(str, self.plan.faults)) + "".join(f" [{note}]" for note in self._notes)
        return f"seed {self.plan.seed}: {verdict}: {self.plan.agents} agents, {counted}, {seconds:.0f} s: {happened}"


def _stop(*_: Any) -> None:
    raise KeyboardInterrupt


def main() -> int:
    """Exit code 0: green, 1: a finding."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--seed", type=int, required=True)
    parser.add_argument("--folder", type=Path, required=True, help="made; removed unless the run fails")
    parser.add_argument("--only", default="", choices=["", *schedule.KINDS], help="faults of this kind alone")
    given = parser.parse_args()
    end_with_parent(signal.SIGTERM)
    signal.signal(signal.SIGTERM, _stop)
    disks.keep_mounts_private()
    run = Run(schedule.draw(given.seed, disks.available(), given.only), given.folder)
    given.folder.mkdir(parents=True)
    began = time.monotonic()
    try:
        run.go()
    except KeyboardInterrupt:
        return 130
    print(run.line(time.monotonic() - began), flush=True)
    for finding in run.findings:
        print(f"    {finding}", flush=True)
    if run.findings:
        print(f"    kept: {given.folder}", flush=True)
        return 1
    shutil.rmtree(given.folder)
    return 0


if __name__ == "__main__":
    sys.exit(main())
