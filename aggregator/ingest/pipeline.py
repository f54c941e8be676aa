"""From a checked batch to its acknowledgement: resolve the peers, wait if they are not known yet, insert, answer.

Invariants:
- An Ack is given only after every insert of the batch, and its entry in the ledger, returned.
- One id is in work at most once; a second arrival of it joins the first and gets the same answer.
- A batch that waits for the other end of a link holds up no other batch. It waits at most peers.wait_s, and less when
  all that wait are larger than peers.waiting_bytes; then its open links are stored as `~unknown`, counted.
- A failed insert is answered with a retryable refusal; the agent sends the batch again and the tokens keep it single.
"""

from __future__ import annotations

import logging
import queue
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aggregator.analysis.peers import Peers, Resolution, count_unknown
from aggregator.config import AggregatorSettings
from aggregator.ingest.content import Content
from aggregator.ingest.ledger import BatchId, Ledger
from aggregator.ingest.refusal import Refused
from aggregator.ingest.writer import Writer
from aggregator.metrics import Metrics
from proto import sonde_pb2 as pb
from sonde.errors import StoreError

_log = logging.getLogger(__name__)

#: How often waiting batches are looked at when something was learned, and at the latest.
_POLL_S = 0.1

Done = Callable[[Refused | None], None]


@dataclass(eq=False)
class Job:
    """One batch in work."""

    batch: BatchId
    checksum: int
    content: Content
    deadline: float
    answers: list[Done] = field(default_factory=list)
    resolution: Resolution | None = None


