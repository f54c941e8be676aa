"""Delivery: one stream at a time to one of the aggregators; every batch of the spool goes, and again until answered.

Invariants:
    - a batch is forgotten only when it was acknowledged, or refused for good (then it is in quarantine)
    - after any break everything unanswered goes again, oldest first, to whichever aggregator is next; each aggregator
      stores a batch once, but one without a common store does not know what another has
    - an agent that runs on another address than its preferred one goes back after `return_seconds`: the preferred one
      has to welcome it first, then the old stream gets `answer_seconds` to answer what it has
    - the same way it takes a new certificate into use, as soon as the files are sound
    - a batch at which streams end again and again (a fault in the aggregator) waits longer each time, the others go
    - `close` returns within its bound and a few seconds, whatever the aggregator does
Addresses and waits are in addresses.py, one stream in connection.py, the window and the order in outbox.py.
"""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Callable

from node_agent.config import AgentSettings
from node_agent.delivery.addresses import Addresses
from node_agent.delivery.channel import tls_files
from node_agent.delivery.connection import Connection, Counters
from node_agent.delivery.outbox import Hold
from node_agent.delivery.spool import Spool
from sonde.errors import CertificateError

_log = logging.getLogger("sonde.agent.delivery")

_LOOK_SECONDS = 1.0  # deadlines are looked at this often, and when something happens
_JOIN_SECONDS = 5.0
_BARREN_STREAMS = 5  # in succession without any answer: then the oldest batch is suspected
_FIRST_HOLD_SECONDS, _LONGEST_HOLD_SECONDS = 5.0, 600.0


