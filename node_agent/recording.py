"""Record what the kernel gave to a file, and play it back in the kernel's place.

Invariants: without `raw` no literal reaches the file, not even for a moment (node_agent/masking.py); what is
played back is what was recorded, but for its times, which are shifted, and in rounds of `--loop` for the identities
of connections, which would else be repeated.

A loop is bound to the clock: what was recorded at the time t is played at t + k periods, and k changes the
identities. So recordings made of several hosts at once, for the same number of seconds, stay in step however late
each is started, and their requests join. A loop begins in mid-recording; connections reported before are reported then.
"""

from __future__ import annotations

import contextlib
import itertools
import logging
import platform
import signal
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.config import AgentSettings
from node_agent.identity import clock
from node_agent.identity.host import Endpoint, distribution
from node_agent.identity.processes import Process
from node_agent.masking import Masker, cleaned
from node_agent.recording_file import Frame, Reader, Writer
from node_agent.source import Capture
from sonde import __version__
from sonde.errors import RecordingError
from sonde.ids import mix64

Array = npt.NDArray[Any]

_log = logging.getLogger("sonde.agent")

_FRAME_SECONDS, _FRAME_BYTES = 1.0, 16 << 20
_ENDPOINTS_SECONDS = 10.0
#: Between two rounds of a loop; a recording is longer than was asked for by no more than its last read.
_PAUSE_SECONDS = 1.0
_MODE, _RAW_MODE = 0o640, 0o600

_TIMES = ("start", "request_first", "request_end", "response_start", "response_first", "response_end")
_MARK_TIMES = {"arrivals": ("time",), "requests": ("enter", "exit"), "responses": ("enter", "exit")}
_EVENT_TIMES = ("time", "opened", "closed")


# --- recording ----------------------------------------------------------------------------------------------------


class _Recorder:
    """Gathers captures into frames."""

    def __init__(self, source: Any, writer: Writer, raw: bool) -> None:
        self._source, self._writer = source, writer
        self._masked = cleaned if raw else Masker().mask
        self._named: set[tuple[int, str]] = set()
        self._endpoints_due = 0.0
        self._arrays: dict[str, list[Array]] = {}
        self._bytes = 0
        self._processes: list[tuple[int, str, str, str]] = []
        self.turns = 0

    def take(self, capture: Capture) -> None:
        """Keep one capture, masked."""
        arrays = {**capture.turns, "events": capture.events}
        if capture.waiting is not None:
            arrays["waiting"] = capture.waiting
        for name, records in arrays.items():
            if len(records) or name == "waiting":
                kept = cleaned(records) if name == "events" else self._masked(records)
                self._arrays.setdefault(name, []).append(kept)
                self._bytes += kept.nbytes
                self._name(records)
        self.turns += sum(len(records) for records in capture.turns.values())
        if self._bytes > _FRAME_BYTES:
            self.flush()

    def _name(self, records: Array) -> None:
        owners = records["turn"] if "turn" in (records.dtype.names or ()) else records
        pids = records["pid"] if "pid" in (records.dtype.names or ()) else owners["pid"]
        for pid, comm in set(zip(pids.tolist(), owners["comm"].tolist(), strict=True)):
            self._resolve(pid, comm.partition(b"\0")[0].decode(errors="replace"))

    def _resolve(self, pid: int, comm: str) -> None:
        if (pid, comm) not in self._named:
            self._named.add((pid, comm))
            process = self._source.process(pid, comm)
            self._processes.append((pid, comm, process.service, process.comm))

    def flush(self, last: bool = False) -> None:
        """Write a frame."""
        endpoints = None
        if last or time.monotonic() >= self._endpoints_due:
            self._endpoints_due = time.monotonic() + _ENDPOINTS_SECONDS
            found = self._source.endpoints()
            for item in found:
                self._resolve(item.pid, "")
            endpoints = [(item.address.hex(), item.port, item.pid) for item in found]
        arrays = {
            name: parts[-1] if name == "waiting" else np.concatenate(parts) for name, parts in self._arrays.items()
        }
        counters = {name: dict(totals) for name, totals in self._source.counters()}
        self._writer.write(Frame(time.monotonic_ns(), arrays, self._processes, endpoints, counters, last))
        self._arrays, self._processes, self._bytes = {}, [], 0


@contextlib.contextmanager
def _interruptible() -> Iterator[threading.Event]:
    """An event that Ctrl-C or SIGTERM sets inside the block."""
    event = threading.Event()
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in (signal.SIGINT, signal.SIGTERM):
            before[number] = signal.signal(number, lambda *_: event.set())
    try:
        yield event
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


