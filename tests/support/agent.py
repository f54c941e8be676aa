"""The agent's eyes without the agent: real probes on one network namespace, their rows as plain columns.

    with Observer() as observer:              # loads the probes, which takes seconds; counts nothing yet
        observer.look_at(namespace)           # from now on, this namespace only, this test process included
        ...
        rows = observer.until(lambda rows: len(rows) >= 2)
        client = rows.one(role=pb.CLIENT)

A thread reads the rings, as the agent does, until `pause`.
"""

from __future__ import annotations

import contextlib
import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from types import TracebackType
from typing import Any
from unittest import mock

import numpy as np
import numpy.typing as npt

from node_agent import rows as agent_rows
from node_agent.config import AgentSettings
from node_agent.delivery.encoder import concatenate
from node_agent.identity import clock
from node_agent.kernel import layout, syscall
from node_agent.probes import requests as requests_probe
from node_agent.probes.events import connection_columns
from node_agent.protocols import Decoder
from node_agent.source import Capture, KernelSource
from proto import sonde_pb2 as pb
from sonde.ids import exchange_ids
from tests.targets.netns import Namespace

Array = npt.NDArray[Any]

UNITS_PER_MS = 10_000  # durations are in units of 100 ns
PARTS = ("queue", "receive", "process", "transfer")
_TEXTS = ("operation", "resource", "statement", "status_code")


class Rows:
    """Columns of one length."""

    def __init__(self, columns: dict[str, Array]) -> None:
        self.columns = columns

    def __len__(self) -> int:
        return len(next(iter(self.columns.values()))) if self.columns else 0

    def __getitem__(self, name: str) -> Array:
        return self.columns[name] if self.columns else np.zeros(0, np.uint64)

    def __repr__(self) -> str:
        shown = [str(row) for row in self.all()[:20]]
        return f"{len(self)} rows\n  " + "\n  ".join(shown)

    def at(self, index: Array) -> Rows:
        """Some of them, by mask or by index."""
        return Rows({name: column[index] for name, column in self.columns.items()})

    def where(self, **equal: object) -> Rows:
        """Those whose columns equal all of these."""
        kept = np.ones(len(self), dtype=bool)
        for name, wanted in equal.items():
            kept &= self[name] == wanted
        return self.at(kept) if len(self) else self

    def by(self, name: str) -> Rows:
        """In the order of one column."""
        return self.at(np.argsort(self[name], kind="stable")) if len(self) else self

    def all(self) -> list[dict[str, Any]]:
        """Each as a dict of Python objects."""
        names = list(self.columns)
        columns = [
            [bytes(address) for address in column] if column.ndim == 2 else column.tolist()
            for column in self.columns.values()
        ]
        return [dict(zip(names, row, strict=True)) for row in zip(*columns, strict=True)]

    def one(self, **equal: object) -> dict[str, Any]:
        """The only one."""
        found = self.where(**equal)
        assert len(found) == 1, f"{equal}: {found!r} of {self!r}"
        return found.all()[0]

    def ms(self, name: str) -> Array:
        """A duration as float milliseconds."""
        out: Array = self[name].astype(np.float64) / UNITS_PER_MS
        return out


#: What a busy machine may add to a part that has nothing in it, ms; more where the processor is emulated (kernels.sh).
SLACK_MS = float(os.environ.get("SONDE_TEST_SLACK_MS", "40"))
#: The same for a median.
MEDIAN_SLACK_MS = SLACK_MS / 10


def ms(row: dict[str, Any], name: str) -> float:
    """A duration of one row, milliseconds."""
    return float(row[name]) / UNITS_PER_MS


def joined(rows: Rows) -> tuple[Rows, Rows]:
    """Client rows and the server rows of the same exchanges, in one order; each must have exactly one other half."""
    client, server = (rows.where(role=role).by("exchange_id") for role in (pb.CLIENT, pb.SERVER))
    for half in (client, server):
        assert (half["exchange_id"] != 0).all()
        assert len(np.unique(half["exchange_id"])) == len(half), "an exchange has two rows at one end"
    np.testing.assert_array_equal(client["exchange_id"], server["exchange_id"])
    return client, server


def network_ms(client: Rows, server: Rows) -> Array:
    """Network time of joined rows as the view `exchanges` has it: (c2 - c1) - (s3 - s1), rounding reads 0."""
    away = client["receive"].astype(np.int64) + client["process"].astype(np.int64)
    inside = sum(server[name].astype(np.int64) for name in ("queue", "receive", "process"))
    units = away - inside
    out: Array = np.where((units >= -5) & (units <= 0), 0, units) / UNITS_PER_MS
    return out


def own_comm() -> bytes:
    """Name of this thread, as the kernel has it."""
    return Path("/proc/thread-self/comm").read_bytes().strip()


