"""Settings and files of mutual TLS, the same at both ends.

Holds: a TlsFiles gives only what belongs together (the key is the certificate's, the authority's file holds
certificates); files that change are taken once all of them are sound, until then the ones before stay in force, with
one line in the log for each state of the files. What is expired is still used, and said: the other end decides.
"""

from __future__ import annotations

import logging
import os
import threading
import time
from dataclasses import dataclass, field
from datetime import timedelta
from pathlib import Path
from typing import TYPE_CHECKING

from pydantic import Field, model_validator

from sonde.config import Settings
from sonde.errors import CertificateError, UsageError

if TYPE_CHECKING:
    from sonde.certificates import Identity

_log = logging.getLogger("sonde.tls")

_LOOK_EVERY_S = 1.0
_SOON_DAYS = 14


class Tls(Settings):
    """Certificate and key of this end, and the authority of the other end's."""

    certificate: str = Field("", description="file of this end's certificate, PEM; `sonde ca` makes it")
    key: str = Field("", description="file of its private key, PEM, without a password; not readable by others")
    ca: str = Field("", description="file of the authorities whose certificates are good, PEM")

    @model_validator(mode="after")
    def _all_or_none(self) -> Tls:
        given = [self.certificate, self.key, self.ca]
        if any(given) and not all(given):
            raise ValueError("tls needs all of certificate, key and ca; `sonde ca` makes them")
        return self

    @property
    def on(self) -> bool:
        """Whether TLS is used."""
        return bool(self.certificate)


@dataclass(frozen=True)
class Loaded:
    """What the files said: PEM of all three, whose the certificate is, and when it expires (Unix time, s)."""

    certificate: bytes
    key: bytes = field(repr=False)
    ca: bytes
    identity: Identity
    expires_s: float


class TlsFiles:
    """The files that a Tls names; thread-safe."""

    def __init__(self, tls: Tls) -> None:
        """UsageError if the library is missing."""
        try:
            from sonde import certificates
        except ModuleNotFoundError as error:
            raise UsageError(f"tls needs the package {error.name}: pip install 'sonde[ca]'") from None
        self._certificates = certificates
        self._paths = [Path(path) for path in (tls.certificate, tls.key, tls.ca)]
        self._lock = threading.Lock()
        self._used: object = None  # state of the files in force
        self._look_at = 0.0
        self._complaint = ""

    def load(self) -> Loaded:
        """The files as they are now, which are then in force.

        Raises:
            CertificateError: one cannot be read, or they do not belong together.
        """
        state = self._state()
        loaded = self._read()
        with self._lock:
            self._used = state
            self._complaint = ""
        return loaded

    def changed(self) -> Loaded | None:
        """What the files say now, if that is sound and not what is in force; looks once a second at most."""
        with self._lock:
            now = time.monotonic()
            if now < self._look_at:
                return None
            self._look_at = now + _LOOK_EVERY_S
            state = self._state()
            if state == self._used:
                return None
            try:
                loaded = self._read()
            except CertificateError as error:
                # A pair that is being replaced is unequal for a moment: look again, say it once.
                if str(error) != self._complaint:
                    _log.warning("%s; what is in force stays", error)
                    self._complaint = str(error)
                return None
            self._complaint, self._used = "", state
            return loaded

    def _state(self) -> object:
        def of(path: Path) -> object:
            try:
                said = os.stat(path)
            except OSError as error:
                return error.errno
            return said.st_ino, said.st_size, said.st_mtime_ns

        return [of(path) for path in self._paths]

    def _read(self) -> Loaded:
        certificates = self._certificates
        path, key_path, ca_path = self._paths
        data, key, ca = (certificates.read(one) for one in self._paths)
        own = certificates.load_certificates(data, path)[0]
        certificates.load_certificates(ca, ca_path)
        if not certificates.key_belongs(key, own, key_path):
            raise CertificateError(f"{key_path} is not the key of {path}; copy both from one issue")
        if certificates.is_open_to_others(key_path):
            _log.warning("%s is open to every user of this machine: chmod 0600 it", key_path)
        until, now = own.not_valid_after_utc, certificates.now()
        if until <= now:
            _log.error(
                "certificate %s expired on %s: `sonde ca renew`, then copy it here", path, f"{until:%Y-%m-%d %H:%M}"
            )
        elif until <= now + timedelta(days=_SOON_DAYS):
            _log.warning("certificate %s expires on %s: `sonde ca renew`", path, f"{until:%Y-%m-%d %H:%M}")
        elif own.not_valid_before_utc > now:
            _log.error("certificate %s is good from %s on: is this clock right?", path, own.not_valid_before_utc)
        return Loaded(data, key, ca, certificates.identity(own), until.timestamp())
