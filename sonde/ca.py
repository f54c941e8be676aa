"""A certificate authority for one fleet: keys, requests and certificates as objects; files are sonde/ca_folder.py's.

Holds: keys are EC P-256; serials are random (159 bits); a certificate of an agent is for TLS clients only, one of an
aggregator for TLS servers only; none outlives its authority; of a signing request only the key is taken, and only
after its signature proved that the asker holds it: names and tenant are what the operator says.
"""

from __future__ import annotations

import datetime
import ipaddress
from dataclasses import dataclass, field

from cryptography import x509
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.asymmetric.types import CertificatePublicKeyTypes
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import ExtendedKeyUsageOID, NameOID

from sonde import certificates
from sonde.errors import CertificateError, UsageError

Key = ec.EllipticCurvePrivateKey

#: Hosts' clocks differ: a certificate is good from an hour before it was made.
_BEFORE = datetime.timedelta(hours=1)
_LONGEST_COMMON_NAME = 64  # X.520's upper bound; longer names stand in the SAN URI alone
_LONGEST_TENANT = 64
_LEAST_RSA_BITS = 2048
_USAGE = {certificates.AGENT: ExtendedKeyUsageOID.CLIENT_AUTH, certificates.AGGREGATOR: ExtendedKeyUsageOID.SERVER_AUTH}


@dataclass(frozen=True)
class Subject:
    """Whom a certificate is for. `hosts`: DNS names and addresses that agents call an aggregator by."""

    kind: str
    name: str
    hosts: tuple[str, ...] = ()
    tenant: str = ""

    def __post_init__(self) -> None:
        """Refuse what no certificate should say; UsageError."""
        if self.kind not in certificates.KINDS:
            raise UsageError(f"kind {self.kind}: use one of {', '.join(certificates.KINDS)}")
        check_name(self.name)
        if self.tenant and self.kind != certificates.AGENT:
            raise UsageError("a tenant belongs to an agent's certificate, not to an aggregator's")
        if len(self.tenant.encode()) > _LONGEST_TENANT or (self.tenant and not self.tenant.isprintable()):
            raise UsageError(f"a tenant is at most {_LONGEST_TENANT} printable characters")
        for host in self.hosts:
            _general_name(host)


@dataclass(frozen=True)
class Authority:
    """An authority's own certificate and key."""

    certificate: x509.Certificate
    key: Key = field(repr=False)


def check_name(name: str) -> None:
    """UsageError unless `name` can stand in a certificate and a file name."""
    if not certificates.NAME.fullmatch(name):
        raise UsageError(f"name {name!r}: use letters, digits, dot, minus and underscore, at most 200")


def new_key() -> Key:
    """A private key."""
    return ec.generate_private_key(ec.SECP256R1())


def key_pem(key: Key) -> bytes:
    """PKCS 8, without a password."""
    return key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())


def load_key(data: bytes, path: object) -> Key:
    """A private key from PEM; `path` is for the message.

    Raises:
        CertificateError: it is none that this module makes.
    """
    try:
        key = load_pem_private_key(data, None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        key = None
    if not isinstance(key, ec.EllipticCurvePrivateKey):
        raise CertificateError(f"{path} holds no EC private key without a password; `sonde ca` makes such keys")
    return key


def self_signed(name: str, days: float, key: Key | None = None) -> Authority:
    """A new authority, or one of the same key that lasts longer."""
    key = key or new_key()
    subject = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, name)])
    usage = x509.KeyUsage(
        digital_signature=False, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=True, crl_sign=True, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    begin = certificates.now()
    builder = (
        x509.CertificateBuilder(subject, subject, key.public_key(), x509.random_serial_number())
        .not_valid_before(begin - _BEFORE)
        .not_valid_after(begin + datetime.timedelta(days=days))
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key.public_key()), critical=False)
    )
    return Authority(builder.sign(key, SHA256()), key)


def request(name: str, key: Key) -> bytes:
    """A signing request (CSR) in PEM."""
    check_name(name)
    subject = x509.Name(_common_name(name))
    return x509.CertificateSigningRequestBuilder(subject).sign(key, SHA256()).public_bytes(Encoding.PEM)


