"""An authority and what it issued, for tests: the files that settings name, and gRPC's credentials of them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import grpc

from sonde import ca
from sonde.ca_folder import Folder

ADDRESS = "127.0.0.1"


class Authority:
    """One authority in `folder`."""

    def __init__(self, folder: Path) -> None:
        self.folder = Folder(folder)
        self.folder.create(folder.name, 100)
        self.ca = self.folder.certificate

    def agent(self, name: str, tenant: str = "", days: float = 10) -> Path:
        """Certificate of an agent; its key is beside it."""
        return self.folder.issue(ca.Subject("agent", name, (), tenant), days)

    def aggregator(self, *hosts: str, name: str = "main", days: float = 10) -> Path:
        """Certificate of an aggregator on this machine."""
        return self.folder.issue(ca.Subject("aggregator", name, hosts or (ADDRESS,)), days)

    def renew(self, certificate: Path) -> Path:
        """The same with a new key."""
        self.folder.renew(certificate, 10, new_key=True)
        return certificate

    def credentials(self, certificate: Path) -> Any:
        """What an agent with `certificate` connects with."""
        return grpc.ssl_channel_credentials(
            self.ca.read_bytes(), certificate.with_suffix(".key").read_bytes(), certificate.read_bytes()
        )


def environment(certificate: Path, authority: Path) -> dict[str, str]:
    """Environment of an aggregator with TLS, without the prefix."""
    return {
        "GRPC__TLS__CERTIFICATE": str(certificate),
        "GRPC__TLS__KEY": str(certificate.with_suffix(".key")),
        "GRPC__TLS__CA": str(authority),
        "GRPC__TLS__HANDSHAKE_SECONDS": "1",
    }


def settings(certificate: Path, authority: Path) -> dict[str, str]:
    """The setting `tls` of an agent."""
    return {"certificate": str(certificate), "key": str(certificate.with_suffix(".key")), "ca": str(authority)}


def copy(certificate: Path, to: Path) -> Path:
    """Put certificate and key where a program reads them, each at once, the key first, as a roll-out does."""
    for suffix in (".key", ".crt"):
        new = to.with_suffix(suffix + ".new")
        new.write_bytes(certificate.with_suffix(suffix).read_bytes())
        new.chmod(0o600)
        os.replace(new, to.with_suffix(suffix))
    return to.with_suffix(".crt")
