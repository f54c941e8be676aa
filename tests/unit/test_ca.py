"""`sonde ca`: what its certificates are good for, what it refuses, and what its files look like at every moment."""

from __future__ import annotations

import datetime
import os
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from click.testing import CliRunner
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID
from cryptography.x509.verification import PolicyBuilder, Store, VerificationError

from sonde import ca, ca_commands, ca_folder, certificates
from sonde.ca_folder import Folder
from sonde.errors import CertificateError, SondeError, UsageError


@pytest.fixture
def folder(tmp_path: Path) -> Folder:
    made = Folder(tmp_path / "ca")
    made.create("Test CA", 3650)
    return made


def run(*arguments: object, fails: bool = False) -> str:
    result = CliRunner().invoke(ca_commands.ca, [*map(str, arguments)])
    if fails:
        assert isinstance(result.exception, SondeError), result.output
        assert "\n" not in str(result.exception)
        return str(result.exception)
    assert result.exit_code == 0, result.output + repr(result.exception)
    return result.output


def load(path: Path) -> x509.Certificate:
    return x509.load_pem_x509_certificate(path.read_bytes())


def mode(path: Path) -> int:
    return path.stat().st_mode & 0o777


def is_good_server(folder: Folder, certificate: x509.Certificate, name: str) -> bool:
    verifier = PolicyBuilder().store(Store([load(folder.certificate)])).build_server_verifier(x509.DNSName(name))
    try:
        verifier.verify(certificate, [])
    except VerificationError:
        return False
    return True


def is_good_client(folder: Folder, certificate: x509.Certificate) -> bool:
    try:
        PolicyBuilder().store(Store([load(folder.certificate)])).build_client_verifier().verify(certificate, [])
    except VerificationError:
        return False
    return True


def test_an_agents_certificate_is_a_client_and_an_aggregators_a_server_and_not_the_other_way(folder: Folder) -> None:
    run("issue", "web1", "--dir", folder.path, "--tenant", "shop")
    run("issue", "main", "--dir", folder.path, "--kind", "aggregator", "--host", "sonde.test", "--host", "10.0.0.1")
    agent, aggregator = load(folder.issued / "agent-web1.crt"), load(folder.issued / "aggregator-main.crt")
    assert is_good_client(folder, agent)
    assert not is_good_client(folder, aggregator)
    assert is_good_server(folder, aggregator, "sonde.test")
    assert not is_good_server(folder, aggregator, "other.test")
    assert not is_good_server(folder, agent, "web1")
    assert certificates.identity(agent) == certificates.Identity("agent", "web1", "shop")
    assert certificates.identity(aggregator) == certificates.Identity("aggregator", "main", "")
    assert ca.subject_of(aggregator).hosts == ("sonde.test", "10.0.0.1")


def test_what_another_authority_signed_is_no_client_here(folder: Folder, tmp_path: Path) -> None:
    other = Folder(tmp_path / "other")
    other.create("Test CA", 10)
    path = other.issue(ca.Subject("agent", "web1"), 10)
    assert is_good_client(other, load(path))
    assert not is_good_client(folder, load(path))


def test_a_certificate_cannot_sign_another(folder: Folder) -> None:
    path = folder.issue(ca.Subject("agent", "web1"), 10)
    key = ca.load_key(path.with_suffix(".key").read_bytes(), path)
    forged = ca.sign(ca.Authority(load(path), key), ca.Subject("agent", "db"), ca.new_key().public_key(), 5)
    verifier = PolicyBuilder().store(Store([load(folder.certificate)])).build_client_verifier()
    with pytest.raises(VerificationError):
        verifier.verify(forged, [load(path)])


def test_secrets_are_the_owners_alone_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        run("init", "--dir", tmp_path / "ca")
        run("issue", "web1", "--dir", tmp_path / "ca")
        run("request", "web2", "--key", tmp_path / "k", "--out", tmp_path / "r")
    finally:
        os.umask(before)
    folder = tmp_path / "ca"
    assert (mode(folder), mode(folder / "ca.key"), mode(folder / "issued/agent-web1.key")) == (0o700, 0o600, 0o600)
    assert (mode(tmp_path / "k"), mode(folder / "ca.crt"), mode(folder / "issued/agent-web1.crt")) == (
        0o600, 0o644, 0o644,
    )  # fmt: skip
    leftovers = [path.name for path in tmp_path.rglob(".*")]
    assert leftovers == []


def test_nothing_that_exists_is_overwritten(folder: Folder, tmp_path: Path) -> None:
    run("issue", "web1", "--dir", folder.path)
    before = {path: path.read_bytes() for path in folder.path.rglob("*.*") if path.is_file()}
    assert "exists" in run("init", "--dir", folder.path, fails=True)
    assert "renew" in run("issue", "web1", "--dir", folder.path, fails=True)
    assert {path: path.read_bytes() for path in before} == before
    key = tmp_path / "key"
    run("request", "web2", "--key", key, "--out", tmp_path / "csr")
    first = key.read_bytes()
    run("request", "web2", "--key", key, "--out", tmp_path / "csr")
    assert key.read_bytes() == first


