"""The agent's loop: read records, make rows, seal a batch a second, deliver.

Invariants: every record that was read becomes rows of a sealed batch or a counter; batches leave through the spool
only. On SIGTERM and SIGINT: one last read, one last batch, up to `delivery.drain_seconds` for its acknowledgement, then
detach; what is not acknowledged by then stays in the spool's file.
"""

from __future__ import annotations

import logging
import platform
import threading
import time
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent import rows
from node_agent.brake import Brake
from node_agent.choose import Chooser
from node_agent.config import AgentSettings
from node_agent.delivery.encoder import Encoder, Interval
from node_agent.delivery.spool import Spool
from node_agent.delivery.stream import Delivery
from node_agent.identity import clock, host
from node_agent.probes.events import connection_columns
from node_agent.protocols import Decoder
from node_agent.stats import Stats
from proto import sonde_pb2 as pb
from sonde import __version__
from sonde.notify import Watchdog, notify

_log = logging.getLogger("sonde.agent")

_STATS_SECONDS, _ENDPOINTS_SECONDS, _STATEMENTS_SECONDS = 10.0, 10.0, 3600.0
_DECODE_BYTES = 2 << 20  # records that wait for the next flush, at most
_BATCH_ROWS = 16_384  # a batch is sealed early when it has as many: what one holds bounds the agent's memory


class Every:
    """True once in `seconds`, the first time at once."""

    def __init__(self, seconds: float) -> None:
        self._seconds, self._next = seconds, 0.0

    def __call__(self) -> bool:
        """Whether it is time again."""
        now = time.monotonic()
        if now < self._next:
            return False
        self._next = now + self._seconds
        return True


class Agent:
    """One agent. `source` is a KernelSource, or a recording."""

    def __init__(self, settings: AgentSettings, source: Any) -> None:
        """Opens the spool; raises SpoolError if another agent uses it."""
        self.settings, self.source = settings, source
        self.tally = rows.Tally()
        limits = settings.spool
        self.spool = Spool(
            settings.name,
            limits.max_bytes,
            limits.path,
            memory_bytes=limits.memory_bytes,
            max_age_seconds=limits.max_age_seconds,
            quarantine_bytes=limits.quarantine_bytes,
        )
        self.chooser = Chooser(settings)
        self.delivery = Delivery(settings, self.spool, self.chooser.recent.want)
        self.stats = Stats(source, self.spool, self.tally, self.delivery)
        self.brake = Brake(settings.budget, source, self.chooser, self.stats.kernel_time)
        self.stats.more = (self.chooser, self.brake)
        self._decoder = Decoder()
        self._encoder = Encoder(self._decoder.strings.__getitem__, source.process)
        self._interval = Interval()
        self._host = pb.Host(
            name=settings.name,
            kernel=platform.release(),
            os=host.distribution(),
            agent_version=__version__,
            tags=settings.tags,
            started_us=time.time_ns() // 1000,
            replay=source.replay,
        )
        self._turns: dict[str, list[npt.NDArray[Any]]] = {}
        self._turn_bytes = 0
        self._in_flight = False
        self._stop = threading.Event()
        self._stats_due, self._endpoints_due = Every(_STATS_SECONDS), Every(_ENDPOINTS_SECONDS)
        self._statements_due = Every(_STATEMENTS_SECONDS)

    def stop(self) -> None:
        """End `run` soon; safe in a signal handler."""
        self._stop.set()

    def run(self) -> bool:
        """Until `stop`, or the recording's end; True if everything was acknowledged."""
        server = None
        try:
            self.source.open()
            if self.settings.metrics.listen:
                server = self.stats.serve(self.settings.metrics.listen)
            _log.info("observing as %s, probes: %s", self.settings.name, ", ".join(self.source.probes))
            self._stats_due()
            self.delivery.start()
            notify("READY=1", f"STATUS=observing as {self.settings.name}, probes: {', '.join(self.source.probes)}")
            self._loop()
            notify("STOPPING=1")
            return self._finish()
        finally:
            if server is not None:
                server.shutdown()
                server.server_close()
            self.stats.kernel_time.close()
            self.source.close()
            self.spool.close()

    def _loop(self) -> None:
        flush_seconds = self.settings.flush_seconds
        flush_at = time.monotonic() + flush_seconds
        watchdog = Watchdog()
        while not self._stop.is_set():
            self.source.wait(max(min(flush_at - time.monotonic(), 0.5), 0.0))
            now = time.monotonic()
            due = now >= flush_at
            self._take(self.source.read(sweep=due))
            if due:
                flush_at = max(flush_at + flush_seconds, now)
                self.stats.kernel_time.tick()
                self.flush()
                self.brake.tick()
            watchdog.beat()
            if getattr(self.source, "ended", False):
                return

    def _finish(self) -> bool:
        self.source.drain()
        self._take(self.source.read(sweep=False))
        self._decode()
        self._interval.agent_stats += self.stats.rows(time.time_ns() // 1000)
        self.flush()
        done = self.delivery.close(self.settings.delivery.drain_seconds)
        if not done:
            kept, waiting = self.spool.kept, self.spool.waiting
            _log.warning(
                "%d batches were not acknowledged in time: %d are sent after the next start, %d are lost",
                waiting,
                kept,
                waiting - kept,
            )
        return done

    def _take(self, capture: Any) -> None:
        for ring, records in capture.turns.items():
            if len(records):
                self._turns.setdefault(ring, []).append(records)
                self._turn_bytes += records.nbytes
        if len(capture.events):
            self._interval.connections.append(connection_columns(capture.events, clock.offset_ns()))
        if capture.waiting is not None:
            self._interval.in_flight = rows.in_flight(capture.waiting, clock.offset_ns(), self._decoder)
        if self._turn_bytes > _DECODE_BYTES:
            self._decode()
            chosen = sum(len(block["start"]) for block in self._interval.requests)
            if max(chosen, self.chooser.sums.groups) > _BATCH_ROWS:
                self.flush()

    def _decode(self) -> None:
        # Arrays pay by their number, not by their length: many small reads make one block.
        turns = {ring: np.concatenate(parts) for ring, parts in self._turns.items()}
        self._turns.clear()
        self._turn_bytes = 0
        found = rows.requests(turns, clock.offset_ns(), self.tally, self._decoder)
        self._interval.requests += self.chooser.choose(found)

    def flush(self) -> None:
        """Seal what was gathered, if it is anything."""
        self._decode()
        interval, self._interval = self._interval, Interval()
        interval.requests += self.chooser.halves()
        interval.unsampled = self.chooser.sums.take()
        now_us = time.time_ns() // 1000
        if self._stats_due():
            interval.agent_stats += self.stats.rows(now_us)
        if self._statements_due():
            self._encoder.forget_statements()
        if self._endpoints_due():
            del self._host.addresses[:]
            self._host.addresses.extend(self.source.addresses())
            interval.endpoints = [
                (item.address, item.port, self.source.process(item.pid, ""), item.pid)
                for item in self.source.endpoints()
            ]
        said, self._in_flight = self._in_flight, bool(interval.in_flight)
        if not said and not any(vars(interval).values()):
            return  # an empty batch says that nothing is in flight any more
        self._host.seen_us = now_us
        self.spool.seal(self._encoder.encode(interval, self._host, self.chooser.shares.statements))