class Pipeline:
    """Threads that insert, and one that looks after the waiting batches."""

    def __init__(
        self, settings: AggregatorSettings, peers: Peers, ledger: Ledger, writer: Writer, metrics: Metrics
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._ledger = ledger
        self._writer = writer
        self._metrics = metrics
        self._lock = threading.Lock()
        self._jobs: dict[BatchId, Job] = {}
        self._pending_bytes = 0
        self._waiting: list[Job] = []
        self._ready: queue.Queue[Job | None] = queue.Queue()
        self._stopping = threading.Event()
        self.healthy = True
        self._inserters = [
            threading.Thread(target=self._insert_all, name=f"insert-{index}", daemon=True)
            for index in range(settings.storage.insert_threads)
        ]
        self._waiter = threading.Thread(target=self._wait_all, name="waiting", daemon=True)

    def start(self) -> None:
        """Start the threads."""
        for thread in (*self._inserters, self._waiter):
            thread.start()

    def stop(self) -> None:
        """Insert what is ready; what still waits is left to be sent again."""
        with self._lock:
            self._stopping.set()
        self._waiter.join()
        for _ in self._inserters:
            self._ready.put(None)
        for thread in self._inserters:
            thread.join()

    def repeated(self, batch: BatchId, checksum: int) -> bool:
        """Whether this very batch was accepted before.

        Raises:
            Refused: CHANGED_CONTENT, loudly; OVERLOADED if the store cannot be asked.
        """
        try:
            known = self._ledger.checksum(batch)
        except StoreError as error:
            raise Refused(pb.Refusal.OVERLOADED, str(error), retryable=True) from None
        if known is None:
            return False
        if known != checksum:
            raise self._changed(batch)
        return True

    def _changed(self, batch: BatchId) -> Refused:
        name = batch.token("").rstrip("/")
        _log.error("batch %s came again with other content: refused; two agents may share one name and spool", name)
        return Refused(pb.Refusal.CHANGED_CONTENT, f"batch {name} was accepted before with other content")

    def submit(self, batch: BatchId, checksum: int, content: Content, done: Done) -> None:
        """Take a batch in; `done` is called once, from another thread or this one, with None for an Ack.

        Raises:
            Refused: CHANGED_CONTENT, or OVERLOADED if limits.pending_bytes is reached or the pipeline stops.
        """
        self._learn(content)
        with self._lock:
            if self._stopping.is_set():
                raise Refused(pb.Refusal.OVERLOADED, "the aggregator is stopping; send it later", retryable=True)
            job = self._jobs.get(batch)
            if job is not None:
                if job.checksum != checksum:
                    raise self._changed(batch)
                job.answers.append(done)
                return
            if self._jobs and self._pending_bytes + content.bytes > self._settings.limits.pending_bytes:
                raise Refused(
                    pb.Refusal.OVERLOADED, "too many bytes wait for their insert; send it later", retryable=True
                )
            self._pending_bytes += content.bytes
            job = Job(batch, checksum, content, time.monotonic() + self._settings.peers.wait_s, [done])
            self._jobs[batch] = job
            self._metrics.pending.set(len(self._jobs))
        try:
            repeated = self.repeated(batch, checksum)  # it may have been finished since the caller asked
        except Refused as refused:
            self._finish(job, refused)
            return
        if repeated:
            self._metrics.repeated.inc()
            self._finish(job, None)
            return
        self._place(job)

    def _learn(self, content: Content) -> None:
        host, strings, sections = content.host.name, content.strings, content.sections
        self._peers.learn_host(host, content.addresses)
        self._peers.learn_endpoints(host, strings, sections["endpoints"])
        self._peers.learn_links(host, strings, sections["links"])

    def _place(self, job: Job) -> None:
        if not self._try(job):
            with self._lock:
                self._waiting.append(job)
                self._metrics.waiting.set(len(self._waiting))

    def _try(self, job: Job, give_up: bool = False) -> bool:
        content = job.content
        resolution = self._peers.resolve(content.host.name, content.sections["links"], give_up)
        if resolution.open and not give_up:
            return False
        job.resolution = resolution
        self._ready.put(job)
        return True

    def _wait_all(self) -> None:
        while not self._stopping.wait(_POLL_S):
            with self._lock:
                waiting = list(self._waiting)
            now = time.monotonic()
            held = sum(job.content.bytes for job in waiting)
            placed = set()
            for job in waiting:  # oldest first
                full = held > self._settings.peers.waiting_bytes
                if self._try(job, give_up=full or now >= job.deadline):
                    placed.add(job)
                    held -= job.content.bytes
                    self._metrics.released.inc(full)
            if placed:
                with self._lock:
                    self._waiting = [job for job in self._waiting if job not in placed]
                    self._metrics.waiting.set(len(self._waiting))

    def _insert_all(self) -> None:
        while (job := self._ready.get()) is not None:
            try:
                self._insert(job)
            except StoreError as error:
                self.healthy = False
                self._metrics.insert_failures.inc()
                _log.error("batch %s: %s; the agent sends it again", job.batch.token(""), error)
                self._finish(job, Refused(pb.Refusal.OVERLOADED, str(error), retryable=True))
            except Exception:
                self.healthy = False
                self._metrics.insert_failures.inc()
                _log.exception("batch %s failed", job.batch.token(""))
                self._finish(job, Refused(pb.Refusal.OVERLOADED, "internal error; see the aggregator's log", True))

    def _insert(self, job: Job) -> None:
        assert job.resolution is not None
        ends = job.resolution.ends
        with self._metrics.insert_seconds.time():
            self._writer.write(job.batch, job.content, ends)
            self._ledger.accept(job.batch, job.checksum)
        self.healthy = True
        self._metrics.inserted.inc()
        self._metrics.unresolved.inc(count_unknown(ends))
        now = time.time()
        self._metrics.lag.labels(job.batch.agent).set(max(0.0, now - job.content.host.seen_us / 1e6))
        self._metrics.last_batch.labels(job.batch.agent).set(now)
        self._finish(job, None)

    def _finish(self, job: Job, refused: Refused | None) -> None:
        with self._lock:
            self._jobs.pop(job.batch, None)
            self._pending_bytes -= job.content.bytes
            self._metrics.pending.set(len(self._jobs))
            answers = list(job.answers)
        for done in answers:
            done(refused)
