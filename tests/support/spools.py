"""Spools for tests: batches of a known size, and a kill without a process to kill."""

from __future__ import annotations

import os
import random
from pathlib import Path
from typing import Any

from node_agent.delivery.spool import Spool
from proto import sonde_pb2 as pb

AGENT = "web"


class Clock:
    """Seconds that pass when a test says so."""

    def __init__(self) -> None:
        self.now = 1_800_000_000.0

    def __call__(self) -> float:
        return self.now


def batch(number: int, size: int = 100) -> pb.Batch:
    """About `size` bytes that do not compress, others for each number."""
    made = pb.Batch(strings=["", random.Random(number).randbytes(size).hex()])
    made.host.name = AGENT
    made.host.seen_us = number + 1
    return made


def drain(spool: Spool, after: int = 0) -> list[pb.SealedBatch]:
    """All that waits, in order."""
    found = []
    while (sealed := spool.after(after, 0)) is not None:
        found.append(sealed)
        after = sealed.sequence
    return found


def numbers(spool: Spool) -> list[int]:
    """The sequences of all that waits, in order."""
    return [sealed.sequence for sealed in drain(spool)]


def kill(spool: Spool, path: Path, target: Path) -> None:
    """Leave at `target` what SIGKILL would leave of the spool at `path`, which is then closed."""
    kept = {file: file.read_bytes() for file in path.parent.iterdir() if file.is_file()}
    spool.close()
    for file in path.parent.iterdir():
        file.unlink()
    target.parent.mkdir(exist_ok=True)
    for file, content in kept.items():
        place = target.with_name(file.name)
        place.write_bytes(content)
        os.chmod(place, 0o600)


def killed(spool: Spool, path: Path, **settings: Any) -> Spool:
    """The spool after SIGKILL and a new start."""
    kill(spool, path, path)
    return make(path, **settings)


def make(path: Path | str, max_bytes: int = 1 << 30, **settings: Any) -> Spool:
    """A spool of AGENT."""
    return Spool(settings.pop("agent", AGENT), max_bytes, str(path), **settings)
