"""The folder of a certificate authority, and files of keys that are whole or not there.

    DIR/ca.crt            what every agent and aggregator trusts
    DIR/ca.key            mode 0600; whoever reads it can be any agent
    DIR/issued/NAME.crt   each certificate that is in force, by kind and name: agent-web1.crt, aggregator-main.crt
    DIR/issued/NAME.key   mode 0600, only where the key was made here (`issue`, not `sign`)

Holds: a file appears under its name when all of it is on the disk; keys have their mode before they have a byte; what
exists is never overwritten but by `renew`, which replaces the key before its certificate, so that a reader who finds
both unequal (between the two) keeps what it had and looks again.
"""

from __future__ import annotations

import contextlib
import datetime
import os
import secrets
from collections.abc import Iterator
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from sonde import ca, certificates
from sonde.errors import CertificateError

KEY_MODE, CERTIFICATE_MODE, _FOLDER_MODE = 0o600, 0o644, 0o700


def write(path: Path, data: bytes, mode: int, replace: bool = False) -> None:
    """Write a whole file with `mode`, durably.

    Raises:
        CertificateError: it exists (unless `replace`), or cannot be written.
    """
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(4)}")
    try:
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, mode)
        try:
            with os.fdopen(descriptor, "wb") as file:
                os.fchmod(file.fileno(), mode)
                file.write(data)
                file.flush()
                os.fsync(file.fileno())
            if replace:
                with contextlib.suppress(FileNotFoundError):
                    was = path.stat()
                    # Who may read it stays: the owner and group that an operator gave it.
                    os.chown(temporary, was.st_uid, was.st_gid)
                    os.chmod(temporary, was.st_mode & 0o777)
                os.replace(temporary, path)
            else:
                os.link(temporary, path)
        finally:
            with contextlib.suppress(FileNotFoundError):
                os.unlink(temporary)
        folder = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)
    except FileExistsError:
        raise CertificateError(f"{path} exists; move it away first, or renew it with `sonde ca renew`") from None
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}; check the folder and its owner") from None


def make_folder(path: Path) -> None:
    """The folder, mode 0700 if it is new.

    Raises:
        CertificateError: it cannot be made.
    """
    try:
        path.mkdir(parents=True, exist_ok=True, mode=_FOLDER_MODE)
    except OSError as error:
        raise CertificateError(f"{path}: {error.strerror}; check the folder and its owner") from None


def pem(certificate: x509.Certificate) -> bytes:
    """The certificate as text."""
    return certificate.public_bytes(Encoding.PEM)


class Folder:
    """An authority on the disk."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.certificate = path / "ca.crt"
        self.key = path / "ca.key"
        self.issued = path / "issued"

    def create(self, name: str, days: float) -> None:
        """A new authority.

        Raises:
            CertificateError: there is one, or it cannot be written.
        """
        if self.certificate.exists():
            raise CertificateError(f"{self.certificate} exists; give another --dir")
        make_folder(self.path)
        make_folder(self.issued)
        made = ca.self_signed(name, days)
        write(self.key, ca.key_pem(made.key), KEY_MODE)
        write(self.certificate, pem(made.certificate), CERTIFICATE_MODE)

    def authority(self) -> ca.Authority:
        """The authority.

        Raises:
            CertificateError: there is none, or its files do not belong together.
        """
        if not self.certificate.exists():
            raise CertificateError(f"{self.path} holds no authority; make one with `sonde ca init --dir {self.path}`")
        if certificates.is_open_to_others(self.key):
            raise CertificateError(f"{self.key} is open to every user of this machine: chmod 0600 it")
        certificate = certificates.load_certificates(certificates.read(self.certificate), self.certificate)[0]
        data = certificates.read(self.key)
        if not certificates.key_belongs(data, certificate, self.key):
            raise CertificateError(f"{self.key} is not the key of {self.certificate}; restore both from one backup")
        return ca.Authority(certificate, ca.load_key(data, self.key))

    def renew_authority(self, days: float) -> x509.Certificate:
        """The same key and name for `days` more: all certificates stay good; hand out ca.crt again.

        Raises:
            CertificateError: there is none, or it cannot be written.
        """
        old = self.authority()
        name = str(old.certificate.subject.get_attributes_for_oid(x509.NameOID.COMMON_NAME)[0].value)
        made = ca.self_signed(name, days, old.key)
        write(self.certificate, pem(made.certificate), CERTIFICATE_MODE, replace=True)
        return made.certificate

    def place(self, subject: ca.Subject) -> Path:
        """Where the certificate of `subject` is kept; its key beside it as .key."""
        return self.issued / f"{subject.kind}-{subject.name}.crt"

    def issue(self, subject: ca.Subject, days: float) -> Path:
        """Key and certificate; the certificate's path.

        Raises:
            CertificateError: there is one, or it cannot be written.
        """
        authority, path = self.authority(), self.place(subject)
        if path.exists():
            raise CertificateError(f"{path} exists; `sonde ca renew {subject.name}` renews it")
        make_folder(self.issued)
        key = ca.new_key()
        made = ca.sign(authority, subject, key.public_key(), days)
        write(path.with_suffix(".key"), ca.key_pem(key), KEY_MODE)  # of two at once, the second ends here
        write(path, pem(made), CERTIFICATE_MODE)
        return path

    def sign(self, subject: ca.Subject, request: bytes, source: object, days: float) -> Path:
        """A certificate for the key of a signing request; replaces the one of the same name. Its path.

        Raises:
            CertificateError: the request is not good, or says another name.
        """
        authority, path = self.authority(), self.place(subject)
        key, common = ca.requested_key(request, source)
        if common and common != subject.name:
            raise CertificateError(f"{source} asks for {common}, not {subject.name}; sign it with --name {common}")
        make_folder(self.issued)
        write(path, pem(ca.sign(authority, subject, key, days)), CERTIFICATE_MODE, replace=True)
        # A key made here for this name is not the certificate's any more.
        path.with_suffix(".key").unlink(missing_ok=True)
        return path

    def all(self) -> Iterator[tuple[Path, x509.Certificate]]:
        """Every certificate in force, by file name."""
        for path in sorted(self.issued.glob("*.crt")):
            yield path, certificates.load_certificates(certificates.read(path), path)[0]

    def renew(self, path: Path, days: float, new_key: bool) -> x509.Certificate:
        """A new certificate in place of the one at `path`, with the same names.

        Raises:
            CertificateError: it cannot be read or written, or its key is elsewhere and a new one was asked for.
        """
        authority = self.authority()
        old = certificates.load_certificates(certificates.read(path), path)[0]
        key_path, public = path.with_suffix(".key"), old.public_key()
        if new_key:
            if not key_path.exists():
                raise CertificateError(f"the key of {path.name} is on its host: `sonde ca request` there, then sign it")
            key = ca.new_key()
            public = key.public_key()
        made = ca.sign(authority, ca.subject_of(old), public, days)
        if new_key:
            write(key_path, ca.key_pem(key), KEY_MODE, replace=True)
        write(path, pem(made), CERTIFICATE_MODE, replace=True)
        return made


def expires_within(certificate: x509.Certificate, days: float) -> bool:
    """Whether it has expired, or will within `days`."""
    return certificate.not_valid_after_utc <= certificates.now() + datetime.timedelta(days=days)
