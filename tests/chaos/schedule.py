"""Which faults a run has, when, and on what: everything follows from the run's seed.

Invariants: the same seed gives the same plan; two faults that hold at the same time are on different targets; run
after run goes through all kinds of faults, so that any CONSECUTIVE seeds have met each kind.
"""

from __future__ import annotations

import random
from dataclasses import dataclass, field

from tests.chaos import dying

AGGREGATOR = "aggregator"

#: kind -> the parts of what it needs for itself; `{k}` is the number of an agent.
KINDS: dict[str, tuple[str, ...]] = {
    "agent killed": ("agent{k}",),
    "agent stopped": ("agent{k}",),
    "agent dies in its spool": ("agent{k}",),
    "agent's clock an hour back": ("clock{k}",),
    "aggregator killed": (AGGREGATOR,),
    "aggregator stopped": (AGGREGATOR,),
    "aggregator terminated": (AGGREGATOR,),
    "aggregator dies at a point": (AGGREGATOR,),
    "aggregator's clock an hour back": (AGGREGATOR,),
    "connection half-open": ("link{k}",),
    "connection slow": ("link{k}",),
    "connection cut in mid-frame": ("link{k}",),
    "connection refused": ("link{k}",),
    "spool's disk full": ("disk{k}",),
    "spool's last page corrupted": ("agent{k}",),
    "spool deleted": ("agent{k}",),
    "spool's limit reached": ("agent{k}", "link{k}"),
    "journal's disk full": ("journal",),
    "journal's last page corrupted": (AGGREGATOR,),
    "schema upgraded": (AGGREGATOR,),
}
#: Consecutive seeds that together have every kind.
CONSECUTIVE = (len(KINDS) + 1) // 2
_NEEDS_ROOT = ("spool's disk full", "journal's disk full")
_FIRST_S, _GAP_S, _SHORTEST_S, _LONG_S = 0.8, 0.7, 0.3, 2.5
#: Long enough for the keepalive of tests/chaos/agent.py to find it.
_LONGEST_S = {"connection half-open": 9.0}


@dataclass(frozen=True)
class Fault:
    """One fault; `draw` is what it decides its details with."""

    kind: str
    targets: tuple[str, ...]
    agent: int  # the one that it is about, if it is about one
    begin_s: float
    end_s: float
    draw: int

    def __str__(self) -> str:
        about = f" ({self.agent})" if "{k}" in "".join(KINDS[self.kind]) else ""
        return f"{self.kind}{about} {self.begin_s:.1f}-{self.end_s:.1f}"


@dataclass(frozen=True)
class Plan:
    """One run."""

    seed: int
    agents: int
    interval_s: float
    refusing: bool  # agents also send batches that are refused for good
    on_disk: bool  # spools and journal have small file systems of their own
    faults: tuple[Fault, ...] = field(default=())


def draw(seed: int, root: bool = True, only: str = "") -> Plan:
    """The plan of a seed; `root`: file systems can be mounted; `only`: faults of this kind alone."""
    rng = random.Random(seed)
    kinds = [kind for kind in KINDS if root or kind not in _NEEDS_ROOT]
    chosen = [kinds[2 * seed % len(kinds)], kinds[(2 * seed + 1) % len(kinds)]]
    chosen += rng.choices(kinds, k=rng.randint(1, 3))
    if only:
        chosen = [only] * len(chosen)
    rng.shuffle(chosen)
    agents = rng.randint(2, 3)
    free: dict[str, float] = {}
    faults, at = [], _FIRST_S
    for kind in chosen:
        agent = rng.randrange(agents)
        targets = tuple(target.format(k=agent) for target in KINDS[kind])
        begin = max([at, *(free.get(target, 0.0) for target in targets)])
        end = begin + rng.uniform(_SHORTEST_S, _LONGEST_S.get(kind, _LONG_S))
        free |= dict.fromkeys(targets, end + 0.2)
        faults.append(Fault(kind, targets, agent, begin, end, rng.randrange(1 << 30)))
        at = begin + rng.uniform(0.1, _GAP_S)
    return Plan(
        seed,
        agents,
        rng.uniform(0.15, 0.35),
        rng.random() < 0.3,
        root and any("disk" in kind for kind in chosen),
        tuple(sorted(faults, key=lambda fault: fault.begin_s)),
    )


def point_of(fault: Fault) -> tuple[str, int]:
    """Where a process dies that is to die at a point, and at which call."""
    rng = random.Random(fault.draw)
    points = dying.AGENT if fault.kind.startswith("agent") else dying.AGGREGATOR
    point = rng.choice(sorted(points))
    return point, rng.randint(1, 8 if points is dying.AGENT or point in dying.MANY else 2)
