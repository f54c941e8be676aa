"""Starts, watches and stops the demo; see the package for what it is made of."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import sys
import time
import urllib.request
from collections.abc import Callable, Sequence
from typing import NoReturn

import click

from deploy.demo import hosts, parts, text, workdir
from deploy.demo.parts import DemoError, Part, Ports
from tests.targets import netns
from tests.targets.process import Process, TargetError

FIRST_DATA_S = 60
_BEGIN = time.monotonic()
_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)


class _Stop(BaseException):
    """A signal asked for the end."""


def _raise_stop(number: int, frame: object) -> NoReturn:  # noqa: ARG001
    raise _Stop


def _ignore_signals() -> None:
    # Nothing may interrupt the cleaning up.
    for name in _SIGNALS:
        signal.signal(name, signal.SIG_IGN)


def _stop_all(started: Sequence[Part]) -> None:
    # The last first: what an agent still holds goes to an aggregator that still runs.
    stopping = started[::-1]
    agents = [part for part in stopping if part.name.startswith("agent")]
    for part in agents:
        if part.child is not None and part.child.poll() is None:
            part.child.terminate()
    for part in agents:
        part.stop()
    for part in stopping:
        if part.child is not None and part.child.poll() is None:
            part.child.terminate()
    for part in stopping:
        part.stop()


def _http(url: str) -> str:
    with contextlib.suppress(OSError), urllib.request.urlopen(url, timeout=2) as answer:
        return str(answer.read().decode())
    return ""


def _wait(what: str, ready: Callable[[], bool], check: Callable[[], None], patience_s: float) -> None:
    deadline = time.monotonic() + patience_s
    while not ready():
        check()
        if time.monotonic() > deadline:
            raise DemoError(f"{what}: not within {patience_s:.0f} s; see the logs with --keep in .sonde/demo/logs")
        time.sleep(0.1)


def _rows(ports: Ports) -> int:
    query = "SELECT%20count()%20FROM%20sonde.requests%20FORMAT%20JSONCompact"
    with contextlib.suppress(ValueError, KeyError, IndexError):
        return int(json.loads(_http(f"http://127.0.0.1:{ports.sql}/?query={query}"))["data"][0][0])
    return 0


def _watch(watched: Sequence[Process], seconds: float) -> None:
    end = time.monotonic() + seconds if seconds else float("inf")
    while time.monotonic() < end:
        time.sleep(0.25)
        _check(watched)


def _check(watched: Sequence[Process]) -> None:
    for process in watched:
        if isinstance(process, Part):
            process.check()
        elif process.child is not None and process.child.poll() is not None:
            raise DemoError(f"{process.argv[0]} ended; the end of its log:\n{process.tail()}")


def _run(ports: Ports, offset: int, seconds: float, keep: bool, force_replay: bool) -> None:
    with contextlib.ExitStack() as stack:
        try:
            folder = stack.enter_context(workdir.workdir(offset, keep, os.getpid()))
            watched = _start(stack, folder, ports, force_replay)
            _wait("first data", lambda: _rows(ports) > 0, lambda: _check(watched), FIRST_DATA_S)
            text.say(f"data is there, {time.monotonic() - _BEGIN:.0f} s after the start")
            text.guide(ports, offset)
            text.say(f"running for {seconds:.0f} s" if seconds else "running; Ctrl-C stops and removes all of it")
            _watch(watched, seconds)
            text.say("stopping")
        finally:
            _ignore_signals()


def _start(stack: contextlib.ExitStack, folder: workdir.Workdir, ports: Ports, force_replay: bool) -> list[Process]:
    """Starts all and returns what has to go on."""
    workdir.mount_tracefs()
    refusal = "asked for with --replay" if force_replay else workdir.kernel_refuses()
    if refusal and not workdir.recordings():
        raise DemoError(
            f"there is no recording to replay in {workdir.RECORDINGS}, and the probes do not run: {refusal}"
        )
    started: list[Part] = []
    stack.callback(_stop_all, started)

    def launch(part: Part) -> None:
        started.append(part)
        part.launch()

    aggregator, dashboard = parts.aggregator(folder.logs, folder.store, ports), parts.dashboard(folder.logs, ports)
    watched: list[Process] = [aggregator, dashboard]
    launch(aggregator)
    if refusal:
        text.say(f"the probes do not run here, so this is a REPLAY of a recording: {refusal}")
        launch(dashboard)
        _ready(aggregator, ports)
        for recording in workdir.recordings():
            player = parts.replay(folder.logs, recording, ports)
            launch(player)
            watched.append(player)
    else:
        text.say("making the hosts web, app and db; starting aggregator, dashboard, and one agent a host")
        network = stack.enter_context(hosts.network())
        # The agents compile their probes for seconds, and wait for the aggregator if they are done first.
        agents = parts.agents(folder.logs, network, ports)
        for agent in agents:
            launch(agent)
        watched += agents
        launch(dashboard)
        text.say("starting MariaDB and Redis on db, the API on app, nginx on web")
        watched += stack.enter_context(hosts.servers(network, workdir.CACHE / "mariadb"))
        # Not before: a request that only one end saw would look as if Sonde had lost the other.
        _wait(
            "the agents' probes",
            lambda: all(agent.listening for agent in agents),
            lambda: _check(watched),
            FIRST_DATA_S,
        )
        load = hosts.Load(network)
        stack.callback(load.stop)
        load.start()
        watched.append(load)
        _ready(aggregator, ports)
    dashboard.wait_ready()
    return watched


def _ready(aggregator: Part, ports: Ports) -> None:
    aggregator.wait_ready()
    _wait("the aggregator", lambda: bool(_http(f"http://127.0.0.1:{ports.api}/readyz")), aggregator.check, 30)


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--seconds", type=click.FloatRange(min=0), default=0, help="Stop by itself after so long; 0: at Ctrl-C.")
@click.option("--port-offset", type=click.IntRange(0, 50_000), default=0, help="Add this to each port.")
@click.option("--keep", is_flag=True, help="Keep store and logs in .sonde/demo.")
@click.option(
    "--replay", "force_replay", is_flag=True, help="Play the recording even where the kernel runs the probes."
)
def main(seconds: float, port_offset: int, keep: bool, force_replay: bool) -> None:
    """Three hosts on this machine, real servers, real agents, aggregator and dashboard."""
    if reason := netns.available():
        raise click.ClickException(f"{reason}, and eBPF needs root as well. Run: sudo make demo")
    for number in _SIGNALS:
        signal.signal(number, _raise_stop)
    # All hosts share one kernel: each agent's probes run for the system calls of all three, and of the whole machine.
    os.environ.setdefault("SONDE_AGENT__BUDGET__CPU_PERCENT", "25")
    ports = Ports.moved(port_offset)
    try:
        for name in workdir.remove_leftovers():
            text.say(f"removed {name}, left by a demo that was killed")
        ports.check_free(agents=3)
        _run(ports, port_offset, seconds, keep, force_replay)
    except _Stop:
        click.echo()
        text.say("stopped; hosts, processes and files are removed")
    except (DemoError, TargetError, netns.NamespaceError) as error:
        click.echo(f"demo: {error}", err=True)
        sys.exit(1)


if __name__ == "__main__":
    main()
