"""What every probe has: a program to load, settings to start it, counters to read."""

from __future__ import annotations

import os
from typing import Any

import numpy as np

from node_agent.config import AgentSettings
from node_agent.kernel import layout, syscall
from node_agent.kernel.loader import Build, Loaded, Program


def possible_cpus() -> int:
    """How many values a per-CPU map entry holds: the processors that the kernel could ever have."""
    with open("/sys/devices/system/cpu/possible", encoding="ascii") as file:
        return int(file.read().strip().split(",")[-1].split("-")[-1]) + 1


class Probe:
    """A probe in the kernel. `name` is the stem of its C file and of its module."""

    name: str

    def __init__(self, settings: AgentSettings) -> None:
        self.settings = settings
        self._loaded: Loaded | None = None
        self._build: Build | None = None
        self._values = np.zeros((), layout.SETTINGS)

    def program(self) -> Program:
        """What to compile."""
        raise NotImplementedError

    def begin_load(self) -> None:
        """Start compiling, in a child process.

        Raises:
            SondeError: no compiler could be started.
        """
        self._build = Build(self.program())

    def finish_load(self) -> None:
        """Wait for it and attach; nothing is counted before `start`.

        Raises:
            ProbeError: it did not compile, load or attach.
        """
        assert self._build is not None
        build, self._build = self._build, None
        self._loaded = build.result()

    @property
    def loaded(self) -> Loaded:
        """Its descriptors."""
        assert self._loaded is not None, "begin_load and finish_load come first"
        return self._loaded

    def start(self) -> None:
        """Count from now on."""
        scope = self.settings.scope
        values = np.zeros((), layout.SETTINGS)
        values["own_pid"] = os.getpid()
        values["network_namespace"] = scope.netns_inode
        values["cgroup"], values["cgroup_level"] = scope.cgroup_id
        values["pids"][: len(scope.pids)] = scope.pids
        values["ports"][: len(scope.ports)] = scope.ports
        values["idle_ns"] = int(self.settings.end_idle_seconds * 1e9)
        values["started"] = 1
        self._values = values
        self._tell()

    def _tell(self) -> None:
        syscall.update(self.loaded.maps["settings_map"], bytes(4), self._values.tobytes())

    def set_idle(self, idle_ns: int) -> None:
        """From now on a response ends after `idle_ns` without a byte."""
        self._values["idle_ns"] = idle_ns
        self._tell()

    def stop(self) -> None:
        """Count no more; what is in the rings can still be read."""
        self._values["started"] = 0
        self._tell()

    def drain(self) -> None:
        """Observe no more; what follows is the last read."""
        self.stop()

    @property
    def ring_descriptors(self) -> list[int]:
        """Readable when a ring that was empty has a record."""
        raise NotImplementedError

    def close(self) -> None:
        """Detach and free."""
        if self._build is not None:
            self._build.cancel()
            self._build = None
        if self._loaded is not None:
            self._loaded.close()
            self._loaded = None

    def counters(self) -> dict[str, int]:
        """Totals since the start, by name; the registry says what each counts."""
        raise NotImplementedError

    def cost(self) -> tuple[int, int]:
        """(ns, runs) of its programs while the kernel's statistics were on."""
        pairs = [syscall.program_cost(descriptor) for descriptor in self.loaded.programs.values()]
        return sum(ns for ns, _ in pairs), sum(runs for _, runs in pairs)

    def _per_cpu(self, map_name: str, entries: int) -> np.ndarray[Any, np.dtype[np.uint64]]:
        totals = np.zeros(entries, dtype=np.uint64)
        for index in range(entries):
            raw = syscall.lookup(self.loaded.maps[map_name], index.to_bytes(4, "little"), 8 * possible_cpus())
            if raw is not None:
                totals[index] = np.frombuffer(raw, dtype="<u8").sum()
        return totals
