"""The gRPC service: one bidirectional stream per agent, each batch answered exactly once.

Messages are taken as bytes and parsed here, so that garbage is refused with a reason and does not end the stream.
A stream reads ahead of its answers by at most grpc.window_batches; a batch that waits for its peers therefore holds up
nothing but its own slot.
"""

from __future__ import annotations

import math
import queue
import threading
import time
from collections.abc import Callable, Iterator
from concurrent import futures
from typing import Any

import grpc

from aggregator.analysis.halves import Halves
from aggregator.config import AggregatorSettings
from aggregator.ingest import content, seal
from aggregator.ingest.admission import Admission
from aggregator.ingest.batch import BatchId, Sealed
from aggregator.ingest.pipeline import Pipeline
from aggregator.ingest.refusal import Refused
from aggregator.ingest.tls import Peer, ServerTls
from aggregator.metrics import Metrics
from aggregator.storage.tenants import Tenants
from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION, __version__, logs
from sonde.errors import CertificateError, StoreError, UsageError

_log = logs.get(__name__)

_LOCAL_NAMES = ("127.0.0.1", "localhost", "[::1]", "::1")
#: gRPC itself ends the stream beyond this multiple of limits.batch_bytes; up to it, a batch is refused with a reason.
_HARD_LIMIT = 4
#: Streams beyond grpc.max_agents that are told so and counted; gRPC itself refuses what comes on top of them.
_SPARE = 16


