"""Probe `connections`: a record at a TCP connection's start, end, and once a minute; bpf/connections.c."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.config import AgentSettings
from node_agent.kernel import layout, syscall
from node_agent.kernel.loader import Program
from node_agent.kernel.ring import Ring
from node_agent.probes.base import Probe


class Connections(Probe):
    """Connection records from one ring."""

    name = "connections"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._ring: Ring | None = None

    def program(self) -> Program:
        """See Probe.program."""
        return Program(
            self.name,
            maps=("settings_map", "conns", "counters", "events"),
            runnable=("refresh",),
            defines={
                "RING_PAGES": self.settings.rings.connections_kilobytes // 4,
                "MAX_CONNECTIONS": self.settings.max_connections,
            },
        )

    def finish_load(self) -> None:
        """See Probe.finish_load."""
        super().finish_load()
        size = self.settings.rings.connections_kilobytes * 1024
        self._ring = Ring(self.loaded.maps["events"], size, layout.CONNECTION_EVENT)

    def close(self) -> None:
        """See Probe.close."""
        if self._ring is not None:
            self._ring.close()
            self._ring = None
        super().close()

    @property
    def ring_descriptors(self) -> list[int]:
        """Readable when a ring that was empty has a record."""
        return [self.loaded.maps["events"]]

    def read(self) -> npt.NDArray[Any]:
        """New records, shape (n,) of layout.CONNECTION_EVENT."""
        assert self._ring is not None
        return self._ring.read()

    def refresh(self) -> None:
        """Report every open connection, as it is now."""
        keys, _ = syscall.entries(
            self.loaded.maps["conns"], 8, np.dtype((np.void, layout.CONNECTION_CONN_BYTES)), at_once=256
        )
        for key in keys.view("<u8").reshape(-1):
            syscall.run(self.loaded.programs["refresh"], int(key))

    def counters(self) -> dict[str, int]:
        """Totals."""
        values = self._per_cpu("counters", len(layout.CONNECTION_COUNTERS)).tolist()
        return dict(zip(layout.CONNECTION_COUNTERS, values, strict=True))
