"""One stream to one aggregator: greet, send, take the answers, notice that it is dead.

Invariants:
    - no batch is sent before the aggregator's Welcome: what a greeting is refused for is no batch's fault
    - a batch leaves the spool only by an answer that names it and while it is on this stream's wire
    - whatever the other end does, `expired` tells within the bounds of the settings: no Welcome, no answer to a batch
      (half-open, not reading, stuck), refusals for now without end; a silent connection is left by keepalive
    - nothing that the aggregator sends raises here; kinds of messages that are not known are ignored
Threads: gRPC's own takes the messages to send; one takes answers; the caller looks at `ended` and `expired`.
On failure: `reason` says why, all unanswered batches stay in the spool, and stream.py begins another.
"""

from __future__ import annotations

import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field

import grpc

from node_agent.config import AgentSettings
from node_agent.delivery.channel import open_channel, tls_hint
from node_agent.delivery.outbox import Hold, Outbox
from node_agent.delivery.spool import Spool
from proto import sonde_pb2 as pb
from proto import sonde_pb2_grpc as rpc
from sonde import WIRE_VERSION, __version__, logs
from sonde.tls import TlsFiles

_log = logs.get("sonde.agent.delivery")

_MESSAGE_CHARACTERS = 300  # of the aggregator's words in the log


@dataclass
class Counters:
    """Totals of all streams since the start."""

    sent: int = 0  # batches, each time that one went
    resent: int = 0  # of these, batches that had gone before
    streams: int = 0  # welcomed ones
    breaks: int = 0  # streams that ended other than by `close`, and attempts that failed
    strange: int = 0  # answers that fit no batch on the wire
    refusals: Counter[str] = field(default_factory=Counter)  # by code, those for now included
    _tried: dict[int, None] = field(default_factory=dict)

    def count_sent(self, sequence: int, remembered: int) -> None:
        """Count a batch that goes; the last `remembered` unanswered ones are known again."""
        self.sent += 1
        self.resent += sequence in self._tried
        self._tried[sequence] = None
        while len(self._tried) > remembered:
            del self._tried[next(iter(self._tried))]

    def forget(self, sequence: int) -> None:
        """The batch will not go again."""
        self._tried.pop(sequence, None)


def code_name(code: int) -> str:
    """Name of a Refusal.Code; codes of a newer aggregator by their number."""
    return str(pb.Refusal.Code.Name(code)) if code in pb.Refusal.Code.values() else f"CODE_{code}"


