"""What each kind of fault does when it begins and when it ends; schedule.py says when, and on which agent.

After the end of every fault its target works again: killed processes are started, disks have room, bytes flow.
"""

from __future__ import annotations

import contextlib
import random
import signal
import subprocess
from collections.abc import Callable
from pathlib import Path

from tests.chaos import disks
from tests.chaos.fleet import AgentProcess, Fleet
from tests.chaos.schedule import KINDS, Fault, point_of

_SPOOL_LIMIT_BYTES = 8_000
_DEATH_S = 5.0  # the agents have to come back to it

Act = Callable[[Fleet, Fault], None]


def begin(fleet: Fleet, fault: Fault) -> None:
    """Break it."""
    _ACTS[fault.kind][0](fleet, fault)


def end(fleet: Fleet, fault: Fault) -> None:
    """Mend it."""
    _ACTS[fault.kind][1](fleet, fault)


def _agent(fleet: Fleet, fault: Fault) -> AgentProcess:
    return fleet.agents[fault.agent]


def _kill_agent(fleet: Fleet, fault: Fault) -> None:
    _agent(fleet, fault).kill()


def _start_agent(fleet: Fleet, fault: Fault) -> None:
    _agent(fleet, fault).start()


def _after_the_agents_death(fleet: Fleet, fault: Fault) -> None:
    agent = _agent(fleet, fault)
    assert agent.process is not None
    agent.wait_started()
    with contextlib.suppress(subprocess.TimeoutExpired):
        agent.process.wait(_DEATH_S)
        fleet.notes.append(f"died {point_of(fault)[0]}")
    _agent(fleet, fault).kill()
    _agent(fleet, fault).start()


def _to_agent(number: signal.Signals) -> Act:
    return lambda fleet, fault: _agent(fleet, fault).signal(number)


def _dying_agent(fleet: Fleet, fault: Fault) -> None:
    _agent(fleet, fault).kill()
    _agent(fleet, fault).start(*point_of(fault))


def _kill_aggregator(fleet: Fleet, fault: Fault) -> None:
    del fault
    fleet.aggregator.kill()


def _start_aggregator(fleet: Fleet, fault: Fault) -> None:
    del fault
    fleet.aggregator.run()


def _to_aggregator(number: signal.Signals) -> Act:
    def act(fleet: Fleet, fault: Fault) -> None:
        del fault
        assert fleet.aggregator.process is not None
        fleet.aggregator.process.send_signal(number)

    return act


def _terminate_aggregator(fleet: Fleet, fault: Fault) -> None:
    del fault
    fleet.aggregator.wanted = False
    code = fleet.aggregator.stop()
    assert code == 0, f"aggregator ended with code {code} after SIGTERM"


def _dying_aggregator(fleet: Fleet, fault: Fault) -> None:
    fleet.aggregator.kill()
    point, calls = point_of(fault)
    fleet.aggregator.run(point, calls, ready=False)


def _wait_for_its_death(fleet: Fleet, point: str) -> None:
    assert fleet.aggregator.process is not None
    with contextlib.suppress(AssertionError):  # it may die before it is ready
        fleet.aggregator.wait_ready()
    with contextlib.suppress(subprocess.TimeoutExpired):
        fleet.aggregator.process.wait(_DEATH_S)
        fleet.notes.append(f"died {point}")
    fleet.aggregator.kill()


def _after_its_death(fleet: Fleet, fault: Fault) -> None:
    _wait_for_its_death(fleet, point_of(fault)[0])
    if fault.draw % 3 == 0:  # once more, in the inserts that the start has to make up for
        fleet.aggregator.run("after an insert", 1 + fault.draw % 4, ready=False)
        _wait_for_its_death(fleet, "in the inserts of the next start")
    fleet.aggregator.run()


def _die_in_the_inserts(fleet: Fleet, fault: Fault) -> None:
    """Something is in the journal then."""
    fleet.aggregator.kill()
    fleet.aggregator.run("after an insert", 1 + fault.draw % 5, ready=False)


def _upgrade(fleet: Fleet, fault: Fault) -> None:
    del fault
    _wait_for_its_death(fleet, "in its inserts")
    fleet.aggregator.upgraded = True
    fleet.aggregator.run()


def _corrupt_journal(fleet: Fleet, fault: Fault) -> None:
    _wait_for_its_death(fleet, "in its inserts")
    blocks = sorted(fleet.aggregator.journal.glob("*.block"))
    if blocks and disks.corrupt_last_page(blocks[-1], random.Random(fault.draw)):
        fleet.notes.append(f"corrupted a block of {blocks[-1].stat().st_size} bytes")
    fleet.aggregator.run()


