"""Probe `requests`: one turn of request and response bytes per record; bpf/requests.c holds the pairing."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.config import AgentSettings
from node_agent.kernel import layout, syscall
from node_agent.kernel.loader import Program
from node_agent.kernel.ring import Ring
from node_agent.probes.base import Probe
from node_agent.probes.blocked import adopt
from proto import sonde_pb2 as pb

Records = npt.NDArray[Any]

_DATA_READY = Path("/sys/kernel/tracing/events/sock/sk_data_ready")

#: How an HTTP/1 request begins, as bpf/protocols/http1.h has it.
_METHODS = (b"GET ", b"POST", b"PUT ", b"HEAD", b"DELE", b"OPTI", b"PATC", b"CONN", b"TRAC")


def guess_protocols(conns: Records) -> None:
    """Fill in `protocol` where it is 0 and the request's first bytes tell it.

    The kernel decides with the first answer; a server that never answers must be seen all the same.
    """
    open_question = (conns["protocol"] == 0) & (conns["turn"]["request_captured"] >= 4)
    head = np.ascontiguousarray(conns["request"][:, :4])
    http = np.isin(head.view("S4").reshape(-1), _METHODS)
    redis = (head[:, 0] == ord("*")) & (head[:, 1] >= ord("1")) & (head[:, 1] <= ord("9"))
    conns["protocol"][open_question & http] = pb.HTTP1
    conns["protocol"][open_question & redis] = pb.REDIS


class Requests(Probe):
    """Turns from three rings, one for each size of record."""

    name = "requests"

    def __init__(self, settings: AgentSettings) -> None:
        super().__init__(settings)
        self._rings: dict[str, Ring] = {}
        #: The raw tracepoint that marks an arrival: sk_data_ready came with Linux 6.3.
        self.arrival = "sk_data_ready" if _DATA_READY.exists() or not _DATA_READY.parent.exists() else "tcp_probe"

    def program(self) -> Program:
        """See Probe.program."""
        return Program(
            self.name,
            maps=("settings_map", "conns", "calls", "counters", "lost_turns", "steps", *layout.TURNS),
            runnable=("sweep",),
            steps={"write_begin": 0, "write_end": 1, "read_end": 2, "adopt": 3},
            defines={
                "RING_PAGES": self.settings.rings.kilobytes // 4,
                "MAX_CONNECTIONS": self.settings.max_connections,
            }
            | ({} if self.arrival == "sk_data_ready" else {"ARRIVAL_BY_TCP_PROBE": 1}),
        )

    def finish_load(self) -> None:
        """See Probe.finish_load."""
        super().finish_load()
        size = self.settings.rings.kilobytes * 1024
        self._rings = {name: Ring(self.loaded.maps[name], size, record) for name, record in layout.TURNS.items()}

    def start(self) -> None:
        """See Probe.start; reads that are blocked already are taken over."""
        super().start()
        adopt(self.loaded.maps["calls"], self.settings.scope.netns_inode)

    def close(self) -> None:
        """See Probe.close."""
        for ring in self._rings.values():
            ring.close()
        self._rings.clear()
        super().close()

    @property
    def ring_descriptors(self) -> list[int]:
        """Readable when a ring that was empty has a record."""
        return [self.loaded.maps[name] for name in layout.TURNS]

    def read(self) -> dict[str, Records]:
        """New records by ring name, each shape (n,) of layout.TURNS."""
        return {name: ring.read() for name, ring in self._rings.items()}

    def drain(self) -> None:
        """See Probe.drain; responses that have begun end here."""
        self.set_idle(0)
        self.sweep(idle_ns=0)
        self.stop()

    def sweep(self, idle_ns: int | None = None) -> Records:
        """End silent responses; the sockets whose request has no answer yet, shape (n,) of layout.REQUEST_CONN."""
        keys, conns = syscall.entries(self.loaded.maps["conns"], 8, layout.REQUEST_CONN, at_once=256)
        now = time.monotonic_ns()
        turn = conns["turn"]
        if idle_ns is None:
            idle_ns = int(self.settings.end_idle_seconds * 1e9)
        silent = (
            (conns["phase"] == layout.RESPONSE)
            & (conns["pending"] == 0)
            & (turn["response_bytes"] > 0)
            & (turn["response_end"].astype(np.int64) < now - idle_ns)
        )
        for key in keys[silent].view("<u8").reshape(-1):
            syscall.run(self.loaded.programs["sweep"], int(key))
        waiting = (conns["phase"] == layout.REQUEST) & (
            turn["start"].astype(np.int64) < now - int(self.settings.in_flight_seconds * 1e9)
        )
        found: Records = conns[waiting]
        guess_protocols(found)
        told: Records = found[found["protocol"] != 0]
        return told

    def counters(self) -> dict[str, int]:
        """Totals; `lost/PROTOCOL/ROLE` for each that lost a record."""
        totals = dict(
            zip(
                layout.REQUEST_COUNTERS,
                self._per_cpu("counters", len(layout.REQUEST_COUNTERS)).tolist(),
                strict=True,
            )
        )
        lost = self._per_cpu("lost_turns", 2 * layout.PROTOCOLS).reshape(-1, 2)
        for protocol, role in np.argwhere(lost):
            totals[f"lost/{protocol}/{('client', 'server')[role]}"] = int(lost[protocol, role])
        return totals
