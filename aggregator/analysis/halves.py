"""The other half of slow and failed requests: asked for where an agent did not send it on its own.

An agent that samples keeps the rows it does not send for a minute. For each slow or failed row that arrives, this
finds out whether the row of the other end has come too; if not, the agent at that end is asked for it over its stream
(`Wanted`). It sends the row with weight 0, since its totals have been counted, or as any other row if it had not seen
the request yet.

Invariants: memory is bounded (`halves.pending` open questions, `halves.remembered_ids`); an agent is asked for at most
`halves.per_agent_per_second` rows, the longest first; an agent that sends all its rows is never asked; nothing waits
for an answer. What becomes of each question is counted in sonde_halves_total. A question is forgotten with the process,
and an agent whose stream ends at another aggregator cannot be asked.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from aggregator.analysis.peers import Bounded, Peers
from aggregator.config import Halves as HalvesSettings
from aggregator.ingest.content import Content
from aggregator.metrics import Metrics
from proto import sonde_pb2 as pb
from sonde import batches
from sonde.ids import exchange_ids

U64 = npt.NDArray[np.uint64]
Ask = Callable[[list[int]], None]

_TICK_S = 0.25
_HOSTS = 10_000
_DIGESTS = 1 << 20
_MASK = np.uint64(_DIGESTS - 1)
#: An agent that had requests without a row within so many seconds may have the row.
_SAMPLES_S = 120.0
#: Rows that came on their own are remembered so long: a slow row may be a little later than its other half.
_REMEMBERED_S = 10.0
_FAILED = (pb.CLIENT_ERROR, pb.SERVER_ERROR, pb.NO_RESPONSE)


@dataclass
class _Open:
    """A row whose other half has not come."""

    role: int  # of the half that is missing
    connection: int
    duration: int
    ask_at: float
    deadline: float
    asked: bool = False


class Halves:
    """Open questions. All public methods are thread-safe."""

    def __init__(
        self, settings: HalvesSettings, peers: Peers, metrics: Metrics, clock: Callable[[], float] = time.monotonic
    ) -> None:
        self._settings, self._peers, self._metrics, self._clock = settings, peers, metrics, clock
        self._lock = threading.Lock()
        self._open: dict[int, _Open] = {}
        self._digests = np.zeros(_DIGESTS, dtype=bool)
        self._samples: Bounded[str, float] = Bounded(_HOSTS)
        self._came: deque[tuple[float, int, U64]] = deque()
        self._came_ids = 0
        self._streams: dict[str, Ask] = {}
        self._ticked = clock()
        self._stopping = threading.Event()
        self._thread = threading.Thread(target=self._run, name="halves", daemon=True)

    def start(self) -> None:
        """Ask from now on."""
        self._thread.start()

    def stop(self) -> None:
        """Ask no more."""
        self._stopping.set()
        if self._thread.is_alive():
            self._thread.join()

    def _run(self) -> None:
        while not self._stopping.wait(_TICK_S):
            self.tick()

    def hear(self, host: str, ask: Ask) -> None:
        """`ask` reaches the agent of `host`."""
        with self._lock:
            self._streams[host] = ask

    def leave(self, host: str, ask: Ask) -> None:
        """It does no longer."""
        with self._lock:
            if self._streams.get(host) == ask:
                del self._streams[host]

    def learn(self, content: Content) -> None:
        """A new batch: its rows may be halves that are missing, or miss theirs."""
        rows, links, host = content.sections["requests"], content.sections["links"], content.host.name
        now = self._clock()
        if content.rows("unsampled"):
            with self._lock:
                self._samples.set(host, now)
        if not len(rows["link"]):
            return
        of = rows["link"].astype(np.int64)
        connection, role = links["connection_id"][of], links["role"][of]
        exchange = exchange_ids(connection, rows["offset"])
        exchange[(rows["flags"] & np.uint64(batches.NO_EXCHANGE_ID)) != 0] = 0
        telling = ((rows["flags"] & np.uint64(batches.SLOW)) != 0) | np.isin(rows["status"], _FAILED)
        places = np.flatnonzero(telling & (exchange != 0) & (rows["weight"] != 0))
        if len(places) > self._settings.pending:
            self._count("over_limit", len(places) - self._settings.pending)
            places = places[: self._settings.pending]
        with self._lock:
            self._there(exchange, role)
            if self._has_unsent(host, now):
                self._remember(now, exchange, role)
            self._question(exchange[places], role[places], connection[places], rows["duration"][places], now)

    def _has_unsent(self, host: str, now: float) -> bool:
        since = self._samples.get(host)
        return since is not None and now - since < _SAMPLES_S

    def _there(self, exchange: U64, role: U64) -> None:
        for place in np.flatnonzero(self._digests[exchange & _MASK]).tolist():
            known = self._open.get(int(exchange[place]))
            if known is not None and known.role == int(role[place]):
                del self._open[int(exchange[place])]
                self._count("found" if known.asked else "came")

    def _remember(self, now: float, exchange: U64, role: U64) -> None:
        for one in np.unique(role).tolist():
            ids = exchange[role == one]
            self._came.append((now, one, ids))
            self._came_ids += len(ids)
        while self._came and (self._came_ids > self._settings.remembered_ids or now - self._came[0][0] > _REMEMBERED_S):
            self._came_ids -= len(self._came.popleft()[2])

    def _question(self, exchange: U64, role: U64, connection: U64, duration: U64, now: float) -> None:
        wait, give_up = self._settings.wait_s, self._settings.give_up_s
        for one, own, conn, lasted in zip(
            exchange.tolist(), role.tolist(), connection.tolist(), duration.tolist(), strict=True
        ):
            if one in self._open:
                continue
            if len(self._open) >= self._settings.pending:
                self._count("over_limit")
                continue
            other = pb.SERVER if own == pb.CLIENT else pb.CLIENT
            self._open[one] = _Open(other, conn, lasted, now + wait, now + give_up)
            self._digests[one & (_DIGESTS - 1)] = True

    def tick(self) -> None:
        """Ask for what is due, forget what is too old."""
        now = self._clock()
        with self._lock:
            room = max(self._settings.per_agent_per_second * min(now - self._ticked, 1.0), 1.0)
            self._ticked = now
            due = self._due(now)
            self._drop_those_that_came(due)
            asks = self._asks(due, int(room))
            self._digests[:] = False
            if self._open:
                ids = np.fromiter(self._open, dtype=np.uint64, count=len(self._open))
                self._digests[ids & _MASK] = True
            self._metrics.halves_open.set(len(self._open))
        for ask, wanted in asks:
            ask(wanted)

    def _due(self, now: float) -> dict[int, tuple[str, _Open]]:
        """Exchange -> the host to ask, of all that may be asked now."""
        due: dict[int, tuple[str, _Open]] = {}
        for exchange, known in list(self._open.items()):
            if now >= known.deadline:
                del self._open[exchange]
                self._count("missing" if known.asked else "not_asked")
            elif not known.asked and now >= known.ask_at:
                end = self._peers.end(known.connection, known.role)
                if end is not None and end[0] in self._streams and self._has_unsent(end[0], now):
                    due[exchange] = (end[0], known)
        return due

    def _drop_those_that_came(self, due: dict[int, Any]) -> None:
        if not due or not self._came:
            return
        table = np.zeros(_DIGESTS, dtype=bool)
        table[np.fromiter(due, dtype=np.uint64, count=len(due)) & _MASK] = True
        for _, role, ids in self._came:
            for one in ids[table[ids & _MASK]].tolist():
                if one in due and due[one][1].role == role:
                    del due[one], self._open[one]
                    self._count("came")

    def _asks(self, due: dict[int, tuple[str, _Open]], room: int) -> list[tuple[Ask, list[int]]]:
        of_host: dict[str, list[int]] = {}
        for exchange, (host, known) in sorted(due.items(), key=lambda item: -item[1][1].duration):
            wanted = of_host.setdefault(host, [])
            if len(wanted) < room:
                wanted.append(exchange)
                known.asked = True
        self._count("asked", sum(len(wanted) for wanted in of_host.values()))
        return [(self._streams[host], wanted) for host, wanted in of_host.items()]

    def _count(self, outcome: str, count: int = 1) -> None:
        if count:
            self._metrics.halves.labels(outcome).inc(count)
