"""`sonde agent --check`: whether an agent with these settings could start here and deliver; nothing is changed.

Probes are not loaded: `sonde doctor` says which of them run.
"""

from __future__ import annotations

import contextlib
import fcntl
from collections.abc import Iterator
from pathlib import Path

import grpc

from node_agent.config import AgentSettings
from node_agent.delivery.channel import open_channel, tls_files
from sonde import checks
from sonde.errors import UsageError

_PATIENCE_S = 5.0


def check(settings: AgentSettings) -> Iterator[checks.Finding]:
    """Every finding, each as soon as it is known; none raises."""
    looks = (
        ("host name", _name), ("scope", _scope), ("spool", _spool), ("metrics.listen", _port),
        ("certificates", _certificates), ("aggregator", _aggregator),
    )  # fmt: skip
    return checks.findings(looks, settings)


def _name(settings: AgentSettings) -> str:
    return settings.name


def _scope(settings: AgentSettings) -> str:
    scope = settings.scope
    limits = [
        f"netns {scope.netns_inode}" if scope.netns_inode else "",
        f"cgroup {scope.cgroup}" if scope.cgroup_id[0] else "",
        f"ports {scope.ports}" if scope.ports else "",
        f"pids {scope.pids}" if scope.pids else "",
    ]
    return ", ".join(filter(None, limits)) or "everything"


def _spool(settings: AgentSettings) -> str:
    if not settings.spool.path:
        return "in memory only: what is not acknowledged is lost with the process"
    path = Path(settings.spool.path)
    checks.writable_folder(path.parent)
    lock = path.with_name(f"{path.name}.lock")
    if lock.exists():
        with lock.open("rb") as file:
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise UsageError(
                    f"{path} is in use by another agent; stop it, or choose another --spool-path"
                ) from None
    return f"{path} is there" if path.exists() else f"{path} will be created in {checks.nearest(path)}"


def _port(settings: AgentSettings) -> str:
    listen = settings.metrics.listen
    host, _, port = listen.rpartition(":")
    if not listen:
        return "none"
    if not port.isdecimal():
        raise UsageError(f"{listen} is not address:port, such as 127.0.0.1:9898")
    return checks.free_port(listen, host.strip("[]"), int(port))


def _certificates(settings: AgentSettings) -> str:
    if tls_files(settings) is None:
        return "none: batches travel in plain text"
    return checks.good_certificate(settings.tls)


def _aggregator(settings: AgentSettings) -> str:
    files = tls_files(settings)
    missing = [address for address in settings.aggregator if not _answers(settings, address, files)]
    if len(missing) == len(settings.aggregator):
        raise UsageError(f"nobody answers at {', '.join(missing)}; batches would wait in the spool")
    there = [address for address in settings.aggregator if address not in missing]
    return f"{', '.join(there)} answers" + (f"; not {', '.join(missing)}" if missing else "")


def _answers(settings: AgentSettings, address: str, files: object) -> bool:
    with contextlib.closing(open_channel(settings, address, files)) as channel:  # type: ignore[arg-type]
        try:
            grpc.channel_ready_future(channel).result(timeout=_PATIENCE_S)
        except grpc.FutureTimeoutError:
            return False
    return True