class Delivery:
    """A thread that keeps a stream up until `close`."""

    def __init__(
        self, settings: AgentSettings, spool: Spool, asked: Callable[[list[int]], None] = lambda _: None
    ) -> None:
        """`asked` takes the exchange_ids whose rows an aggregator wants, in a thread of the stream.

        UsageError if batches would leave this host in plain text.
        """
        self._settings, self._spool, self._asked = settings, spool, asked
        self._tls = tls_files(settings)
        self._limits = settings.delivery
        self.addresses = Addresses(settings.name, settings.aggregator, self._limits.retry_seconds)
        self.counters = Counters()
        self._stop = threading.Event()
        self._happened = threading.Event()
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self._current: Connection | None = None
        self._next: Connection | None = None  # not sending yet
        self._last: str | None = None  # address that was left
        self._return_at = 0.0
        self._renew = False  # the certificate is another than that of the present stream
        self._barren = 0
        self._held: dict[int, Hold] = {}
        self._complained = False

    # The agent's side

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for acknowledgements, then end; True if nothing was left behind."""
        done = self._spool.wait_empty(timeout)
        self._stop.set()
        self._happened.set()
        self._thread.join(_JOIN_SECONDS)
        return done

    @property
    def address(self) -> str:
        """The aggregator that welcomed this agent, empty while there is none."""
        current = self._current
        return current.address if current is not None and current.welcomed.is_set() else ""

    @property
    def connected(self) -> bool:
        """Whether a stream is up."""
        return bool(self.address)

    @property
    def reconnects(self) -> int:
        """Streams after the first one."""
        return max(self.counters.streams - 1, 0)

    @property
    def unanswered(self) -> int:
        """Batches on the wire."""
        current = self._current
        return len(current.outbox.unanswered) if current is not None else 0

    @property
    def oldest_seconds(self) -> float:
        """Since the oldest of them was sent."""
        current = self._current
        oldest_at = current.outbox.oldest_at if current is not None else None
        return time.monotonic() - oldest_at if oldest_at is not None else 0.0

    def totals(self) -> dict[str, int]:
        """Counter -> total since the start."""
        counters = self.counters
        return {
            "batches_sent": counters.sent,
            "batches_resent": counters.resent,
            "reconnects": self.reconnects,
            "stream_breaks": counters.breaks,
            "strange_answers": counters.strange,
        } | {f"refused/{name.lower()}": count for name, count in sorted(counters.refusals.items())}

    # The thread

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                self._step()
            except Exception:  # delivery goes on whatever happened: everything is in the spool
                _log.exception("delivery: begun anew")
                self._leave("a fault")
                self._stop.wait(_LOOK_SECONDS)
        for connection in (self._next, self._current):
            if connection is not None:
                connection.close()
        self._next = self._current = None

    def _step(self) -> None:
        if self._current is None:
            self._connect()
            return
        self._happened.wait(self._until_next(self._current))
        self._happened.clear()
        if self._stop.is_set():
            return
        current, now = self._current, time.monotonic()
        reason = current.reason if current.ended.is_set() else current.expired(now, len(self.addresses.order) > 1)
        if reason:
            self._leave(reason)
            return
        if current.welcomed.is_set() and not current.begun:
            self._welcomed(current)
        if current.answers:
            self._barren = 0
            self.addresses.served(current.address)
        self._look_elsewhere(current, now)

    def _connect(self) -> None:
        address, wait = self.addresses.next(time.monotonic(), self._last)
        if self._stop.wait(wait):
            return
        self._current = self._open(address)

    def _open(self, address: str) -> Connection | None:
        try:
            return Connection(
                *(self._settings, address, self._tls, self._spool, self.counters),
                self._happened.set,
                self._still_held(),
                self._asked,
            )
        except CertificateError as error:
            self._last = address
            self.addresses.failed(address, time.monotonic())
            self._complain(address, str(error))
            return None

    def _until_next(self, current: Connection) -> float:
        """Seconds until something has to be looked at."""
        deadlines = [one.deadline() for one in (current, self._next) if one is not None]
        if current.begun and current.address != self.addresses.order[0]:
            deadlines.append(self._return_at)
        return min(max(min(deadlines) - time.monotonic(), 0.0), _LOOK_SECONDS)

    def _welcomed(self, connection: Connection) -> None:
        _log.info("connected to aggregator %s, version %s", connection.address, connection.version)
        self._complained = self._renew = False
        self._return_at = self._return_time()
        connection.begin()

    def _leave(self, reason: str) -> None:
        """Close the present stream; what it did not answer goes over the next."""
        current, self._current = self._current, None
        if current is None:
            return
        if self._next is not None:
            self._next.close()
            self._next = None
        self._last = current.address
        self._suspect(current)
        self._failed(current)
        self._complain(current.address, reason)

    def _complain(self, address: str, reason: str) -> None:
        if not self._complained:
            _log.warning("aggregator %s: %s; batches are kept and sent again", address, reason)
            self._complained = True

    def _failed(self, connection: Connection) -> None:
        connection.close()
        self.counters.breaks += 1
        self.addresses.failed(connection.address, time.monotonic())

    # A batch that may be what ends the streams

    def _suspect(self, connection: Connection) -> None:
        unanswered = connection.outbox.unanswered
        if connection.answers:
            self._barren = 0
        elif unanswered:
            self._barren += 1
        if self._barren < _BARREN_STREAMS or not unanswered:
            return
        oldest = min(unanswered)
        times = self._held[oldest].times + 1 if oldest in self._held else 1
        wait = min(_FIRST_HOLD_SECONDS * 2 ** (times - 1), _LONGEST_HOLD_SECONDS)
        self._held[oldest] = Hold(time.monotonic() + wait, times)
        _log.warning("%d streams ended without an answer: batch %d goes in %g s", self._barren, oldest, wait)

    def _still_held(self) -> dict[int, Hold]:
        """Without those that are answered or dropped."""
        for sequence in list(self._held):
            batch = self._spool.after(sequence - 1, 0)
            if batch is None or batch.sequence != sequence:
                del self._held[sequence]
        return self._held

    # From one stream to another without a gap

    def _return_time(self) -> float:
        return time.monotonic() + self._limits.return_seconds * random.uniform(0.75, 1.25)

    def _look_elsewhere(self, current: Connection, now: float) -> None:
        """Begin, drop or change to a stream beside the present one."""
        candidate = self._next
        if candidate is None:
            if current.begun and (address := self._wanted(current.address, now)):
                self._next = self._open(address)
        elif reason := candidate.reason if candidate.ended.is_set() else candidate.expired(now, True):
            self._next = None
            _log.debug("aggregator %s: %s; staying with %s", candidate.address, reason, current.address)
            self._failed(candidate)
            if self.addresses.better(current.address, now):
                self._return_at = now
        elif candidate.welcomed.is_set():
            self._move(current, candidate)

    def _wanted(self, present: str, now: float) -> str:
        """Where a stream would be better than the present one; empty: nowhere."""
        if self._tls is not None and self._tls.changed():
            self._renew = True
        if self._renew and self.addresses.free(present, now):
            return present
        if now < self._return_at:
            return ""
        self._return_at = self._return_time()
        better = self.addresses.better(present, now)
        return better[0] if better else ""

    def _move(self, current: Connection, candidate: Connection) -> None:
        _log.info("from aggregator %s to a new stream to %s", current.address, candidate.address)
        current.retire()
        # What is answered here need not go to an aggregator that may not know of it.
        deadline = time.monotonic() + self._limits.answer_seconds
        while not current.outbox.wait_idle(_LOOK_SECONDS) and not current.ended.is_set():
            if self._stop.is_set() or time.monotonic() > deadline or candidate.ended.is_set():
                break
        current.close()
        self._next, self._current = None, candidate
        self._welcomed(candidate)
