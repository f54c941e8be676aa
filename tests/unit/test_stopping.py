"""One wish to stop is one, however many signals carry it; a second wish is obeyed at once."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator

import pytest

_PROGRAM = """
import sys, time
from sonde import stopping
stopping._SAME_S = float(sys.argv[1])
stopping.on_signal(lambda: print("asked", flush=True))
print("ready", flush=True)
end = time.monotonic() + 60
while time.monotonic() < end:
    time.sleep(1)
sys.exit(3)
"""


@pytest.fixture
def program() -> Iterator[Callable[[float], subprocess.Popen[str]]]:
    made: list[subprocess.Popen[str]] = []

    def start(same_s: float) -> subprocess.Popen[str]:
        command = [sys.executable, "-c", _PROGRAM, str(same_s)]
        made.append(subprocess.Popen(command, stdout=subprocess.PIPE, text=True))
        assert made[0].stdout is not None
        assert made[0].stdout.readline() == "ready\n"
        return made[0]

    yield start
    for one in made:
        one.kill()
        one.communicate()


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_ends_the_process_at_once(
    program: Callable[[float], subprocess.Popen[str]], second: signal.Signals
) -> None:
    running = program(0.0)
    assert running.stdout is not None
    running.send_signal(signal.SIGINT)
    assert running.stdout.readline() == "asked\n"
    time.sleep(0.01)  # later than the first, by the program's clock
    running.send_signal(second)
    assert running.wait(30) == 1


def test_signals_that_come_together_are_one_wish(program: Callable[[float], subprocess.Popen[str]]) -> None:
    running = program(1000.0)
    assert running.stdout is not None
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGINT):
        running.send_signal(number)
    assert running.stdout.readline() == "asked\n"
    with pytest.raises(subprocess.TimeoutExpired):
        running.wait(1)
