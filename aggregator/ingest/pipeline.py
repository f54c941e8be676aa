"""From a checked batch to its acknowledgement: resolve the peers, merge into a block, journal, insert, answer.

Invariants:
- An Ack is given only after the block of the batch is in the journal, every insert of it and its entry in the ledger
  returned. It waits for the insert, though the journal would do, for two reasons: what is acknowledged can be read, and
  the agents' spools stay a second copy of whatever is not in the store, so that a lost journal loses nothing.
- A block that is in the journal is inserted under its own id until it is in, also after a restart, and is then
  forgotten; its batches come into no other block. What the ledger has is not inserted again.
- One id is in work at most once; a second arrival of it joins the first and gets the same answer.
- A batch that waits for the other end of a link holds up no other batch. It waits at most peers.wait_s, and less when
  all that wait are larger than peers.waiting_bytes; then its open links are stored as `~unknown`, counted.
- A failed insert is tried again, at growing pauses, while other blocks go on; its agents wait. A journal that cannot be
  written is answered with a retryable refusal: nothing of that block was inserted.
- Without a journal (a ClickHouse server, where any aggregator may get the batch next time) a block is one batch, its
  token the batch's id, and a failed insert is answered with a retryable refusal.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field

from aggregator.analysis.peers import Peers, Resolution, count_unknown
from aggregator.config import AggregatorSettings
from aggregator.ingest import record
from aggregator.ingest.batch import BatchId, Block, Part, Sealed, held_bytes
from aggregator.ingest.collector import Collector
from aggregator.ingest.content import Content
from aggregator.ingest.journal import Journal
from aggregator.ingest.ledger import Ledger, Verdict
from aggregator.ingest.refusal import Refused
from aggregator.ingest.writer import Writer
from aggregator.ingest.written import Written
from aggregator.metrics import Metrics
from proto import sonde_pb2 as pb
from sonde import logs
from sonde.errors import JournalError, StoreError

_log = logs.get(__name__)

#: How often waiting batches are looked at when something was learned, and at the latest.
_POLL_S = 0.1
_FIRST_RETRY_S = 0.5
#: Sections of a batch whose rows are counted on receipt; the others say what is in them.
COUNTED_SECTIONS = ("requests", "unsampled", "connections", "agent_stats")
#: Streams that look for room when a batch was answered.
_WOKEN = 4

Done = Callable[[Refused | None], None]


@dataclass(eq=False)
class Job:
    """One batch in work."""

    batch: BatchId
    sealed: Sealed
    content: Content
    received_us: int
    deadline: float
    bytes: int
    answers: list[Done] = field(default_factory=list)


class Pipeline:
    """Threads that insert, and one that looks after the waiting batches."""

    def __init__(
        self,
        settings: AggregatorSettings,
        peers: Peers,
        ledger: Ledger,
        writer: Writer,
        metrics: Metrics,
        journal: Journal | None,
    ) -> None:
        self._settings = settings
        self._peers = peers
        self._ledger = ledger
        self._writer = writer
        self._metrics = metrics
        self._journal = journal
        self._lock = threading.Lock()
        self._room = threading.Condition(self._lock)
        self._jobs: dict[BatchId, Job] = {}
        self._pending_bytes = 0
        self._refused_bytes = 0
        self._waiting: list[Job] = []
        storage = settings.storage
        merged = (storage.block_rows, storage.block_bytes, storage.block_delay_s)
        self._collector = Collector(*(merged if journal is not None else (1, 1, 0.0)))
        self._stopping = threading.Event()
        self._failures: dict[str, int] = {}
        self._troubles: dict[str, str] = {}
        self._inserters = [
            threading.Thread(target=self._insert_all, name=f"insert-{index}", daemon=True)
            for index in range(storage.insert_threads)
        ]
        self._waiter = threading.Thread(target=self._wait_all, name="waiting", daemon=True)

    @property
    def trouble(self) -> str:
        """What is wrong, in words; empty if nothing is."""
        with self._lock:
            return next(iter(self._troubles.values()), "")

    @property
    def healthy(self) -> bool:
        """Whether journal and inserts work."""
        return not self.trouble

    @property
    def full(self) -> bool:
        """Whether the batch that was last refused for limits.pending_bytes would be refused again."""
        return 0 < self._refused_bytes > self._settings.limits.pending_bytes - self._pending_bytes

    def start(self) -> None:
        """Replay the journal, then start the threads; what cannot be replayed now is tried again by them."""
        self._replay()
        for thread in (*self._inserters, self._waiter):
            thread.start()

    def stop(self, drain_s: float) -> bool:
        """Insert what is ready within `drain_s`; True if that was enough.

        What waits for its peers is refused for now, to be sent again; what failed is left to the next start's replay.
        Where the time was not enough, inserts still run.
        """
        end = time.monotonic() + drain_s
        with self._lock:
            self._stopping.set()
            self._room.notify_all()
        if self._waiter.ident is not None:
            self._waiter.join()
        with self._lock:
            waiting, self._waiting = self._waiting, []
        for job in waiting:
            self._finish(job.batch, _stopping())
        self._collector.close()
        for thread in self._inserters:
            if thread.ident is not None:
                thread.join(max(0.0, end - time.monotonic()))
        if any(thread.is_alive() for thread in self._inserters):
            return False
        if self._journal is not None:
            self._journal.close()
        return True

    def _replay(self) -> None:
        if self._journal is None:
            return
        for identity, data in self._journal.replay():
            try:
                block = record.read(identity, data)
            except JournalError as error:
                self._journal.put_aside(identity, f"cannot be replayed: {error}")
                continue
            fresh = tuple(part for part in block.parts if self._verdict(part) is Verdict.NEW)
            if not fresh:
                self._journal.forget(identity)
                continue
            _log.info("a block of the journal is inserted again", block=identity, batches=len(block.parts))
            block = Block(block.id, block.made_us, fresh)
            with self._lock:
                for part in block.parts:
                    held = held_bytes(part.sealed, part.content)
                    self._jobs[part.batch] = Job(part.batch, part.sealed, part.content, part.received_us, 0.0, held)
                    self._pending_bytes += held
            for part in block.parts:
                self._learn(part.content)
            self._metrics.replayed.inc()
            self._process(block, journaled=True)
        self._metrics.set_aside.inc(self._journal.set_aside)

    def _verdict(self, part: Part) -> Verdict:
        return self._ledger.verdict(part.batch, part.sealed.checksum)

    def repeated(self, batch: BatchId, checksum: int) -> bool:
        """Whether this very batch was accepted before.

        Raises:
            Refused: CHANGED_CONTENT, loudly; OVERLOADED if the store cannot be asked.
        """
        try:
            verdict = self._ledger.verdict(batch, checksum)
        except StoreError as error:
            raise Refused(pb.Refusal.OVERLOADED, str(error), retryable=True) from None
        if verdict is Verdict.CHANGED:
            raise self._changed(batch)
        return verdict is Verdict.REPEATED

    def _changed(self, batch: BatchId) -> Refused:
        _log.error("a batch came again with other content; two agents may share one name and spool", batch=str(batch))
        return Refused(pb.Refusal.CHANGED_CONTENT, f"batch {batch} was accepted before with other content")

    def submit(self, batch: BatchId, sealed: Sealed, content: Content, done: Done) -> None:
        """Take a batch in; `done` is called once, from another thread or this one, with None for an Ack.

        Returns when there is room for it: the stream that brought it reads no further meanwhile.

        Raises:
            Refused: CHANGED_CONTENT, or OVERLOADED if limits.pending_bytes is reached or the pipeline stops.
        """
        self._learn(content)
        held = held_bytes(sealed, content)
        with self._lock:
            room = True
            if batch not in self._jobs:
                room = self._room.wait_for(lambda: self._fits(held), self._settings.limits.pending_wait_s)
            if self._stopping.is_set():
                raise _stopping()
            job = self._jobs.get(batch)
            if job is not None:
                if job.sealed.checksum != sealed.checksum:
                    raise self._changed(batch)
                job.answers.append(done)
                self._metrics.repeated.inc()
                self._metrics.repeated_bytes.inc(len(sealed.content))
                return
            if not room:
                self._refused_bytes = held
                raise Refused(
                    pb.Refusal.OVERLOADED, "too many bytes wait for their insert; send it later", retryable=True
                )
            self._pending_bytes += held
            deadline = time.monotonic() + self._settings.peers.wait_s
            job = Job(batch, sealed, content, time.time_ns() // 1000, deadline, held, [done])
            self._jobs[batch] = job
            self._metrics.pending.set(len(self._jobs))
            self._metrics.pending_bytes.set(self._pending_bytes)
        try:
            repeated = self.repeated(batch, sealed.checksum)  # it may have been finished since the caller asked
        except Refused as refused:
            self._finish(batch, refused)
            return
        if repeated:
            self._metrics.repeated.inc()
            self._metrics.repeated_bytes.inc(len(sealed.content))
            self._finish(batch, None)
            return
        for section in COUNTED_SECTIONS:
            self._metrics.rows_received.labels(section).inc(content.rows(section))
        self._place(job)

    def _fits(self, held: int) -> bool:
        most = self._settings.limits.pending_bytes
        return self._stopping.is_set() or not self._jobs or self._pending_bytes + held <= most

    def _learn(self, content: Content) -> None:
        host, strings, sections = content.host.name, content.strings, content.sections
        self._peers.learn_host(host, content.addresses)
        self._peers.learn_endpoints(host, strings, sections["endpoints"])
        self._peers.learn_links(host, strings, sections["links"])

    def _place(self, job: Job) -> None:
        if not self._try(job):
            self._metrics.delayed.inc()
            self._metrics.rows_delayed.inc(job.content.rows("requests"))
            with self._lock:
                self._waiting.append(job)
                self._metrics.waiting.set(len(self._waiting))

    def _try(self, job: Job, give_up: bool = False) -> bool:
        content = job.content
        resolution: Resolution = self._peers.resolve(content.host.name, content.sections["links"], give_up)
        if resolution.open and not give_up:
            return False
        self._collector.put(Part(job.batch, job.sealed, content, resolution.ends, job.received_us))
        return True

    def _wait_all(self) -> None:
        while not self._stopping.wait(_POLL_S):
            with self._lock:
                waiting = list(self._waiting)
            now = time.monotonic()
            held = sum(job.bytes for job in waiting)
            placed = set()
            for job in waiting:  # oldest first
                full = held > self._settings.peers.waiting_bytes
                if self._try(job, give_up=full or now >= job.deadline):
                    placed.add(job)
                    held -= job.bytes
                    self._metrics.released.inc(full)
            if placed:
                with self._lock:
                    self._waiting = [job for job in self._waiting if job not in placed]
                    self._metrics.waiting.set(len(self._waiting))

    def _insert_all(self) -> None:
        while (block := self._collector.next()) is not None:
            self._process(block, journaled=block.id in self._failures)

    def _process(self, block: Block, journaled: bool) -> None:
        if self._journal is None:
            block = Block(str(block.parts[0].batch), block.made_us, block.parts)
        elif not journaled and not self._append(self._journal, block):
            return
        try:
            with self._metrics.insert_seconds.time():
                written = self._writer.write(block)
                self._ledger.accept(block)
        except StoreError as error:
            self._failed(block, str(error))
        except Exception:
            _log.exception("a block cannot be inserted", block=block.id)
            self._failed(block, "internal error; see the aggregator's log")
        else:
            self._done(block, written)

    def _append(self, journal: Journal, block: Block) -> bool:
        try:
            with self._metrics.journal_seconds.time():
                journal.append(block.id, record.write(block))
        except JournalError as error:
            words = str(error)
        except Exception:  # this thread has to go on
            _log.exception("a block cannot be journaled", block=block.id)
            words = "internal error; see the aggregator's log"
        else:
            self._trouble("journal", "")
            return True
        _log.error("batches are refused, their agents send them again", batches=len(block.parts), error=words)
        self._trouble("journal", words)
        self._metrics.journal_failures.inc()
        for part in block.parts:
            self._finish(part.batch, Refused(pb.Refusal.OVERLOADED, words, retryable=True))
        return False

    def _trouble(self, what: str, words: str) -> None:
        with self._lock:
            self._troubles.pop(what, None)
            if words:
                self._troubles[what] = words

    def _failed(self, block: Block, words: str) -> None:
        self._metrics.insert_failures.inc()
        self._trouble(block.id if self._journal is not None else "insert", words)
        if self._journal is None:
            _log.error("an insert failed, the agent sends the batch again", batch=block.id, error=words)
            self._finish(block.parts[0].batch, Refused(pb.Refusal.OVERLOADED, words, retryable=True))
            return
        times = self._failures.get(block.id, 0)
        self._failures[block.id] = times + 1
        pause_s = min(_FIRST_RETRY_S * 2**times, self._settings.storage.block_retry_s)
        _log.error("an insert failed and is tried again", block=block.id, after_s=pause_s, error=words)
        self._collector.again(block, pause_s)

    def _done(self, block: Block, written: Written) -> None:
        if self._journal is not None:
            self._journal.forget(block.id)
        self._failures.pop(block.id, None)
        self._trouble(block.id if self._journal is not None else "insert", "")
        self._metrics.blocks.inc()
        self._metrics.inserted.inc(len(block.parts))
        self._count(written)
        now = time.time()
        for part in block.parts:
            received_s = part.received_us / 1e6
            self._metrics.unresolved.inc(count_unknown(part.ends))
            self._metrics.per_agent.inserted(part.batch.agent, part.content.host.seen_us / 1e6, received_s)
            self._metrics.acknowledge_seconds.observe(max(0.0, now - received_s))
            self._finish(part.batch, None)

    def _count(self, written: Written) -> None:
        self._metrics.requests.add(written.requests)
        for table, rows in written.rows.items():
            self._metrics.rows.labels(table).inc(rows)
        for agent, counts in written.agents.items():
            self._metrics.per_agent.said(agent, counts)

    def _finish(self, batch: BatchId, refused: Refused | None) -> None:
        with self._lock:
            job = self._jobs.pop(batch)
            self._pending_bytes -= job.bytes
            self._room.notify(_WOKEN)
            self._metrics.pending.set(len(self._jobs))
            self._metrics.pending_bytes.set(self._pending_bytes)
            answers = list(job.answers)
        for done in answers:
            done(refused)


def _stopping() -> Refused:
    return Refused(pb.Refusal.OVERLOADED, "the aggregator is stopping; send it later", retryable=True)