def test_signing_takes_the_key_and_nothing_else_from_the_request(folder: Folder, tmp_path: Path) -> None:
    run("request", "web1", "--key", tmp_path / "web1.key", "--out", tmp_path / "web1.csr")
    run("sign", tmp_path / "web1.csr", "--name", "web1", "--dir", folder.path, "--out", tmp_path / "web1.crt")
    made = load(tmp_path / "web1.crt")
    assert certificates.key_belongs((tmp_path / "web1.key").read_bytes(), made, tmp_path)
    assert is_good_client(folder, made)
    assert not list(folder.issued.glob("*.key"))
    # A greedy host: another name's URI, another host, a tenant, a CA of its own.
    key = ca.new_key()
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "web1"),
                      x509.NameAttribute(NameOID.ORGANIZATIONAL_UNIT_NAME, "bank")])  # fmt: skip
    greedy = (
        x509.CertificateSigningRequestBuilder(name)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .add_extension(x509.SubjectAlternativeName([x509.UniformResourceIdentifier("sonde://agent/db")]), False)
        .sign(key, SHA256())
    )
    path = folder.sign(ca.Subject("agent", "web1"), greedy.public_bytes(Encoding.PEM), "csr", 10)
    assert ca.subject_of(load(path)) == ca.Subject("agent", "web1")
    assert not load(path).extensions.get_extension_for_class(x509.BasicConstraints).value.ca


def test_bad_requests_are_refused(folder: Folder, tmp_path: Path) -> None:
    request = tmp_path / "csr"
    run("request", "web1", "--key", tmp_path / "key", "--out", request)
    assert "web1" in run("sign", request, "--name", "db", "--dir", folder.path, fails=True)
    der = bytearray(x509.load_pem_x509_csr(request.read_bytes()).public_bytes(Encoding.DER))
    der[-1] ^= 1
    try:
        bad = x509.load_der_x509_csr(bytes(der)).public_bytes(Encoding.PEM)
    except ValueError:
        bad = b"-----BEGIN CERTIFICATE REQUEST-----\nAAAA\n-----END CERTIFICATE REQUEST-----\n"
    with pytest.raises(CertificateError):
        folder.sign(ca.Subject("agent", "web1"), bad, "csr", 10)
    weak = rsa.generate_private_key(65537, 1024)
    small = x509.CertificateSigningRequestBuilder(x509.Name([])).sign(weak, SHA256()).public_bytes(Encoding.PEM)
    with pytest.raises(CertificateError, match="weak"):
        folder.sign(ca.Subject("agent", "web1"), small, "csr", 10)
    with pytest.raises(CertificateError, match="no signing request"):
        folder.sign(ca.Subject("agent", "web1"), b"nonsense", "csr", 10)
    assert not list(folder.issued.iterdir())


def test_renewal_takes_what_expires_soon_and_keeps_names_and_key(folder: Folder) -> None:
    run("issue", "soon", "--dir", folder.path, "--days", 20, "--tenant", "shop")
    run("issue", "late", "--dir", folder.path, "--days", 200)
    run("issue", "main", "--dir", folder.path, "--kind", "aggregator", "--host", "::1", "--days", 5)
    old = {path.name: load(path) for path in folder.issued.glob("*.crt")}
    output = run("renew", "--dir", folder.path)
    assert [line.split(":")[0].rpartition("/")[2] for line in output.splitlines()] == [
        "agent-soon.crt", "aggregator-main.crt",
    ]  # fmt: skip
    for name, was in old.items():
        now = load(folder.issued / name)
        assert (now == was) == (name == "agent-late.crt")
        assert now.public_key() == was.public_key()
        assert ca.subject_of(now) == ca.subject_of(was)
    assert load(folder.issued / "agent-soon.crt").serial_number != old["agent-soon.crt"].serial_number
    assert not ca_folder.expires_within(load(folder.issued / "agent-soon.crt"), 300)
    assert run("renew", "--dir", folder.path) == ""


def test_renewal_with_a_new_key_keeps_mode_and_pair(folder: Folder, tmp_path: Path) -> None:
    run("issue", "web1", "--dir", folder.path, "--days", 3)
    path = folder.issued / "agent-web1.crt"
    key = path.with_suffix(".key")
    before = key.read_bytes()
    key.chmod(0o640)
    run("renew", "web1", "--dir", folder.path, "--new-key")
    assert key.read_bytes() != before
    assert mode(key) == 0o640
    assert certificates.key_belongs(key.read_bytes(), load(path), key)
    run("request", "far", "--key", tmp_path / "k", "--out", tmp_path / "r")
    run("sign", tmp_path / "r", "--name", "far", "--dir", folder.path, "--days", 3)
    assert "on its host" in run("renew", "far", "--dir", folder.path, "--new-key", fails=True)
    assert "has no certificate" in run("renew", "nobody", "--dir", folder.path, fails=True)


