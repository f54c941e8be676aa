"""The aggregator's end of mutual TLS: its certificate, exchanged while it runs, and who an agent is by its own.

Holds: with TLS no stream begins without a certificate that grpc.tls.ca vouches for (gRPC checks the chain, the time
and the purpose); the agent's name and tenant are the certificate's. New files are used from the next connection on;
open streams go on with what they began with, until the agent's certificate expires.

gRPC tells nobody about a handshake that failed; it only prints why, without an address. It does ask for the
certificate at the beginning of each: so a handshake after which no stream comes from a new peer has failed, and is
counted as such.
"""

from __future__ import annotations

import logging
import threading
import time
from collections import Counter, deque
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import grpc
from cryptography import x509

from aggregator.config import GrpcTls
from aggregator.metrics import Metrics
from sonde import certificates
from sonde.errors import CertificateError
from sonde.tls import Loaded, TlsFiles

_log = logging.getLogger(__name__)

_LOOK_EVERY_S = 1.0
_SAY_EVERY_S = 60.0
_HANDSHAKES = 10_000  # in work at once, as far as they are counted one by one


class Peer:
    """Who is at the other end of a stream: by its certificate, or nobody in particular."""

    def __init__(self, context: Any) -> None:
        """CertificateError if the certificate names no agent."""
        found = context.auth_context().get("x509_pem_cert")
        self.identity: certificates.Identity | None = None
        self._expires_s = float("inf")
        if found:
            certificate = x509.load_pem_x509_certificate(found[0])
            self.identity = certificates.identity(certificate)
            if self.identity.kind == certificates.AGGREGATOR:
                raise CertificateError(f"certificate of aggregator {self.identity.name}: agents need one of their own")
            self._expires_s = certificate.not_valid_after_utc.timestamp()

    @property
    def expired(self) -> bool:
        """Whether the certificate is not good any more."""
        return time.time() >= self._expires_s


class ServerTls:
    """The certificate of the gRPC port."""

    def __init__(self, tls: GrpcTls, metrics: Metrics) -> None:
        """Read the files.

        Raises:
            CertificateError: they cannot be used.
        """
        self._files = TlsFiles(tls)
        self._metrics = metrics
        self._handshakes = Handshakes(tls.handshake_seconds, metrics)
        first = _configuration(self._use(self._files.load()))
        self.credentials = grpc.dynamic_ssl_server_credentials(first, self._at_handshake, True)
        self._stop = threading.Event()
        self._watch = threading.Thread(target=self._look, name="tls", daemon=True)
        self._watch.start()

    def _use(self, loaded: Loaded) -> Loaded:
        self._metrics.certificate_expires.set(loaded.expires_s)
        return loaded

    def _at_handshake(self) -> Any:
        """Answer gRPC, which asks for a new configuration; None keeps the one in force. Must not raise."""
        self._handshakes.begin(time.monotonic())
        try:
            changed = self._files.changed()
            if changed is None:
                return None
            _log.info(
                "certificate of grpc.tls exchanged; good until %s", time.strftime("%F", time.gmtime(changed.expires_s))
            )
            return _configuration(self._use(changed))
        except Exception:
            _log.exception("grpc.tls was not looked at; what is in force stays")
            return None

    @contextmanager
    def connection(self, peer: str) -> Iterator[None]:
        """While a stream of `peer` (gRPC's address:port) lasts."""
        self._handshakes.connected(peer)
        try:
            yield
        finally:
            self._handshakes.gone(peer)

    def _look(self) -> None:
        while not self._stop.wait(_LOOK_EVERY_S):
            self._handshakes.sweep(time.monotonic())

    def stop(self) -> None:
        """No more counting."""
        self._stop.set()
        self._watch.join()


def _configuration(loaded: Loaded) -> Any:
    return grpc.ssl_server_certificate_configuration([(loaded.key, loaded.certificate)], loaded.ca)


class Handshakes:
    """How many handshakes brought no stream; thread-safe. Times are of the monotonic clock, s."""

    def __init__(self, patience_s: float, metrics: Metrics) -> None:
        # An agent opens its stream as soon as it is connected.
        self._patience_s = patience_s
        self._metrics = metrics
        self._lock = threading.Lock()
        self._begun: deque[float] = deque(maxlen=_HANDSHAKES)
        self._peers: Counter[str] = Counter()
        self._unsaid, self._said_at = 0, float("-inf")

    def begin(self, now: float) -> None:
        """A connection came in."""
        with self._lock:
            if len(self._begun) == _HANDSHAKES:
                self._failed(1)  # the one that falls out at the other end
            self._begun.append(now)

    def connected(self, peer: str) -> None:
        """A stream of `peer` began: its handshake is done. A second stream of one connection had none."""
        with self._lock:
            self._peers[peer] += 1
            if self._peers[peer] == 1 and self._begun:
                self._begun.popleft()

    def gone(self, peer: str) -> None:
        """A stream of `peer` ended."""
        with self._lock:
            self._peers[peer] -= 1
            if self._peers[peer] <= 0:
                del self._peers[peer]

    def sweep(self, now: float) -> None:
        """Give up what began too long ago, and say it once a minute."""
        with self._lock:
            count = 0
            while self._begun and now - self._begun[0] > self._patience_s:
                self._begun.popleft()
                count += 1
            self._failed(count)
            if not self._unsaid or now - self._said_at < _SAY_EVERY_S:
                return
            unsaid, self._unsaid, self._said_at = self._unsaid, 0, now
        _log.warning(
            "%d connections brought no stream: no certificate, one of another authority or an expired one, or a name "
            "that the agent did not expect of this aggregator; gRPC's line above says which",
            unsaid,
        )

    def _failed(self, count: int) -> None:
        self._unsaid += count
        self._metrics.handshakes_failed.inc(count)
