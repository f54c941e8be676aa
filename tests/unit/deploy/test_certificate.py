"""Whether a host gets a new certificate: the script that the playbook runs there, on certificates of every kind."""

from __future__ import annotations

import datetime
import json
import subprocess
import sys
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec

SCRIPT = Path(__file__).resolve().parents[3] / "deploy/ansible/roles/sonde_common/files/certificate.py"
NOW = datetime.datetime.now(datetime.timezone.utc)
PEM = serialization.Encoding.PEM


class Authority:
    """One that signs whatever is wanted, also what has ended."""

    def __init__(self) -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "Test CA")])
        self.pem = self.sign(self.key, 900, [], ca=True).public_bytes(PEM).decode()

    def sign(
        self, key: ec.EllipticCurvePrivateKey, days: float, names: list[x509.GeneralName], ca: bool = False
    ) -> x509.Certificate:
        built = (
            x509.CertificateBuilder().subject_name(self.name).issuer_name(self.name).public_key(key.public_key())
            .serial_number(7).not_valid_before(NOW - datetime.timedelta(days=400))
            .not_valid_after(NOW + datetime.timedelta(days=days))
            .add_extension(x509.BasicConstraints(ca=ca, path_length=None), critical=True)
        )  # fmt: skip
        if names:
            built = built.add_extension(x509.SubjectAlternativeName(names), critical=False)
        return built.sign(self.key, hashes.SHA256())


class Host:
    """Key and certificate on a host, as the playbook left them."""

    def __init__(self, folder: Path, kind: str = "agent", hosts: tuple[str, ...] = ()) -> None:
        self.key_file, self.file = folder / "agent.key", folder / "agent.crt"
        self.kind, self.hosts = kind, hosts
        self.key = ec.generate_private_key(ec.SECP256R1())
        plain = serialization.NoEncryption()
        self.key_file.write_bytes(self.key.private_bytes(PEM, serialization.PrivateFormat.PKCS8, plain))

    def put(self, authority: Authority, days: float, name: str = "web", names: tuple[str, ...] = ()) -> None:
        uri: list[x509.GeneralName] = [x509.UniformResourceIdentifier(f"sonde://{self.kind}/{name}")]
        made = authority.sign(self.key, days, [*uri, *map(x509.DNSName, names)])
        self.file.write_bytes(made.public_bytes(PEM))

    def state(self, authority: Authority, within_days: int = 30) -> str:
        argv = [str(self.key_file), str(self.file), self.kind, "web", json.dumps(self.hosts), str(within_days)]
        done = subprocess.run(
            [sys.executable, "-", *argv, authority.pem], input=SCRIPT.read_text(), capture_output=True, text=True,
            timeout=60, check=True,
        )  # fmt: skip
        return done.stdout.strip()


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


def test_what_is_good_stays(tmp_path: Path, authority: Authority) -> None:
    host = Host(tmp_path)
    assert host.state(authority) == "there is none yet"
    host.put(authority, 90)
    assert host.state(authority) == "good"


@pytest.mark.parametrize(("days", "says"), [(-1, "it expired on"), (20, "it expires on")])
def test_what_has_ended_or_ends_soon_is_renewed(days: int, says: str, tmp_path: Path, authority: Authority) -> None:
    host = Host(tmp_path)
    host.put(authority, days)
    assert host.state(authority).startswith(says)


def test_another_authority_name_or_key_is_seen(tmp_path: Path, authority: Authority) -> None:
    host = Host(tmp_path)
    host.put(authority, 90, name="db")
    assert host.state(authority) == "it is of another name"
    host.put(Authority(), 90)
    assert host.state(authority) == "another authority signed it"
    host.put(authority, 90)
    Host(tmp_path)
    assert host.state(authority) == "it is not the key's"


def test_an_aggregator_needs_every_name_that_it_is_called_by(tmp_path: Path, authority: Authority) -> None:
    host = Host(tmp_path, "aggregator", ("collector", "sonde.example.org"))
    host.put(authority, 90, names=("collector",))
    assert host.state(authority) == "it lacks a name that agents call the aggregator by"
    host.put(authority, 90, names=("collector", "sonde.example.org"))
    assert host.state(authority) == "good"