class Stream:
    """One agent's stream."""

    def __init__(
        self,
        settings: AggregatorSettings,
        pipeline: Pipeline,
        metrics: Metrics,
        peer: Peer,
        admission: Admission,
        halves: Halves,
        tenants: Tenants,
    ) -> None:
        self._tenants = tenants
        self._admission = admission
        self._settings = settings
        self._pipeline = pipeline
        self._metrics = metrics
        self._peer = peer
        self._halves = halves
        self._host = ""
        self._answers: queue.SimpleQueue[pb.AggregatorMessage | None] = queue.SimpleQueue()
        self._window = threading.Semaphore(settings.grpc.window_batches)
        self._lock = threading.Lock()
        self._unanswered = 0
        self._read_all = False
        self._ended = threading.Event()
        self._agent: str | None = None

    def end(self) -> None:
        """The stream is gone: stop reading and answering."""
        self._ended.set()
        self._halves.leave(self._host, self._ask)
        self._answers.put(None)

    def _ask(self, exchanges: list[int]) -> None:
        self._answers.put(pb.AggregatorMessage(wanted=pb.Wanted(exchange_ids=exchanges)))

    def read(self, frames: Iterator[bytes]) -> None:
        """Take messages until the agent closes its side."""
        try:
            for frame in frames:
                if self._ended.is_set():
                    return
                if self._peer.expired:
                    self._refuse(_expired(), b"", 0)
                    return
                if not self._take(frame):
                    return
        except grpc.RpcError:
            pass  # the agent is gone, or sent a message beyond the hard limit: gRPC tells neither apart from a close
        except Exception as error:
            if not self._ended.is_set():
                _log.warning("stream ended", agent=self._agent, error=str(error))
        finally:
            self._metrics.streams_ended.labels("gone").inc()
            with self._lock:
                if self._agent is not None:
                    self._admission.leave(self._agent)
                self._read_all = True
                if self._unanswered == 0:
                    self._answers.put(None)

    def answers(self) -> Iterator[pb.AggregatorMessage]:
        """Every answer, until all batches are answered and the agent closed its side."""
        try:
            first = self._answers.get(timeout=self._settings.grpc.hello_s)
        except queue.Empty:
            self._metrics.streams_ended.labels("no_hello").inc()
            return
        if first is None:
            return
        yield first
        while (answer := self._answers.get()) is not None:
            yield answer

    def _take(self, frame: bytes) -> bool:
        """One message; whether the stream may go on."""
        try:
            message = seal.parse_message(frame, self._settings.limits)
            if message.WhichOneof("message") == "hello":
                self._welcome(message.hello)
                return True
        except Refused as refused:
            self._refuse(refused, b"", 0)
            # Without a Hello that is good, what follows would be refused for good for its sake.
            return not refused.retryable
        sealed = message.batch
        self._metrics.batches.inc()
        self._metrics.bytes.inc(len(frame))
        try:
            with self._metrics.decode_seconds.time():
                taken = self._open(sealed)
        except Refused as refused:
            self._metrics.refused_bytes.inc(len(sealed.content))
            self._refuse(refused, sealed.spool_id, sealed.sequence)
            return True
        if taken is None:
            self._metrics.repeated.inc()
            self._metrics.repeated_bytes.inc(len(sealed.content))
            self._acknowledge(sealed.spool_id, sealed.sequence)
            return True
        while not self._window.acquire(timeout=1.0):
            if self._ended.is_set():
                return False
        with self._lock:
            self._unanswered += 1
        batch = BatchId(sealed.agent, sealed.spool_id, sealed.sequence)
        done = self._answer_later(batch, len(sealed.content))
        try:
            self._pipeline.submit(batch, Sealed(sealed.content, sealed.content_bytes, sealed.checksum), taken, done)
        except Refused as refused:
            done(refused)
            return True
        if taken.host.name != self._host:
            self._host = taken.host.name
            self._halves.hear(self._host, self._ask)
        self._halves.learn(taken)
        return True

    def _open(self, sealed: pb.SealedBatch) -> content.Content | None:
        """Its content; None if it was accepted before."""
        if self._agent is None:
            raise Refused(pb.Refusal.NO_HELLO, "say Hello before the first batch")
        who = self._peer.identity
        if who is not None and sealed.agent != who.name:
            raise _wrong(f"batch of agent {sealed.agent!r} under the certificate of {who.name!r}")
        self._admission.spend(self._agent, max(sealed.content_bytes, sealed.ByteSize()), time.monotonic())
        seal.check(sealed, self._agent, self._settings.limits)
        if self._pipeline.repeated(BatchId(sealed.agent, sealed.spool_id, sealed.sequence), sealed.checksum):
            return None
        taken = content.read(seal.open_batch(sealed, self._settings.limits), self._settings.limits)
        if who is not None and taken.host.name != who.name:
            raise _wrong(f"rows of host {taken.host.name!r} under the certificate of {who.name!r}")
        return taken

    def _welcome(self, hello: pb.Hello) -> None:
        seal.check_version(hello.wire_version)
        if not 0 < len(hello.agent.encode()) <= self._settings.limits.name_bytes:
            raise Refused(pb.Refusal.MALFORMED, "Hello without the agent's name")
        who = self._peer.identity
        if who is not None and hello.agent != who.name:
            raise _wrong(
                f"agent {hello.agent!r} came with the certificate of {who.name!r}; set its host_name or issue another",
                retryable=True,  # its batches are good, as soon as the certificate is
            )
        if self._agent is not None:
            raise Refused(pb.Refusal.MALFORMED, "a second Hello on one stream")
        if who is not None:
            try:
                self._tenants.tell(who.name, who.tenant)
            except StoreError as error:
                raise Refused(pb.Refusal.OVERLOADED, str(error), retryable=True) from None
        self._admission.enter(hello.agent)
        self._agent = hello.agent
        welcome = pb.Welcome(
            wire_version=WIRE_VERSION,
            aggregator_version=__version__,
            max_batch_bytes=self._settings.limits.batch_bytes,
        )
        self._answers.put(pb.AggregatorMessage(welcome=welcome))

    def _answer_later(self, batch: BatchId, size: int) -> Callable[[Refused | None], None]:
        def done(refused: Refused | None) -> None:
            if refused is None:
                self._acknowledge(batch.spool_id, batch.sequence)
            else:
                self._metrics.refused_bytes.inc(size)
                self._refuse(refused, batch.spool_id, batch.sequence)
            self._window.release()
            with self._lock:
                self._unanswered -= 1
                if self._read_all and self._unanswered == 0:
                    self._answers.put(None)

        return done

    def _acknowledge(self, spool_id: bytes, sequence: int) -> None:
        self._answers.put(pb.AggregatorMessage(ack=pb.Ack(spool_id=spool_id, sequence=sequence)))

    def _refuse(self, refused: Refused, spool_id: bytes, sequence: int) -> None:
        self._metrics.refused.labels(refused.reason).inc()
        _log.warning("refused", code=refused.reason, agent=self._agent, sequence=sequence, why=str(refused))
        refusal = pb.Refusal(
            spool_id=spool_id,
            sequence=sequence,
            code=refused.code,  # type: ignore[arg-type]
            message=str(refused),
            retryable=refused.retryable,
            retry_after_ms=math.ceil(refused.retry_after_s * 1e3),
        )
        self._answers.put(pb.AggregatorMessage(refusal=refusal))


def _wrong(message: str, retryable: bool = False) -> Refused:
    return Refused(pb.Refusal.WRONG_CERTIFICATE, message, retryable)


def _expired() -> Refused:
    return _wrong("the agent's certificate has expired: `sonde ca renew`", retryable=True)


class _Unknown(grpc.GenericRpcHandler):  # type: ignore[misc]
    """Counts calls of methods that there are not; gRPC answers them."""

    def __init__(self, metrics: Metrics) -> None:
        self._metrics = metrics

    def service(self, handler_call_details: Any) -> None:
        """No handler."""
        del handler_call_details
        self._metrics.streams_ended.labels("unknown_method").inc()


