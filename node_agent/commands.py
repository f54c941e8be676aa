"""Commands of the agent: agent, doctor, record, replay."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import click

from node_agent.config import AgentSettings, load_settings
from sonde import checks, logs
from sonde.stopping import on_signal

_M_MMAP_THRESHOLD, _M_ARENA_MAX = -3, -8

_CONFIG = click.option("--config", type=click.Path(), help="Settings file [default: /etc/sonde/agent.yml].")


def _observe_options(command: Callable[..., Any]) -> Callable[..., Any]:
    for option in (
        click.option("--probe", "probes", multiple=True, help="Load only this probe; may be repeated."),
        click.option("--scope-pid", "pids", type=int, multiple=True, help="Look only at this process; up to 8."),
        click.option("--scope-port", "ports", type=int, multiple=True, help="Look only at this port; up to 8."),
        click.option("--scope-cgroup", "cgroup", help="Look only at processes of this cgroup (v2) path."),
        click.option("--scope-netns", "netns", help="Look only at this network namespace: inode or /run/netns path."),
        click.option("--host-name", help="This host's name in every table [default: the system's]."),
        _CONFIG,
    ):
        command = option(command)
    return command


def _settings(config: str | None, **flags: Any) -> AgentSettings:
    given: dict[str, Any] = {
        name: flags[name] for name in ("host_name", "aggregator", "insecure") if flags.get(name) is not None
    }
    scope = {
        name: list(flags[name]) if isinstance(flags[name], tuple) else flags[name]
        for name in ("netns", "cgroup", "ports", "pids")
        if flags.get(name)
    }
    if scope:
        given["scope"] = scope
    if flags.get("probes"):
        given["probes"] = list(flags["probes"])
    if flags.get("metrics_listen") is not None:
        given["metrics"] = {"listen": flags["metrics_listen"]}
    if flags.get("spool_path") is not None:
        given["spool"] = {"path": flags["spool_path"]}
    if flags.get("ring_kilobytes") is not None:
        given["rings"] = {"kilobytes": flags["ring_kilobytes"]}
    return load_settings(given, config)


def _return_memory() -> None:
    """Give large arrays back to the system at once: glibc would keep what the busiest second needed."""
    mallopt = getattr(ctypes.CDLL(None), "mallopt", None)
    if mallopt is not None:  # glibc; numbers of malloc.h
        mallopt(_M_MMAP_THRESHOLD, 256 << 10)
        mallopt(_M_ARENA_MAX, 2)


@click.command()
@_observe_options
@click.option("--aggregator", help="Address:port of its gRPC, several with commas [default: 127.0.0.1:7443].")
@click.option("--insecure", is_flag=True, default=None, help="Send in plain text to an aggregator on another host.")
@click.option("--metrics-listen", help="Address:port of /metrics, empty for none [default: 127.0.0.1:9898].")
@click.option("--spool-path", help="File of unacknowledged batches, empty for memory only; one an agent.")
@click.option("--ring-kilobytes", type=int, help="Size of each request ring, a power of two [default: 4096].")
@click.option("--check", is_flag=True, help="Only say whether it could start here; exit code 1 if not.")
def agent(check: bool, **flags: Any) -> None:
    """Observe this host and send what is seen to an aggregator. Ctrl-C detaches all probes."""
    if check:
        from node_agent import check as examination

        checks.report(lambda: _settings(**flags), examination.check)
        return
    from node_agent.agent import Agent
    from node_agent.source import KernelSource

    settings = _settings(**flags)
    logs.start(settings.log)
    _return_memory()
    running = Agent(settings, KernelSource(settings))
    on_signal(running.stop)
    running.run()


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
@_CONFIG
def doctor(config: str | None, as_json: bool) -> None:
    """Say which probes run here, which do not, why, and what would help; exit code 1 if a probe does not."""
    from node_agent.kernel import doctor as examination

    findings = examination.examine(load_settings({}, config))
    click.echo(examination.as_json(findings) if as_json else examination.as_text(findings))
    if not all(finding.good for finding in findings if finding.required):
        raise SystemExit(1)


@click.command()
@click.argument("file", type=click.Path())
@_observe_options
@click.option("--seconds", type=float, default=10.0, show_default=True, help="How long; Ctrl-C ends it earlier.")
@click.option("--raw", is_flag=True, help="Keep literals. Needs --yes-payloads.")
@click.option("--yes-payloads", is_flag=True, help="Yes, the file may hold payloads of the applications.")
def record(file: str, seconds: float, raw: bool, yes_payloads: bool, **flags: Any) -> None:
    """Write what the kernel saw to FILE, for a bug report or a benchmark. Literals are masked, lengths kept."""
    from node_agent.recording import record_to
    from node_agent.source import KernelSource
    from sonde.errors import UsageError

    if raw and not yes_payloads:
        raise UsageError("--raw keeps payloads such as passwords in FILE; say --yes-payloads if that is wanted")
    settings = _settings(spool_path="", **flags)
    logs.start(settings.log)
    turns = record_to(file, settings, KernelSource(settings), seconds, raw)
    click.echo(f"{file}: {turns} turns in {seconds:g} s{', with payloads' if raw else ', literals masked'}")


@click.command()
@click.argument("file", type=click.Path())
@click.option("--host-name", help="Another name for the host [default: the recorded one].")
@click.option("--aggregator", help="Address:port of its gRPC, several with commas [default: 127.0.0.1:7443].")
@click.option("--insecure", is_flag=True, default=None, help="Send in plain text to an aggregator on another host.")
@click.option("--loop", is_flag=True, help="Begin again at the end, until Ctrl-C.")
@click.option("--fast", is_flag=True, help="As fast as it goes, not at the recorded pace.")
@_CONFIG
def replay(file: str, loop: bool, fast: bool, **flags: Any) -> None:
    """Send a recording through the whole pipeline; pages mark its host as a replay."""
    from node_agent.agent import Agent
    from node_agent.recording import Recording

    recording = Recording(file, loop=loop, fast=fast)
    if recording.raw:
        click.echo(f"warning: {file} holds payloads; do not pass it on", err=True)
    flags["host_name"] = flags["host_name"] or recording.host_name
    settings = _settings(metrics_listen="", spool_path="", **flags)
    logs.start(settings.log)
    running = Agent(settings, recording)
    on_signal(running.stop)
    if not running.run():
        raise SystemExit(1)