class Connection:
    """Begins with `Connection(...)`; call `close` in any case."""

    def __init__(
        self,
        settings: AgentSettings,
        address: str,
        tls: TlsFiles | None,
        spool: Spool,
        counters: Counters,
        changed: Callable[[], None],
        held: Mapping[int, Hold] | None = None,
        asked: Callable[[list[int]], None] = lambda _: None,
    ) -> None:
        """Connect and greet; nothing is sent before `begin`.

        `changed` is called at the welcome and at the end, `asked` with the exchange_ids of rows that are wanted.

        Raises:
            CertificateError: the files of `tls` cannot be used as they are now.
        """
        limits = settings.delivery
        self.address, self._settings, self._limits = address, settings, limits
        self._spool, self._counters, self._changed = spool, counters, changed
        self.outbox = Outbox(spool, limits.window_batches, limits.window_bytes, held)
        self._tls, self._asked = tls is not None, asked
        self._begin = threading.Event()
        self._closed = False
        self._max_batch_bytes = 0
        self._opened_at = time.monotonic()
        self.version = ""  # of the aggregator, once welcomed
        self.welcomed = threading.Event()
        self.ended = threading.Event()
        self.answers = 0  # to batches
        self.reason = "it ended the stream"
        self._channel = open_channel(settings, address, tls)
        self._call = rpc.IngestStub(self._channel).Deliver(self._messages())
        threading.Thread(target=self._read, name="answers", daemon=True).start()

    @property
    def begun(self) -> bool:
        """Whether `begin` was called."""
        return self._begin.is_set()

    def begin(self) -> None:
        """Send batches."""
        self._counters.streams += 1
        self._begin.set()

    def retire(self) -> None:
        """Send nothing more; the aggregator still answers what is on the wire, then ends the stream."""
        self.outbox.stop()
        self._begin.set()

    def close(self) -> None:
        """End at once; what is unanswered stays in the spool."""
        self._closed = True
        self.outbox.stop()
        self._begin.set()
        self._call.cancel()
        self._channel.close()

    def expired(self, now: float, others: bool) -> str:
        """Why this stream has to be left, or an empty text. `others`: there are addresses to go to instead."""
        limits = self._limits
        if not self.welcomed.is_set():
            late = now - self._opened_at > limits.connect_seconds
            return f"no Welcome within {limits.connect_seconds:g} s" if late else ""
        oldest_at, refused_since = self.outbox.oldest_at, self.outbox.refused_since
        if oldest_at is not None and now - oldest_at > limits.answer_seconds:
            return f"no answer to a batch within {limits.answer_seconds:g} s"
        if others and refused_since and now - refused_since > limits.answer_seconds:
            return f"it takes nothing for {limits.answer_seconds:g} s"
        return ""

    def deadline(self) -> float:
        """Monotonic seconds when `expired` has to be asked next, unless a batch goes or something changes before."""
        if not self.welcomed.is_set():
            return self._opened_at + self._limits.connect_seconds
        oldest_at = self.outbox.oldest_at
        return (time.monotonic() if oldest_at is None else oldest_at) + self._limits.answer_seconds

    # The sender's thread

    def _messages(self) -> Iterator[pb.AgentMessage]:
        yield pb.AgentMessage(
            hello=pb.Hello(
                wire_version=WIRE_VERSION,
                agent=self._settings.name,
                agent_version=__version__,
                spool_id=self._spool.id,
            )
        )
        self._begin.wait()
        while not self._closed and (batch := self.outbox.next()) is not None:
            message = pb.AgentMessage(batch=batch)
            size = message.ByteSize()
            if 0 < self._max_batch_bytes < size:  # the aggregator could not say which batch it refuses
                text = f"{size} bytes; the aggregator takes {self._max_batch_bytes}: raise limits.batch_bytes there"
                self._refuse(batch.sequence, "TOO_LARGE", text)
                continue
            self._counters.count_sent(batch.sequence, 2 * self._limits.window_batches)
            yield message

    # The reader's thread

    def _read(self) -> None:
        try:
            for answer in self._call:
                if not self._take(answer):
                    break
        except grpc.RpcError as error:
            self.reason = _reason(error)
            if self._tls:
                self.reason += tls_hint(self.reason)
        except Exception as error:  # a fault of ours must not end delivery for good
            self.reason = f"an answer could not be taken: {error!r}"
            _log.exception("an answer could not be taken", aggregator=self.address)
        finally:
            self.outbox.stop()
            self.ended.set()
            self._changed()

    def _take(self, answer: pb.AggregatorMessage) -> bool:
        """Whether the stream goes on."""
        kind = answer.WhichOneof("message")
        if kind == "welcome":
            self._max_batch_bytes = answer.welcome.max_batch_bytes
            self.version = answer.welcome.aggregator_version
            self.welcomed.set()
            self._changed()
        elif kind == "ack":
            self._acknowledge(answer.ack)
        elif kind == "wanted":
            self._asked(list(answer.wanted.exchange_ids))
        elif kind == "refusal":
            return self._refusal(answer.refusal)
        return True

    def _acknowledge(self, ack: pb.Ack) -> None:
        if not self.outbox.has(ack.spool_id, ack.sequence):
            self._counters.strange += 1
            return
        self.answers += 1
        self._spool.acknowledge(ack.sequence)
        self._counters.forget(ack.sequence)
        self.outbox.acknowledged(ack.sequence)

    def _refusal(self, refusal: pb.Refusal) -> bool:
        name = code_name(refusal.code)
        text = refusal.message[:_MESSAGE_CHARACTERS]
        if not refusal.sequence:  # of the greeting, or of bytes that the aggregator could not read
            self._counters.refusals[name] += 1
            self.reason = f"{name}: {text}"
            return False
        if not self.outbox.has(refusal.spool_id, refusal.sequence):
            self._counters.strange += 1
            return True
        self.answers += 1
        if refusal.retryable:
            self._counters.refusals[name] += 1
            self.outbox.postponed(refusal.sequence, refusal.retry_after_ms / 1e3)
        else:
            self._refuse(refusal.sequence, name, text)
        return True

    def _refuse(self, sequence: int, name: str, text: str) -> None:
        self._counters.refusals[name] += 1
        _log.error("a batch was refused for good", sequence=sequence, code=name, why=text)
        self._spool.refuse(sequence, name, text)
        self._counters.forget(sequence)
        self.outbox.refused(sequence)


def _reason(error: grpc.RpcError) -> str:
    code = error.code() if callable(getattr(error, "code", None)) else None
    details = error.details() if callable(getattr(error, "details", None)) else str(error)
    return f"{code.name if code else 'error'}: {details}"