def _fill_journal(fleet: Fleet, fault: Fault) -> None:
    del fault
    assert fleet.disk is not None
    fleet.disk.fill()


def _empty_journal(fleet: Fleet, fault: Fault) -> None:
    del fault
    assert fleet.disk is not None
    fleet.disk.empty()


def _slow(fleet: Fleet, fault: Fault) -> None:
    rng = random.Random(fault.draw)
    if rng.random() < 0.5:
        _agent(fleet, fault).proxy.limit(rng.choice([500.0, 2_000.0, 10_000.0]))
    else:
        _agent(fleet, fault).proxy.delay(rng.uniform(0.1, 1.0))


def _half_open(fleet: Fleet, fault: Fault) -> None:
    _agent(fleet, fault).proxy.stall(*random.Random(fault.draw).choice([(), ("up",), ("down",)]))


def _cut(fleet: Fleet, fault: Fault) -> None:
    rng = random.Random(fault.draw)
    _agent(fleet, fault).proxy.cut(rng.randint(1, 4_000), rng.choice(["up", "up", "down"]))


def _refuse(fleet: Fleet, fault: Fault) -> None:
    _agent(fleet, fault).proxy.refuse()


def _forward(fleet: Fleet, fault: Fault) -> None:
    _agent(fleet, fault).proxy.forward()


def _fill(fleet: Fleet, fault: Fault) -> None:
    disk = _agent(fleet, fault).disk
    assert disk is not None
    disk.fill()


def _empty(fleet: Fleet, fault: Fault) -> None:
    disk = _agent(fleet, fault).disk
    assert disk is not None
    disk.empty()


def _corrupt_spool(fleet: Fleet, fault: Fault) -> None:
    agent, rng = _agent(fleet, fault), random.Random(fault.draw)
    agent.kill()
    log = Path(f"{agent.spool}-wal")
    for path in rng.sample([agent.spool, log], 2):
        if disks.corrupt_last_page(path, rng):
            fleet.notes.append(f"corrupted {path.name} of {path.stat().st_size} bytes")
            return


def _delete_spool(fleet: Fleet, fault: Fault) -> None:
    agent, how = _agent(fleet, fault), random.Random(fault.draw).choice(["running", "killed", "with its mark"])
    fleet.notes.append(f"spool deleted {how}")
    if how != "running":
        agent.kill()
    for end in ("", "-wal", ".lock") if how == "with its mark" else ("", "-wal"):
        Path(f"{agent.spool}{end}").unlink(missing_ok=True)
    agent.uncounted |= how == "with its mark"


def _undelete(fleet: Fleet, fault: Fault) -> None:
    if not _agent(fleet, fault).wanted:
        _start_agent(fleet, fault)


def _limit_spool(fleet: Fleet, fault: Fault) -> None:
    agent = _agent(fleet, fault)
    agent.proxy.refuse()
    agent.kill()
    agent.limited = True
    agent.start(max_bytes=_SPOOL_LIMIT_BYTES)


_ACTS: dict[str, tuple[Act, Act]] = {
    "agent killed": (_kill_agent, _start_agent),
    "agent stopped": (_to_agent(signal.SIGSTOP), _to_agent(signal.SIGCONT)),
    "agent dies in its spool": (_dying_agent, _after_the_agents_death),
    "agent's clock an hour back": (_to_agent(signal.SIGUSR1), _to_agent(signal.SIGUSR2)),
    "aggregator killed": (_kill_aggregator, _start_aggregator),
    "aggregator stopped": (_to_aggregator(signal.SIGSTOP), _to_aggregator(signal.SIGCONT)),
    "aggregator terminated": (_terminate_aggregator, _start_aggregator),
    "aggregator dies at a point": (_dying_aggregator, _after_its_death),
    "aggregator's clock an hour back": (_to_aggregator(signal.SIGUSR1), _to_aggregator(signal.SIGUSR2)),
    "connection half-open": (_half_open, _forward),
    "connection slow": (_slow, _forward),
    "connection cut in mid-frame": (_cut, _forward),
    "connection refused": (_refuse, _forward),
    "spool's disk full": (_fill, _empty),
    "spool's last page corrupted": (_corrupt_spool, _start_agent),
    "spool deleted": (_delete_spool, _undelete),
    "spool's limit reached": (_limit_spool, _forward),
    "journal's disk full": (_fill_journal, _empty_journal),
    "journal's last page corrupted": (_die_in_the_inserts, _corrupt_journal),
    "schema upgraded": (_die_in_the_inserts, _upgrade),
}
assert _ACTS.keys() == KINDS.keys()
