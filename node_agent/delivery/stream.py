"""The gRPC stream to the aggregator: send every batch of the spool, forget it when it is acknowledged.

After any break everything unacknowledged is sent again, in order; the aggregator knows what it has. A batch that is
refused for good goes into the spool's quarantine and does not block the next. Waits between
attempts grow to 30 s, with jitter, so that a fleet does not come back at once.
"""

from __future__ import annotations

import itertools
import logging
import random
import threading
import time
from collections.abc import Iterator

import grpc

from node_agent.config import AgentSettings
from node_agent.delivery.channel import open_channel, tls_files, tls_hint
from node_agent.delivery.spool import Spool
from proto import sonde_pb2 as pb
from proto import sonde_pb2_grpc as rpc
from sonde import WIRE_VERSION, __version__
from sonde.errors import CertificateError

_log = logging.getLogger("sonde.agent.delivery")

_WINDOW = 64  # unacknowledged batches on the wire
_FIRST_WAIT_SECONDS, _LONGEST_WAIT_SECONDS = 0.25, 30.0


class Delivery:
    """A thread that keeps the stream up until `close`."""

    def __init__(self, settings: AgentSettings, spool: Spool) -> None:
        """UsageError if batches would leave this host in plain text."""
        self._settings, self._spool = settings, spool
        self._tls = tls_files(settings)
        self._targets = itertools.cycle(settings.aggregator)
        self._target = settings.aggregator[0]
        self._stop = threading.Event()
        self._broken = threading.Event()  # of the present stream: an old one's generator may still end
        self._window = threading.Semaphore(_WINDOW)
        self._thread = threading.Thread(target=self._run, name="delivery", daemon=True)
        self.connected = False
        self.reconnects = 0
        self._complained = False

    def start(self) -> None:
        """Begin to connect."""
        self._thread.start()

    def close(self, timeout: float) -> bool:
        """Wait up to `timeout` seconds for acknowledgements, then end; True if nothing was left behind."""
        done = self._spool.wait_empty(timeout)
        self._stop.set()
        self._broken.set()
        self._thread.join(5)
        return done

    def _run(self) -> None:
        wait = _FIRST_WAIT_SECONDS
        while not self._stop.is_set():
            self._target = next(self._targets)
            connected_at = time.monotonic()
            try:
                self._stream()
            except (grpc.RpcError, CertificateError) as error:
                if not self._complained:
                    reason = _reason(error)
                    if self._tls is not None:
                        reason += tls_hint(reason)
                    _log.warning("aggregator %s: %s; batches are kept and sent again", self._target, reason)
                    self._complained = True
            was_up, self.connected = self.connected, False
            if was_up and time.monotonic() - connected_at > wait:
                wait = _FIRST_WAIT_SECONDS
            self.reconnects += 1
            self._stop.wait(wait * random.uniform(0.5, 1.0))
            wait = min(wait * 2, _LONGEST_WAIT_SECONDS)

    def _stream(self) -> None:
        self._broken, self._window = threading.Event(), threading.Semaphore(_WINDOW)
        if self._stop.is_set():
            return
        with open_channel(self._settings, self._target, self._tls) as channel:
            answers = rpc.IngestStub(channel).Deliver(self._messages(self._broken, self._window))
            try:
                for answer in answers:
                    self._take(answer)
                    if self._broken.is_set():
                        break
            finally:
                self._broken.set()
                answers.cancel()

    def _messages(self, broken: threading.Event, window: threading.Semaphore) -> Iterator[pb.AgentMessage]:
        sent, reopened = 0, self._spool.reopened
        yield pb.AgentMessage(
            hello=pb.Hello(
                wire_version=WIRE_VERSION, agent=self._settings.name, agent_version=__version__, spool_id=self._spool.id
            )
        )
        # Older batches than those sent may wait in a file that could be opened again: a new stream begins with them.
        # A new certificate shows only to a new connection.
        while not (broken.is_set() or self._spool.reopened != reopened or (self._tls and self._tls.changed())):
            batch = self._spool.after(sent, timeout=0.5)
            if batch is None:
                continue
            while not window.acquire(timeout=0.5):
                if broken.is_set():
                    return
            sent = batch.sequence
            yield pb.AgentMessage(batch=batch)

    def _take(self, answer: pb.AggregatorMessage) -> None:
        kind = answer.WhichOneof("message")
        if kind == "welcome":
            self.connected = True
            self._complained = False
            _log.info("connected to aggregator %s, version %s", self._target, answer.welcome.aggregator_version)
        elif kind == "ack":
            self._spool.acknowledge(answer.ack.sequence)
            self._window.release()
        elif kind == "refusal":
            refusal = answer.refusal
            if refusal.retryable:
                self._broken.set()  # try again later, from the oldest on
                return
            name = pb.Refusal.Code.Name(refusal.code)
            _log.error("batch %d refused for good: %s, %s", refusal.sequence, name, refusal.message)
            self._spool.refuse(refusal.sequence, name, refusal.message)
            self._window.release()


def _reason(error: grpc.RpcError | CertificateError) -> str:
    if isinstance(error, CertificateError):
        return str(error)
    code = error.code() if callable(getattr(error, "code", None)) else None
    details = error.details() if callable(getattr(error, "details", None)) else str(error)
    return f"{code.name if code else 'error'}: {details}"