class IngestServer:
    """The gRPC server."""

    def __init__(
        self, settings: AggregatorSettings, pipeline: Pipeline, metrics: Metrics, halves: Halves, tenants: Tenants
    ) -> None:
        """Bind, without serving yet.

        Raises:
            UsageError: the address is not local, has no TLS and no --insecure, or it cannot be bound.
            CertificateError: the files of grpc.tls cannot be used.
        """
        self._settings = settings
        self._pipeline = pipeline
        self._metrics = metrics
        self._halves = halves
        self._lock = threading.Lock()
        self._streams: set[Stream] = set()
        self._tenants = tenants
        self._admission = Admission(settings.grpc, settings.limits)
        listen = settings.grpc.listen
        host = listen.rpartition(":")[0]
        if host not in _LOCAL_NAMES and not settings.grpc.insecure and not settings.grpc.tls.on:
            raise UsageError(
                f"grpc.listen {listen} is reachable from other hosts: set grpc.tls.certificate, key and ca (`sonde ca` "
                "makes them), listen on 127.0.0.1, or accept plain text with --insecure"
            )
        self._tls = ServerTls(settings.grpc.tls, metrics) if settings.grpc.tls.on else None
        self._server = grpc.server(
            futures.ThreadPoolExecutor(settings.grpc.max_agents + _SPARE, thread_name_prefix="stream"),
            maximum_concurrent_rpcs=settings.grpc.max_agents + _SPARE,
            options=[
                ("grpc.max_receive_message_length", _HARD_LIMIT * settings.limits.batch_bytes),
                ("grpc.so_reuseport", 0),
                ("grpc.keepalive_time_ms", 30_000),
                ("grpc.keepalive_timeout_ms", 10_000),
                ("grpc.http2.ping_timeout_ms", 10_000),  # else a minute, whatever the line above says (gRPC 1.85)
                ("grpc.http2.min_ping_interval_without_data_ms", 5_000),
            ],
        )
        deliver = grpc.stream_stream_rpc_method_handler(
            self._deliver, request_deserializer=None, response_serializer=pb.AggregatorMessage.SerializeToString
        )
        self._server.add_generic_rpc_handlers(
            (grpc.method_handlers_generic_handler("sonde.v1.Ingest", {"Deliver": deliver}), _Unknown(metrics))
        )
        try:
            if self._tls is None:
                self.port = self._server.add_insecure_port(listen)
            else:
                self.port = self._server.add_secure_port(listen, self._tls.credentials)
        except RuntimeError:
            self.port = 0
        if self.port == 0:
            raise UsageError(f"grpc.listen {listen} cannot be bound; is another aggregator running?")

    def _deliver(self, frames: Iterator[bytes], context: Any) -> Iterator[pb.AggregatorMessage]:
        try:
            peer = Peer(context)
        except CertificateError as error:
            self._metrics.streams_ended.labels("wrong_certificate").inc()
            _log.warning("stream refused", peer=context.peer(), why=str(error))
            context.abort(grpc.StatusCode.UNAUTHENTICATED, str(error))
        if self._tls is None:
            yield from self._serve(frames, context, peer)
            return
        with self._tls.connection(context.peer()):
            yield from self._serve(frames, context, peer)

    def _serve(self, frames: Iterator[bytes], context: Any, peer: Peer) -> Iterator[pb.AggregatorMessage]:
        stream = Stream(
            self._settings, self._pipeline, self._metrics, peer, self._admission, self._halves, self._tenants
        )
        with self._lock:
            full = len(self._streams) >= self._settings.grpc.max_agents
            if not full:
                self._streams.add(stream)
        if full:
            self._metrics.streams_ended.labels("too_many").inc()
            context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, "grpc.max_agents streams are open; come back later")
        self._metrics.agents.inc()
        if not context.add_callback(stream.end):
            stream.end()
        reader = threading.Thread(target=stream.read, args=(frames,), name="read", daemon=True)
        reader.start()
        try:
            yield from stream.answers()
        finally:
            stream.end()
            with self._lock:
                self._streams.discard(stream)
            self._metrics.agents.dec()

    def start(self) -> None:
        """Serve."""
        self._server.start()

    def stop(self, grace_s: float) -> None:
        """End all streams after the answers they have; call when the pipeline has stopped."""
        stopped = self._server.stop(grace_s)
        with self._lock:
            streams = list(self._streams)
        for stream in streams:
            stream.end()
        stopped.wait()
        if self._tls is not None:
            self._tls.stop()
