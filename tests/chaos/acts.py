"""What a synthetic agent did, line by line in a file: the set checker's own record.

Invariants: a line is one write to a file opened for appending, so it survives SIGKILL whole; `intend` stands there
before a batch exists, `seal` after the spool took it, `acknowledge` before the spool forgets it. So what was
acknowledged is never missing here, and what was sealed is at most one batch a kill.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path


class Recorder:
    """Writes; safe from several threads."""

    def __init__(self, path: Path) -> None:
        self._descriptor = os.open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC, 0o600)

    def write(self, act: str, *values: int) -> None:
        """One act."""
        os.write(self._descriptor, f"{act} {' '.join(map(str, values))}\n".encode())


@dataclass
class Acts:
    """What one agent did in all its lives. Numbers of batches."""

    intended: dict[int, int] = field(default_factory=dict)  # number -> Unix us of its rows
    sealed: set[int] = field(default_factory=set)
    acknowledged: set[int] = field(default_factory=set)
    refused: set[int] = field(default_factory=set)
    lost: int = 0  # batches that the spool says it dropped or lost
    late: int = 0  # answers to batches that the spool had given up and counted as lost
    forgettable: int = 0  # acknowledged in lives that ended by a kill: the spool may have forgotten that
    starts: int = 0
    ends: int = 0  # orderly ones
    waiting: int = 0  # in the spool at the last orderly end

    @property
    def interrupted(self) -> int:
        """Batches whose sealing was cut short."""
        return len(self.intended) - len(self.sealed)


def read(path: Path) -> Acts:
    """All acts of the agent whose file is at `path`; nothing if there is none."""
    acts, in_this_life = Acts(), 0
    if not path.exists():
        return acts
    for line in path.read_text(encoding="ascii").splitlines():
        act, *texts = line.split()
        values = [int(text) for text in texts]
        if act == "start":
            acts.starts, acts.forgettable, in_this_life = acts.starts + 1, acts.forgettable + in_this_life, 0
        elif act == "intend":
            acts.intended[values[0]] = values[1]
        elif act == "seal":
            acts.sealed.add(values[0])
        elif act == "acknowledge":
            acts.acknowledged.add(values[0])
            in_this_life += 1
        elif act == "refuse":
            acts.refused.add(values[0])
        elif act == "lose":
            acts.lost += values[0]
        elif act == "late":
            acts.late += 1
        elif act == "end":
            acts.ends, acts.waiting, in_this_life = acts.ends + 1, values[0], 0
        else:
            raise ValueError(f"{path}: {line}")
    return acts
