"""Which service a process is: override rule, container, systemd unit, process name; in this order.

Invariants: a name is looked up once for each life of a process (its start time tells lives apart), and a process
that is gone keeps the name it had, or gets the one that the kernel recorded with its event.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from node_agent.config import ServiceRule

_CONTAINER = re.compile(
    r"(?:docker|cri-containerd|crio|libpod)-([0-9a-f]{64})\.scope|/(?:docker|kubepods[^:]*)/(?:.*/)?([0-9a-f]{64})$"
)
_UNIT = re.compile(r"/([^/]+)\.service(?:/|$)")
_NOT_A_SERVICE = re.compile(r"^(user@\d+|session-.*|init)$")
_INTERPRETER = re.compile(r"^(python|node|ruby|perl|php|java|uwsgi|gunicorn)[\d.]*$")
_SCRIPT = re.compile(r"^(?:[\w.@-]*/)*[\w.@-]+\.(?:py|pyc|js|mjs|cjs|ts|rb|pl|php|jar)$|^(?:/[\w.@-]+)+$", re.ASCII)
_MODULE = re.compile(r"^\w+(\.\w+)*$", re.ASCII)
_CODE = frozenset(("-c", "-e", "-E", "-r", "-p", "-pe", "--eval", "--print"))
_LIMIT = 20_000


@dataclass(frozen=True, slots=True)
class Process:
    """What is known of one process."""

    service: str
    comm: str


def container_name(cgroup: str) -> str:
    """Short id of the container that a line of /proc/PID/cgroup names, or ""."""
    match = _CONTAINER.search(cgroup)
    return (match.group(1) or match.group(2))[:12] if match else ""


def unit_name(cgroup: str) -> str:
    """The systemd unit that a line of /proc/PID/cgroup names, without ".service", or ""."""
    units = [unit for unit in _UNIT.findall(cgroup) if not _NOT_A_SERVICE.match(unit)]
    return units[-1] if units else ""


def script_name(comm: str, command: Sequence[str]) -> str:
    """Name of what an interpreter runs: the module, script or jar; the process name for everything else.

    Only what looks like a script's path is taken: an argument can hold code (`-c`, `-e`) or a secret.
    """
    if not _INTERPRETER.match(comm):
        return comm
    arguments = iter(command[1:])
    for argument in arguments:
        if argument == "-m":
            module = next(arguments, "")
            return module.rpartition(".")[2] if _MODULE.match(module) else comm
        if _SCRIPT.match(argument):
            return PurePosixPath(argument).stem
        if argument in _CODE:
            return comm
    return comm


class Processes:
    """Names of processes by pid, cached."""

    def __init__(self, rules: Sequence[ServiceRule] = (), proc: Path = Path("/proc")) -> None:
        self._rules = [(rule.service, re.compile(rule.process), re.compile(rule.command)) for rule in rules]
        self._proc = proc
        self._known: dict[int, tuple[str, Process]] = {}

    def named(self, pid: int, comm: str) -> Process:
        """The process `pid`, of which the kernel's event said that its thread is called `comm`."""
        life = self._life(pid)
        known = self._known.get(pid)
        if known is not None and life in ("", known[0]):
            return known[1]
        process = self._look(pid) if life else Process(self._ruled(comm, "") or comm, comm)
        if len(self._known) >= _LIMIT:
            for old in list(self._known)[: _LIMIT // 2]:
                del self._known[old]
        if life:
            self._known[pid] = (life, process)
        return process

    def _read(self, pid: int, name: str) -> str:
        try:
            return (self._proc / str(pid) / name).read_text(encoding="utf-8", errors="replace")
        except OSError:
            return ""

    def _life(self, pid: int) -> str:
        """Start time of a process, "" if it is gone; with the name, since exec() changes what it is."""
        stat = self._read(pid, "stat")
        head, _, tail = stat.rpartition(")")
        return f"{head.partition('(')[2]} {tail.split()[19]}" if tail else ""

    def _ruled(self, comm: str, command: str) -> str:
        for service, process, pattern in self._rules:
            if (not process.pattern or process.fullmatch(comm)) and (not pattern.pattern or pattern.search(command)):
                return service
        return ""

    def _look(self, pid: int) -> Process:
        comm = self._read(pid, "comm").strip()
        command = self._read(pid, "cmdline").split("\0")
        cgroup = self._read(pid, "cgroup")
        service = self._ruled(comm, " ".join(command)) or container_name(cgroup) or unit_name(cgroup)
        return Process(service or script_name(comm, command) or comm, comm)
