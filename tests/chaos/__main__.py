"""`make chaos ARGS="--runs 100 --seed 7"`: randomised runs of the set checker; see docs/testing.md.

Run i has seed SEED + i and a process group of its own. At most two run at once. A run that is not over after --bound
seconds is ended and counts as failed. Ctrl-C ends the runs, and their mounts with them; failed ones keep their folder.
"""

from __future__ import annotations

import argparse
import contextlib
import os
import random
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from tests.chaos import disks, schedule
from tests.support.aggregators import ROOT

_POLL_S = 0.1
_GRACE_S = 10.0


@dataclass
class _Child:
    process: subprocess.Popen[str]
    seed: int
    folder: Path
    until: float

    def end(self) -> str:
        """Stop it and all that it started; what it printed."""
        with contextlib.suppress(ProcessLookupError):
            self.process.terminate()
        try:
            out = self.process.communicate(timeout=_GRACE_S)[0]
        except subprocess.TimeoutExpired:
            out = ""
        with contextlib.suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        return out


def _start(seed: int, folder: Path, only: str, bound_s: float) -> _Child:
    command = [sys.executable, "-m", "tests.chaos.run", "--seed", str(seed), "--folder", str(folder), "--only", only]
    process = subprocess.Popen(command, cwd=ROOT, stdout=subprocess.PIPE, text=True, start_new_session=True)
    return _Child(process, seed, folder, time.monotonic() + bound_s)


def run_all(seeds: Sequence[int], folder: Path, parallel: int, bound_s: float, only: str = "") -> list[int]:
    """Run every seed; the seeds that failed. Prints each run's line when it is over."""
    failed, waiting, running = [], list(seeds), list[_Child]()
    try:
        while waiting or running:
            while waiting and len(running) < parallel:
                seed = waiting.pop(0)
                running.append(_start(seed, folder / f"seed-{seed}", only, bound_s))
            time.sleep(_POLL_S)
            for child in list(running):
                late = child.process.poll() is None and time.monotonic() > child.until
                if child.process.poll() is None and not late:
                    continue
                running.remove(child)
                out = child.end()
                if late:
                    out += f"seed {child.seed}: FAILED: not over after {bound_s:.0f} s; kept: {child.folder}\n"
                if late or child.process.returncode:
                    failed.append(child.seed)
                    out = out or f"seed {child.seed}: FAILED: code {child.process.returncode}\n"
                print(out, end="", flush=True)
    finally:
        for child in running:
            child.end()
            shutil.rmtree(child.folder, ignore_errors=True)
    return failed


def main() -> int:
    """Exit code 0: all green, 1: a run failed, 130: ended by Ctrl-C."""
    parser = argparse.ArgumentParser(
        prog="make chaos", description=__doc__, formatter_class=argparse.RawTextHelpFormatter
    )
    parser.add_argument("--runs", type=int, default=100, help="how many (%(default)s)")
    parser.add_argument("--seed", type=int, default=None, help="of the first run; any if not given")
    parser.add_argument("--parallel", type=int, default=2, choices=[1, 2], help="at once (%(default)s)")
    parser.add_argument("--bound", type=float, default=180.0, help="seconds that one run may take (%(default)s)")
    parser.add_argument("--folder", type=Path, help="where failed runs are kept; if not given, in /dev/shm")
    parser.add_argument("--only", default="", metavar="KIND", help="faults of one kind: " + ", ".join(schedule.KINDS))
    parser.add_argument("--plan", action="store_true", help="say what would happen, and do not run")
    given = parser.parse_args()
    first = given.seed if given.seed is not None else random.randrange(1_000_000)
    seeds = range(first, first + given.runs)
    if given.plan:
        for seed in seeds:
            print(f"seed {seed}: " + "; ".join(map(str, schedule.draw(seed, disks.available(), given.only).faults)))
        return 0
    folder = given.folder or Path(tempfile.mkdtemp(prefix="sonde-chaos-", dir=_place()))
    print(f"{given.runs} runs, seeds {first} to {seeds[-1]}, in {folder}", flush=True)
    if not disks.available():
        print("not root: full disks are left out, as no file system can be mounted", flush=True)
    signal.signal(signal.SIGTERM, signal.getsignal(signal.SIGINT))
    began = time.monotonic()
    try:
        failed = run_all(seeds, folder, given.parallel, given.bound, given.only)
    except KeyboardInterrupt:
        print("ended; nothing is left running or mounted", flush=True)
        return 130
    minutes = (time.monotonic() - began) / 60
    print(f"{given.runs - len(failed)} of {given.runs} runs green in {minutes:.1f} min" + _hint(failed), flush=True)
    with contextlib.suppress(OSError):
        folder.rmdir()
    return 1 if failed else 0


def _place() -> str | None:
    # SIGKILL takes nothing from a file system in memory either, and its fsync costs nothing.
    return "/dev/shm" if os.access("/dev/shm", os.W_OK) else None


def _hint(failed: list[int]) -> str:
    return "".join(f'\n    again: make chaos ARGS="--runs 1 --seed {seed}"' for seed in failed)


if __name__ == "__main__":
    sys.exit(main())
