"""However `make chaos` ends, no process and no mount of its runs is left."""

from __future__ import annotations

import contextlib
import signal
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.chaos import disks, schedule
from tests.support.aggregators import ROOT

_PATIENCE_S = 90.0


def naming(folder: Path, file: str) -> list[str]:
    """Lines of /proc/PID/`file`, of any process, that name the folder."""
    found = []
    for path in Path("/proc").glob(f"[0-9]*/{file}"):
        with contextlib.suppress(OSError):  # a process that has just ended
            lines = path.read_bytes().replace(b"\0", b" ").decode(errors="replace").splitlines()
            found += [line for line in lines if str(folder) in line]
    return found


def processes_of(folder: Path) -> list[str]:
    return naming(folder, "cmdline")


def mounts_of(folder: Path) -> list[str]:
    """In any mount namespace that a process is in."""
    return naming(folder, "mounts")


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + _PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.1)


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_nothing_is_left_when_it_is_ended(tmp_path: Path, number: signal.Signals) -> None:
    seed = next(seed for seed in range(100) if schedule.draw(seed).on_disk)
    folder = tmp_path / "runs"
    command = [sys.executable, "-m", "tests.chaos", "--runs", "3", "--seed", str(seed), "--parallel", "1"]
    with subprocess.Popen([*command, "--folder", str(folder)], cwd=ROOT, stdout=subprocess.PIPE, text=True) as chaos:
        until(lambda: any(folder.glob("seed-*/agent*/acts")))
        assert processes_of(folder)
        assert mounts_of(folder) or not disks.available()
        assert str(folder) not in Path("/proc/self/mounts").read_text()
        chaos.send_signal(number)
        out, _ = chaos.communicate(timeout=_PATIENCE_S)
    if number != signal.SIGKILL:
        assert chaos.returncode == 130, out
        assert "nothing is left" in out
    until(lambda: not processes_of(folder))
    until(lambda: not mounts_of(folder))
