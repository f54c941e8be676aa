"""`sonde up`: three children, one ends or a signal comes, none is left."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

STARTER = """
import subprocess, sys
from sonde import up
scripts = {
    "aggregator": "import time; time.sleep(600)",
    "dashboard": "import time; time.sleep(600)",
    "agent": sys.argv[1],
}
def start(program):
    child = real([sys.executable, "-c", scripts[program]])
    print(program, child.pid, flush=True)
    return child
def real(argv):
    return subprocess.Popen(argv, start_new_session=True, preexec_fn=up._end_with_parent)
up._start = start
from sonde.cli import main
main(["up"])
"""


def start(agent: str) -> tuple[subprocess.Popen[str], list[int]]:
    child = subprocess.Popen(
        [sys.executable, "-c", STARTER, agent], stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True
    )
    assert child.stdout is not None
    lines = [child.stdout.readline().split() for _ in range(3)]
    assert [name for name, _ in lines] == ["aggregator", "dashboard", "agent"]
    return child, [int(pid) for _, pid in lines]


def living(pids: list[int]) -> list[int]:
    return [pid for pid in pids if Path(f"/proc/{pid}").exists()]


def test_a_child_that_ends_stops_the_others() -> None:
    child, pids = start("import sys; sys.exit(3)")
    _, told = child.communicate(timeout=30)
    assert child.returncode == 1
    assert "agent ended with 3" in told
    assert living(pids) == []


def test_a_signal_stops_all() -> None:
    child, pids = start("import time; time.sleep(600)")
    assert len(living(pids)) == 3
    os.kill(child.pid, signal.SIGTERM)
    child.communicate(timeout=30)
    assert child.returncode == 0
    assert living(pids) == []