def record_to(file: str, settings: AgentSettings, source: Any, seconds: float, raw: bool) -> int:
    """Write what `source` sees in `seconds`, or until Ctrl-C, to `file`; the number of turns.

    Raises:
        RecordingError: the file cannot be written.
        KernelError: no probe works.
    """
    with contextlib.ExitStack() as stack:
        stop = stack.enter_context(_interruptible())
        stack.callback(source.close)
        source.open()
        header = {
            "host": settings.name,
            "kernel": platform.release(),
            "os": distribution(),
            "addresses": source.addresses(),
            "raw": raw,
            "sonde": __version__,
            "seconds": seconds,
            "unix_offset_ns": clock.offset_ns(),
            "probes": list(source.probes),
            "broken": dict(source.broken),
        }
        writer = stack.enter_context(Writer(Path(file), header, _RAW_MODE if raw else _MODE))
        recorder = _Recorder(source, writer, raw)
        begin = time.monotonic()
        due = begin + _FRAME_SECONDS
        recorder.flush()
        _log.info("recording as %s, probes: %s", settings.name, ", ".join(source.probes))
        while not stop.is_set() and time.monotonic() < begin + seconds:
            now = time.monotonic()
            source.wait(max(min(due - now, begin + seconds - now, 0.5), 0.0))
            sweep = time.monotonic() >= due
            recorder.take(source.read(sweep=sweep))
            if sweep:
                due += _FRAME_SECONDS
                recorder.flush()
        recorder.take(source.read(sweep=True))
        recorder.flush(last=True)
        writer.finish()
        return recorder.turns


# --- replay -------------------------------------------------------------------------------------------------------


def shifted(frame: Frame, by_ns: int, round_number: int) -> Frame:
    """The frame at another time, and with other connections if `round_number` is not 0."""
    arrays = {}
    for name, records in frame.arrays.items():
        out = arrays[name] = records.copy()
        if name == "events":
            _shift(out, _EVENT_TIMES, by_ns)
            _mix(out, ("connection", "connection_id"), round_number)
            continue
        _shift(out["turn"], _TIMES, by_ns)
        _mix(out["turn"], ("connection", "connection_id"), round_number)
        if name == "waiting":
            _mix(out, ("number", "connection_id"), round_number)
        if "marks" in (out.dtype.names or ()):
            for group, times in _MARK_TIMES.items():
                _shift(out["marks"][group], times, by_ns)
    return Frame(frame.time + by_ns, arrays, frame.processes, frame.endpoints, frame.counters, frame.last)


def _shift(records: Array, names: tuple[str, ...], by_ns: int) -> None:
    for name in names:
        column = records[name]
        # Times since the boot: a shift can lead before the boot of the machine that replays.
        moved = np.maximum(column.astype(np.int64) + by_ns, 1).astype(np.uint64)
        records[name] = np.where(column == 0, 0, moved)


def _mix(records: Array, names: tuple[str, ...], round_number: int) -> None:
    if not round_number:
        return
    salt = mix64(np.array([round_number], dtype=np.int64).astype(np.uint64))
    for name in names:
        column = records[name]
        records[name] = np.where(column == 0, 0, mix64(column ^ salt))


