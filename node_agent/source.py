"""Where the agent's records come from: the kernel. A recording is the other source (node_agent/recording.py).

One broken probe never takes the others down: it is named in `broken`, in the log once, and in agent_stats.
"""

from __future__ import annotations

import contextlib
import logging
import os
import select
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.config import AgentSettings
from node_agent.identity.host import Endpoint, Network
from node_agent.identity.processes import Process, Processes
from node_agent.kernel import capabilities, layout, syscall
from node_agent.probes.base import Probe
from node_agent.probes.connections import Connections
from node_agent.probes.registry import PROBES
from node_agent.probes.requests import Requests
from sonde.errors import KernelError, SondeError

Array = npt.NDArray[Any]

_log = logging.getLogger("sonde.agent")

_REFRESH_SECONDS = 60.0  # an open connection is reported this often
_SHORTEST_WAIT, _LONGEST_WAIT = 0.005, 0.04  # seconds between reads while records come


@dataclass
class Capture:
    """What one read of the source gave; times are monotonic ns of the host that was observed."""

    turns: dict[str, Array] = field(default_factory=dict)
    events: Array = field(default_factory=lambda: np.zeros(0, layout.CONNECTION_EVENT))
    waiting: Array | None = None  # sockets with an unanswered request; None: not looked at this time


class KernelSource:
    """The probes of this host."""

    replay = False

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self.probes: dict[str, Probe] = {}
        self.broken: dict[str, str] = {}
        self.network = Network(settings.scope.netns_inode)
        self._processes = Processes(settings.services)
        self._poll = select.epoll()
        self._wait = _SHORTEST_WAIT
        self._refreshed = time.monotonic()
        self._sweep_at = 0.0
        self._past: dict[str, dict[str, int]] = {}  # counters of probes that were detached

    def open(self) -> None:
        """Load and attach every probe, then start them together.

        Raises:
            KernelError: a capability is missing, or none of them works.
        """
        self._check_capabilities()
        unknown = [name for name in self.settings.probes if name not in PROBES]
        for name in self.settings.probes:
            if name in PROBES:
                self.probes[name] = PROBES[name](self.settings)
        self.broken |= {name: f"no such probe; known are {', '.join(PROBES)}" for name in unknown}
        for name in unknown:
            _log.error("probe %s: %s", name, self.broken[name])
        for step in ("begin_load", "finish_load", "start"):
            for name, probe in list(self.probes.items()):
                try:
                    getattr(probe, step)()
                except SondeError as error:
                    self.broken[name] = str(error)
                    _log.error("%s; the other probes go on", error)
                    with contextlib.suppress(Exception):
                        probe.close()
                    del self.probes[name]
        if not self.probes:
            raise KernelError(f"no probe works here: {'; '.join(self.broken.values())}")
        for probe in self.probes.values():
            for descriptor in probe.ring_descriptors:
                self._poll.register(descriptor, select.EPOLLIN)

    def _check_capabilities(self) -> None:
        absent = capabilities.missing_here()
        told = [f"{item.name} ({item.why})" for item in absent if item.required]
        if told:
            raise KernelError(
                f"missing: {', '.join(told)}; run as root, or add them to AmbientCapabilities of the unit"
            )
        for item in absent:
            _log.warning("%s is missing, needed %s; the agent goes on without", item.name, item.why)

    def detach(self) -> None:
        """Take every probe out of the kernel; `open` loads them again. Counters go on from where they are."""
        self._past = {name: dict(counters) for name, counters in self.counters()}
        for probe in self.probes.values():
            probe.close()
        self.probes.clear()

    def wait(self, timeout: float) -> None:
        """Until records have come, gathered for some milliseconds, or `timeout` seconds have passed."""
        with contextlib.suppress(InterruptedError):
            if self._poll.poll(timeout):
                time.sleep(min(self._wait, timeout))

    def read(self, sweep: bool) -> Capture:
        """New records; with `sweep` also end silent responses and look for unanswered requests."""
        capture = Capture()
        requests, connections = self.probes.get("requests"), self.probes.get("connections")
        if isinstance(requests, Requests):
            if sweep and time.monotonic() >= self._sweep_at:
                capture.waiting = self._sweep(requests)
            capture.turns = requests.read()
            self._adapt(sum(records.nbytes for records in capture.turns.values()))
        if isinstance(connections, Connections):
            if time.monotonic() - self._refreshed > _REFRESH_SECONDS:
                connections.refresh()
                self._refreshed = time.monotonic()
            capture.events = connections.read()
        return capture

    def _sweep(self, requests: Requests) -> Array | None:
        # It copies what the kernel keeps of every socket: with many sockets it comes less often, for 2 % of a core.
        began = time.monotonic()
        try:
            return requests.sweep()
        except KernelError as error:
            _log.error("silent responses cannot be ended: %s; they end with the next request", error)
            self._sweep_at = float("inf")
            return None
        finally:
            ended = time.monotonic()
            self._sweep_at = max(self._sweep_at, ended + 50 * (ended - began))

    def drain(self) -> None:
        """End what has an answer and observe no more; one last `read` follows."""
        for probe in self.probes.values():
            probe.drain()

    def _adapt(self, read_bytes: int) -> None:
        size = self.settings.rings.kilobytes * 1024
        if read_bytes > size // 4:
            self._wait = max(self._wait / 2, _SHORTEST_WAIT)
        elif read_bytes < size // 16:
            self._wait = min(self._wait * 2, _LONGEST_WAIT)

    def process(self, pid: int, comm: str) -> Process:
        """Service and name of a process."""
        return self._processes.named(pid, comm)

    def addresses(self) -> list[str]:
        """Of every interface in scope."""
        return self.network.addresses()

    def endpoints(self) -> list[Endpoint]:
        """Listening sockets in scope."""
        return self.network.endpoints()

    def counters(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Each probe's totals."""
        for name in {**self._past, **self.probes}:
            counters = dict(self._past.get(name, {}))
            for key, count in self.probes[name].counters().items() if name in self.probes else ():
                counters[key] = counters.get(key, 0) + count
            yield name, counters

    def cost(self) -> dict[str, tuple[int, int]]:
        """Each probe's (ns, runs) while the kernel's statistics were on."""
        return {name: probe.cost() for name, probe in self.probes.items()}

    @contextlib.contextmanager
    def statistics(self) -> Iterator[None]:
        """The kernel measures its programs inside the block."""
        descriptor = syscall.enable_statistics()
        try:
            yield
        finally:
            os.close(descriptor)

    def close(self) -> None:
        """Detach everything."""
        self._poll.close()
        for probe in self.probes.values():
            probe.close()
        self.probes.clear()