class Observer:
    """Loaded probes. `arrival` "tcp_probe": as on kernels that have no sk_data_ready."""

    def __init__(
        self,
        kilobytes: int = 4096,
        probes: tuple[str, ...] = ("connections", "requests"),
        arrival: str = "",
        **settings: object,
    ) -> None:
        self._arrival = arrival
        self._given: dict[str, Any] = {"probes": list(probes), "rings": {"kilobytes": kilobytes}, **settings}
        self.source = KernelSource(AgentSettings.model_validate(self._given | {"scope": {"netns": "1"}}))
        self.decoder = Decoder()
        self._reading = threading.Event()
        self._ended = threading.Event()
        self.failure: Exception | None = None
        self._lock = threading.Lock()
        self._thread = threading.Thread(target=self._run, name="observer", daemon=True)
        self._forget()

    def _forget(self) -> None:
        self.tally = agent_rows.Tally()
        self._blocks: list[dict[str, Array]] = []
        self._events: list[dict[str, Array]] = []
        self._waiting: list[dict[str, Array]] = []
        self._base: dict[str, dict[str, int]] = {}

    def __enter__(self) -> Observer:
        missing = Path("/sys/kernel/tracing/events/sock/not-here")
        old_kernel = mock.patch.object(requests_probe, "_DATA_READY", missing)
        with old_kernel if self._arrival == "tcp_probe" else contextlib.nullcontext():
            self.source.open()
        self.stop()
        self._thread.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._ended.set()
        self._thread.join(30)
        self.source.close()

    def _run(self) -> None:
        try:
            self._read()
        except Exception as error:  # a test has to fail with it
            self.failure = error

    def _read(self) -> None:
        sweep_at = 0.0
        while not self._ended.is_set():
            if not self._reading.wait(0.1):
                continue
            self.source.wait(0.05)
            with self._lock:
                now = time.monotonic()
                if self._reading.is_set():
                    self._take(self.source.read(sweep=now >= sweep_at))
            if now >= sweep_at:
                sweep_at = now + 0.2

    def _take(self, capture: Capture) -> None:
        offset = clock.offset_ns()
        self._blocks += agent_rows.requests(capture.turns, offset, self.tally, self.decoder)
        if len(capture.events):
            self._events.append(connection_columns(capture.events, offset))
        if capture.waiting is not None:
            self._waiting = agent_rows.in_flight(capture.waiting, offset, self.decoder)

    def look_at(self, namespace: Namespace, own: bool = False, reading: bool = True, **settings: Any) -> None:
        """Forget everything, then count only what happens in `namespace`; with `own`, leave this process out."""
        self.stop()
        with self._lock:
            self._take(self.source.read(sweep=False))
            self._forget()
            scope = {"netns": str(namespace.inode), **settings.pop("scope", {})}
            chosen = AgentSettings.model_validate(self._given | settings | {"scope": scope})
            self.source.settings = chosen
            self._base = dict(self.source.counters())
            for probe in self.source.probes.values():
                probe.settings = chosen
                probe.start()
                if not own:
                    self._poke(probe.loaded.maps["settings_map"], "own_pid", 0)
        if reading:
            self.resume()

    @staticmethod
    def _poke(descriptor: int, name: str, number: int) -> None:
        raw = syscall.lookup(descriptor, bytes(4), layout.SETTINGS.itemsize)
        assert raw is not None
        values = np.frombuffer(raw, dtype=layout.SETTINGS).copy()
        values[name] = number
        syscall.update(descriptor, bytes(4), values.tobytes())

    def stop(self) -> None:
        """Count nothing any more."""
        self._reading.clear()
        for probe in self.source.probes.values():
            self._poke(probe.loaded.maps["settings_map"], "started", 0)

    def pause(self) -> None:
        """Leave the records in the rings from now on."""
        self._reading.clear()
        with self._lock:
            pass

    def resume(self) -> None:
        """Read them again."""
        self._reading.set()

    def refresh(self) -> None:
        """What happens once a minute: each open connection is reported."""
        with self._lock:
            self.source.probes["connections"].refresh()  # type: ignore[attr-defined]

    def counters(self, probe: str = "requests") -> dict[str, int]:
        """A probe's counters since `look_at`."""
        before = self._base[probe]
        return {name: count - before.get(name, 0) for name, count in dict(self.source.counters())[probe].items()}

    def rows(self) -> Rows:
        """Requests so far, with texts, exchange_id and a `duration` in units of 100 ns."""
        with self._lock:
            return self._with_texts(list(self._blocks))

    def waiting(self) -> Rows:
        """The rows of in_flight at the last sweep."""
        with self._lock:
            return self._with_texts(list(self._waiting))

    def events(self) -> Rows:
        """Rows of `connections` so far."""
        with self._lock:
            return Rows(concatenate(self._events))

    def _with_texts(self, blocks: list[dict[str, Array]]) -> Rows:
        columns = concatenate(blocks)
        if not columns:
            return Rows({})
        texts = np.array(self.decoder.strings.texts, dtype=object)
        columns |= {name: texts[columns[name]] for name in _TEXTS if name in columns}
        if "offset" in columns:
            columns["exchange_id"] = exchange_ids(
                columns["connection_id"].astype(np.uint64), columns["offset"].astype(np.uint64)
            )
        return Rows(columns)

    def until(self, enough: Callable[[Rows], object], timeout: float = 20, what: str = "rows") -> Rows:
        """What `what` (rows, events or waiting) gives, as soon as it is enough; fails after `timeout` seconds."""
        give: Callable[[], Rows] = getattr(self, what)
        deadline = time.monotonic() + timeout
        while not enough(found := give()):
            if self.failure is not None:
                raise AssertionError("the rows could not be made") from self.failure
            if time.monotonic() > deadline:
                counters = {name: self.counters(name) for name in self.source.probes}
                raise AssertionError(f"after {timeout:g} s {found!r}\nunparsed {self.tally.details}, {counters}")
            time.sleep(0.02)
        return found

    def exactly(self, client: int, server: int, timeout: float = 20, settle: float = 0.3, **equal: object) -> Rows:
        """Rows once both roles have at least so many (of those that equal); then no more may come."""
        self.until(
            lambda rows: (
                len(rows.where(role=pb.CLIENT, **equal)) >= client
                and len(rows.where(role=pb.SERVER, **equal)) >= server
            ),
            timeout,
        )
        time.sleep(settle)
        found = self.rows().where(**equal)
        counts = tuple(len(found.where(role=role)) for role in (pb.CLIENT, pb.SERVER))
        assert counts == (client, server), f"client and server rows {counts}, counters {self.counters()}: {found!r}"
        return found