def requested_key(data: bytes, path: object) -> tuple[CertificatePublicKeyTypes, str]:
    """(public key, common name or '') of a signing request whose signature is good; `path` is for the message.

    Raises:
        CertificateError: it is not one, or its key is of a kind or size that is not accepted.
    """
    try:
        asked = x509.load_pem_x509_csr(data)
        good, key = asked.is_signature_valid, asked.public_key()
    except (ValueError, UnsupportedAlgorithm):
        raise CertificateError(f"{path} is no signing request in PEM; `sonde ca request` makes one") from None
    if not good:
        raise CertificateError(f"{path}: its signature is wrong; make the request again on its host")
    strong = isinstance(key, rsa.RSAPublicKey) and key.key_size >= _LEAST_RSA_BITS
    if not (strong or isinstance(key, ec.EllipticCurvePublicKey | ed25519.Ed25519PublicKey)):
        raise CertificateError(
            f"{path}: its key is too weak or of an unknown kind; `sonde ca request` makes a good one"
        )
    names = asked.subject.get_attributes_for_oid(NameOID.COMMON_NAME)
    return key, str(names[0].value) if names else ""


def sign(authority: Authority, subject: Subject, key: CertificatePublicKeyTypes, days: float) -> x509.Certificate:
    """A certificate of `subject` for `key`, good for `days`, at most as long as the authority.

    Raises:
        CertificateError: the authority has expired.
    """
    begin = certificates.now()
    last = authority.certificate.not_valid_after_utc
    if last <= begin:
        raise CertificateError(f"the authority expired on {last:%Y-%m-%d}; `sonde ca renew --authority` first")
    attributes = _common_name(subject.name)
    if subject.tenant:
        attributes.append(x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, subject.tenant))
    names: list[x509.GeneralName] = [x509.UniformResourceIdentifier(certificates.uri(subject.kind, subject.name))]
    names += [_general_name(host) for host in subject.hosts]
    usage = x509.KeyUsage(
        digital_signature=True, content_commitment=False, key_encipherment=False, data_encipherment=False,
        key_agreement=False, key_cert_sign=False, crl_sign=False, encipher_only=False, decipher_only=False,
    )  # fmt: skip
    issuer = authority.certificate
    builder = (
        x509.CertificateBuilder(issuer.subject, x509.Name(attributes), key, x509.random_serial_number())
        .not_valid_before(max(begin - _BEFORE, issuer.not_valid_before_utc))
        .not_valid_after(min(begin + datetime.timedelta(days=days), last))
        .add_extension(x509.BasicConstraints(ca=False, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.ExtendedKeyUsage([_USAGE[subject.kind]]), critical=False)
        .add_extension(x509.SubjectAlternativeName(names), critical=False)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(key), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(authority.key.public_key()), critical=False)
    )
    return builder.sign(authority.key, SHA256())


def subject_of(certificate: x509.Certificate) -> Subject:
    """What `sign` was told when it made `certificate`.

    Raises:
        CertificateError: another authority made it.
    """
    who = certificates.identity(certificate)
    if not who.kind:
        raise CertificateError(f"certificate of {who.name} was not made by `sonde ca`; renew it where it was made")
    names = certificate.extensions.get_extension_for_class(x509.SubjectAlternativeName).value
    hosts = [*names.get_values_for_type(x509.DNSName), *map(str, names.get_values_for_type(x509.IPAddress))]
    return Subject(who.kind, who.name, tuple(hosts), who.tenant)


def _common_name(name: str) -> list[x509.NameAttribute[str]]:
    return [x509.NameAttribute(NameOID.COMMON_NAME, name)] if len(name) <= _LONGEST_COMMON_NAME else []


def _general_name(host: str) -> x509.GeneralName:
    try:
        return x509.IPAddress(ipaddress.ip_address(host))
    except ValueError:
        pass
    if not certificates.NAME.fullmatch(host.removeprefix("*.")):
        raise UsageError(f"{host!r} is neither a DNS name nor an address")
    return x509.DNSName(host)