class Recording:
    """A recording as a source of the agent, see node_agent/source.py."""

    replay = True

    def __init__(self, file: str, loop: bool = False, fast: bool = False) -> None:
        """Check the whole file.

        Raises:
            RecordingError: it is no recording, of another version, cut off or damaged.
        """
        self._reader = Reader(Path(file))
        header = self._reader.header
        self.raw = bool(header["raw"])
        self.host_name = str(header["host"])
        self.broken = {str(name): str(why) for name, why in header["broken"].items()}
        self.probes: dict[str, Any] = dict.fromkeys(map(str, header["probes"]))
        self.ended = False
        self._loop, self._fast = loop, fast
        self._processes: dict[tuple[int, str], Process] = {}
        self._endpoints: list[Endpoint] = []
        self._counters: dict[str, dict[str, int]] = {}
        self._before: dict[str, dict[str, int]] = {}
        self._skipped: dict[str, dict[str, int]] = {}
        self._first = self._last = 0
        for frame in self._reader.frames():
            self._first = self._first or frame.time
            self._last = frame.time
            if not self._endpoints:
                self._learn(frame)
        if self._last < self._first:
            raise RecordingError(f"{file}: is damaged; record again")
        self._counters = {}
        asked = float(header["seconds"])
        if not 0 <= asked < 1e6:
            raise RecordingError(f"{file}: is damaged; record again")
        length_ns = self._last - self._first
        # The seconds asked for are the same for all recordings made together; an interrupted one is shorter.
        self._period_ns = int((max(asked, 1.0) + _PAUSE_SECONDS) * 1e9)
        if length_ns > self._period_ns or length_ns < asked * 0.5e9:
            self._period_ns = length_ns + int(_PAUSE_SECONDS * 1e9)
        self._frames: Iterator[tuple[Frame, bool]] = iter(())
        self._next: tuple[Frame, bool] | None = None

    def open(self) -> None:
        """Begin to play."""
        self._frames = self._plan()
        self._next = next(self._frames, None)

    def _plan(self) -> Iterator[tuple[Frame, bool]]:
        """Every frame, shifted: due when its time is over. True: only its connections are played."""
        now = time.monotonic_ns()
        if not self._loop:
            begin = now - (self._last if self._fast else self._first)
            for frame in self._reader.frames():
                yield shifted(frame, begin, 0), False
            return
        # From the recorded monotonic clock to this one, by way of Unix time.
        home = int(self._reader.header["unix_offset_ns"]) - clock.offset_ns()
        first = (now - home - self._first) // self._period_ns
        for round_number in itertools.count(first):
            by_ns = home + round_number * self._period_ns
            for frame in self._reader.frames():
                late = round_number == first and not self._fast and frame.time + by_ns < now
                if late:  # of what is over, only the connections
                    frame.arrays = {name: array for name, array in frame.arrays.items() if name == "events"}
                yield shifted(frame, by_ns, round_number), late

    def wait(self, timeout: float) -> None:
        """Until the next frame is due, or `timeout` seconds have passed."""
        if self._next is None or self._fast:
            return
        time.sleep(min(max((self._next[0].time - time.monotonic_ns()) / 1e9, 0.0), timeout))

    def read(self, sweep: bool) -> Capture:  # noqa: ARG002
        """What is due: with `fast` one frame, else all that lie behind."""
        capture = Capture()
        turns: dict[str, list[Array]] = {}
        events: list[Array] = []
        while self._next is not None and (self._fast or self._next[0].time <= time.monotonic_ns()):
            frame, late = self._next
            self._learn(frame)
            if late:
                self._skipped = {name: totals for name, totals in self._counters.items() if name != "connections"}
            for name, records in frame.arrays.items():
                if name == "waiting":
                    capture.waiting = records
                else:
                    (events if name == "events" else turns.setdefault(name, [])).append(records)
            if frame.last:
                self._before, self._counters, self._skipped = self._totals(), {}, {}
            self._next = next(self._frames, None)
            if self._fast:
                break
        capture.turns = {name: np.concatenate(parts) for name, parts in turns.items()}
        if events:
            capture.events = np.concatenate(events)
        self.ended = self._next is None
        return capture

    def _learn(self, frame: Frame) -> None:
        self._processes |= {(pid, name): Process(service, comm) for pid, name, service, comm in frame.processes}
        if frame.endpoints is not None:
            self._endpoints = [Endpoint(bytes.fromhex(address), port, pid) for address, port, pid in frame.endpoints]
        if frame.counters is not None:
            self._counters = frame.counters

    def _totals(self) -> dict[str, dict[str, int]]:
        totals: dict[str, dict[str, int]] = {}
        for played, sign in ((self._before, 1), (self._counters, 1), (self._skipped, -1)):
            for probe, counters in played.items():
                row = totals.setdefault(probe, {})
                for name, count in counters.items():
                    row[name] = row.get(name, 0) + sign * count
        return totals

    def process(self, pid: int, comm: str) -> Process:
        """Service and name of a process, as recorded."""
        known = self._processes.get((pid, comm)) or self._processes.get((pid, ""))
        return known or Process(comm, comm)

    def addresses(self) -> list[str]:
        """Of the recorded host."""
        return [str(address) for address in self._reader.header["addresses"]]

    def endpoints(self) -> list[Endpoint]:
        """Listening sockets, as recorded."""
        return self._endpoints

    def counters(self) -> Iterator[tuple[str, dict[str, int]]]:
        """Each probe's totals, as far as they were played."""
        yield from self._totals().items()

    def cost(self) -> dict[str, tuple[int, int]]:
        """No probe runs."""
        return {}

    @contextlib.contextmanager
    def statistics(self) -> Iterator[None]:
        """Nothing to measure."""
        yield

    def drain(self) -> None:
        """Nothing goes on in a recording."""

    def close(self) -> None:
        """Nothing to give back but the file."""
        self._frames, self._next = iter(()), None