def test_none_outlives_its_authority_and_a_renewed_authority_knows_the_old_ones(tmp_path: Path) -> None:
    folder = Folder(tmp_path / "ca")
    folder.create("Short", 10)
    path = folder.issue(ca.Subject("agent", "web1"), 365)
    first = load(folder.certificate)
    assert load(path).not_valid_after_utc == first.not_valid_after_utc
    assert "hand it out again" in run("renew", "--authority", "--dir", folder.path, "--days", 100)
    assert load(folder.certificate).not_valid_after_utc > first.not_valid_after_utc
    assert is_good_client(folder, load(path))
    assert mode(folder.key) == 0o600


def test_an_expired_authority_signs_nothing() -> None:
    authority = ca.self_signed("Old", -0.01)
    with pytest.raises(CertificateError, match="expired"):
        ca.sign(authority, ca.Subject("agent", "web1"), ca.new_key().public_key(), 10)


def test_serials_are_random_and_clocks_may_differ(folder: Folder) -> None:
    made = [load(folder.issue(ca.Subject("agent", f"h{number}"), 10)) for number in range(5)]
    assert len({one.serial_number.bit_length() > 64 and one.serial_number for one in made} - {False}) == 5
    hour = datetime.timedelta(hours=1)
    own = load(folder.certificate)
    assert own.not_valid_before_utc <= certificates.now() - hour + datetime.timedelta(minutes=5)
    assert all(one.not_valid_before_utc >= own.not_valid_before_utc for one in made)


@pytest.mark.parametrize("name", ["", "a/b", "../x", ".hidden", "a b", "é", "a" * 201, "a\n"])
def test_names_that_are_no_names(name: str) -> None:
    with pytest.raises(UsageError):
        ca.Subject("agent", name)


def test_names_longer_than_a_common_name_are_names(folder: Folder) -> None:
    name = "h" * 150
    made = load(folder.issue(ca.Subject("agent", name), 10))
    assert certificates.identity(made).name == name


def test_a_certificate_of_another_authority_is_named_by_its_common_name() -> None:
    def made(*names: tuple[x509.ObjectIdentifier, str]) -> x509.Certificate:
        key, begin = ca.new_key(), certificates.now()
        subject = x509.Name([x509.NameAttribute(oid, text) for oid, text in names])
        return (
            x509.CertificateBuilder(subject, subject, key.public_key(), 1)
            .not_valid_before(begin)
            .not_valid_after(begin)
            .sign(key, SHA256())
        )

    unit = NameOID.ORGANIZATIONAL_UNIT_NAME
    assert certificates.identity(made((NameOID.COMMON_NAME, "web"), (unit, "shop"))) == certificates.Identity(
        "", "web", "shop"
    )
    for names in ([], [(NameOID.COMMON_NAME, "a"), (NameOID.COMMON_NAME, "b")],
                  [(NameOID.COMMON_NAME, "a"), (unit, "x"), (unit, "y")]):  # fmt: skip
        with pytest.raises(CertificateError):
            certificates.identity(made(*names))


def test_an_authority_open_to_everyone_or_with_a_wrong_key_is_not_used(folder: Folder) -> None:
    folder.key.chmod(0o644)
    assert "chmod" in run("issue", "web1", "--dir", folder.path, fails=True)
    folder.key.chmod(0o600)
    folder.key.write_bytes(ca.key_pem(ca.new_key()))
    assert "not the key" in run("issue", "web1", "--dir", folder.path, fails=True)


def test_exit_codes(tmp_path: Path) -> None:
    def code(*arguments: str) -> tuple[int, int]:
        done = subprocess.run(
            [sys.executable, "-m", "sonde", "ca", *arguments], capture_output=True, text=True, check=False
        )
        return done.returncode, done.stderr.count("\n")

    where = str(tmp_path / "ca")
    assert code("init", "--dir", where) == (0, 0)
    assert code("init", "--dir", where) == (1, 1)
    assert code("issue", "a/b", "--dir", where) == (2, 1)
    assert code("issue", "main", "--kind", "aggregator", "--dir", where) == (2, 1)
    assert code("issue", "x", "--kind", "agent", "--dir", str(tmp_path / "none")) == (1, 1)
    assert code("issue", "--wrong")[0] == 2


def test_of_many_that_issue_the_same_name_at_once_one_succeeds_and_its_pair_fits(folder: Folder) -> None:
    with ThreadPoolExecutor(8) as pool:
        tries = [pool.submit(folder.issue, ca.Subject("agent", "web1"), 10) for _ in range(8)]
    assert sum(one.exception() is None for one in tries) == 1
    path = folder.issued / "agent-web1.crt"
    assert certificates.key_belongs(path.with_suffix(".key").read_bytes(), load(path), path)
