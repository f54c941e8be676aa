"""What a certificate of Sonde says: whose it is, of which tenant, until when; and files of keys and certificates.

Who a certificate is for stands in one SAN URI, `sonde://agent/NAME` or `sonde://aggregator/NAME`: an aggregator's
certificate can so never pass for an agent's. A certificate of another authority has no such URI; there the common name
is the agent's name. The tenant is the subject's organizational unit (OU).

Nothing here decides whom to trust: the TLS library has checked the chain before anything is read.
"""

from __future__ import annotations

import datetime
import os
import re
from dataclasses import dataclass
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.types import PublicKeyTypes
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat, load_pem_private_key
from cryptography.x509.oid import ExtensionOID, NameOID

from sonde.errors import CertificateError

AGENT, AGGREGATOR = "agent", "aggregator"
KINDS = (AGENT, AGGREGATOR)
#: Names that stand in files, URLs and logs as they are.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,199}")
_URI = re.compile(rf"sonde://(agent|aggregator)/({NAME.pattern})")
_READABLE_BY_OTHERS = 0o007


@dataclass(frozen=True)
class Identity:
    """Whose certificate it is; `kind` is 'agent', 'aggregator', or '' for a certificate of another authority."""

    kind: str
    name: str
    tenant: str


def uri(kind: str, name: str) -> str:
    """The SAN URI of `name`, which matches NAME."""
    return f"sonde://{kind}/{name}"


def identity(certificate: x509.Certificate) -> Identity:
    """Whose `certificate` it is.

    Raises:
        CertificateError: it names nobody, or more than one.
    """
    try:
        names = certificate.extensions.get_extension_for_oid(ExtensionOID.SUBJECT_ALTERNATIVE_NAME).value
        assert isinstance(names, x509.SubjectAlternativeName)
        uris = names.get_values_for_type(x509.UniformResourceIdentifier)
        ours = [match for one in uris if (match := _URI.fullmatch(one))]
        common = _texts(certificate, NameOID.COMMON_NAME)
        tenants = _texts(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    except x509.ExtensionNotFound:
        ours, common = [], _texts(certificate, NameOID.COMMON_NAME)
        tenants = _texts(certificate, NameOID.ORGANIZATIONAL_UNIT_NAME)
    except ValueError as error:
        raise CertificateError(f"certificate cannot be read ({error}); issue another with `sonde ca issue`") from None
    if len(ours) > 1 or len(tenants) > 1 or (not ours and len(common) != 1):
        raise CertificateError("a certificate names one agent and at most one tenant (OU); issue one with `sonde ca`")
    if ours:
        return Identity(ours[0][1], ours[0][2], "".join(tenants))
    return Identity("", common[0], "".join(tenants))


def _texts(certificate: x509.Certificate, oid: x509.ObjectIdentifier) -> list[str]:
    return [str(one.value) for one in certificate.subject.get_attributes_for_oid(oid)]


def now() -> datetime.datetime:
    """The time, with its zone."""
    return datetime.datetime.now(datetime.timezone.utc)


def read(path: Path) -> bytes:
    """The file's bytes.

    Raises:
        CertificateError: it cannot be read.
    """
    try:
        return path.read_bytes()
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}; check the path and its owner") from None


def load_certificates(data: bytes, path: Path) -> list[x509.Certificate]:
    """At least one certificate from PEM; `path` is for the message.

    Raises:
        CertificateError: it is not PEM with certificates.
    """
    try:
        return x509.load_pem_x509_certificates(data)
    except ValueError:
        raise CertificateError(f"{path} holds no certificate in PEM; `sonde ca issue` makes one") from None


def key_belongs(key: bytes, certificate: x509.Certificate, path: Path) -> bool:
    """Whether the PEM private key is the certificate's; `path` is for the message.

    Raises:
        CertificateError: it is no private key without a password.
    """
    try:
        private = load_pem_private_key(key, None)
    except (ValueError, TypeError):
        raise CertificateError(f"{path} holds no private key in PEM without a password") from None
    return _der(private.public_key()) == _der(certificate.public_key())


def _der(key: PublicKeyTypes) -> bytes:
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def is_open_to_others(path: Path) -> bool:
    """Whether users other than owner and group may read or write `path`; False if it cannot be told."""
    try:
        return bool(os.stat(path).st_mode & _READABLE_BY_OTHERS)
    except OSError:
        return False
