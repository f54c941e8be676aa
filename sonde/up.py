"""`sonde up`: aggregator, agent and dashboard of this host as three child processes.

Each reads its own settings, as it does when started alone. When one ends, or on Ctrl-C or SIGTERM, the others are
stopped in the order agent, dashboard, aggregator, so that what the agent still holds can be delivered.
"""

from __future__ import annotations

import ctypes
import signal
import subprocess
import sys
import time
from collections.abc import Sequence

import click

from sonde.errors import SondeError

#: started in this order, stopped in the other one.
PROGRAMS = ("aggregator", "dashboard", "agent")
PATIENCE_S = 15
_PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def _end_with_parent() -> None:
    _libc.prctl(_PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _start(program: str) -> subprocess.Popen[bytes]:
    # A session of its own: Ctrl-C reaches only this process, which then stops the others in order.
    return subprocess.Popen(
        [sys.executable, "-m", "sonde", program],
        start_new_session=True,
        preexec_fn=_end_with_parent,
    )


def _stop(children: Sequence[tuple[str, subprocess.Popen[bytes]]]) -> None:
    for _, child in reversed(children):
        if child.poll() is None:
            child.terminate()
            try:
                child.wait(PATIENCE_S)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait()


@click.command()
def up() -> None:
    """Agent, aggregator and dashboard for this host; Ctrl-C stops all three.

    Settings come from the files and variables of each program; `sonde config show` prints them.
    """
    # A flag, not an exception: no child can be lost between its start and the list.
    asked: list[int] = []
    for name in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(name, lambda number, _: asked.append(number))
    children: list[tuple[str, subprocess.Popen[bytes]]] = []
    try:
        for program in PROGRAMS:
            children.append((program, _start(program)))
        while not asked:
            for program, child in children:
                if child.poll() is not None:
                    raise SondeError(f"{program} ended with {child.returncode}; its last lines are above")
            time.sleep(0.25)
        click.echo("stopping", err=True)
    finally:
        _stop(children)
