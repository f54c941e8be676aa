"""The agent's Delivery and a real aggregator with mutual TLS: who gets in, who does not, what both say of it."""

from __future__ import annotations

import logging
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import grpc
import pytest
from cryptography import x509

from node_agent.config import AgentSettings
from node_agent.delivery.spool import Spool
from node_agent.delivery.stream import Delivery
from proto import sonde_pb2 as pb
from sonde.errors import UsageError
from tests.support import certificates
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder, seal
from tests.support.certificates import Authority

_PATIENCE_S = 60
REFUSED = 'sonde_batches_refused_total{code="wrong_certificate"}'
FAILED = "sonde_tls_handshakes_failed_total"


@pytest.fixture(scope="module")
def authority(tmp_path_factory: pytest.TempPathFactory) -> Authority:
    return Authority(tmp_path_factory.mktemp("security") / "ca")


@pytest.fixture(scope="module")
def aggregator(authority: Authority, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Aggregator]:
    own = certificates.copy(authority.aggregator(), authority.folder.path / "in-use")
    made = Aggregator(
        tmp_path_factory.mktemp("aggregator"), PEERS__WAIT_S="0.2", **certificates.environment(own, authority.ca)
    ).start()
    yield made
    assert made.stop() == 0


def wait_for(what: Callable[[], object], says: str = "") -> None:
    end = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < end, f"not in time {says}"
        time.sleep(0.05)


class Sender:
    """A real Delivery with a spool of its own."""

    def __init__(self, name: str, port: int, certificate: Path, authority: Path, **more: str) -> None:
        tls = certificates.settings(certificate, authority) | more
        self.settings = AgentSettings.model_validate(
            {"host_name": name, "aggregator": f"{certificates.ADDRESS}:{port}", "tls": tls}
        )
        self.spool = Spool(name, 1 << 20)
        self.delivery = Delivery(self.settings, self.spool)

    def seal(self) -> None:
        """One batch of one request."""
        builder = Builder(self.settings.name, ["10.9.0.1"])
        builder.request(builder.link("client", "nginx", "10.9.0.1", 40_000, "203.0.113.1", 80))
        self.spool.seal(builder.build())

    def __enter__(self) -> Sender:
        self.delivery.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.delivery.close(0)
        self.spool.close()


def requests(aggregator: Aggregator, host: str) -> int:
    return int(aggregator.query(f"SELECT count() FROM requests WHERE host = '{host}'")[0][0])


def test_a_good_certificate_delivers(authority: Authority, aggregator: Aggregator) -> None:
    with Sender("good", aggregator.grpc, authority.agent("good"), authority.ca) as sender:
        sender.seal()
        assert sender.spool.wait_empty(_PATIENCE_S)
    assert requests(aggregator, "good") == 1
    assert aggregator.metric("sonde_tls_certificate_expires_timestamp_seconds") > time.time()


@pytest.mark.parametrize("what", ["other_authority", "expired", "aggregators_own"])
def test_a_wrong_certificate_is_refused_and_the_batches_wait_for_a_good_one(
    authority: Authority, aggregator: Aggregator, tmp_path: Path, caplog: pytest.LogCaptureFixture, what: str
) -> None:
    name = f"wrong-{what.replace('_', '-')}"
    in_use = tmp_path / "agent"
    if what == "other_authority":
        wrong = Authority(tmp_path / "other").agent(name)
    elif what == "expired":
        wrong = authority.agent(name, days=-0.01)
    else:
        wrong = authority.aggregator(name=name)
    failed, said = aggregator.metric(FAILED), aggregator.log.read_text().count("brought no stream")
    with (
        caplog.at_level(logging.INFO),
        Sender(name, aggregator.grpc, certificates.copy(wrong, in_use), authority.ca) as sender,
    ):
        sender.seal()
        wait_for(lambda: aggregator.metric(FAILED) > failed)
        wait_for(lambda: any("batches are kept" in text for text in caplog.messages))
        assert any("may not accept this agent's certificate" in text for text in caplog.messages)
        assert what != "expired" or any("expired on" in text for text in caplog.messages)
        assert sender.spool.waiting == 1
        assert requests(aggregator, name) == 0
        certificates.copy(authority.renew(wrong) if what == "expired" else authority.agent(name), in_use)
        assert sender.spool.wait_empty(_PATIENCE_S)
    assert requests(aggregator, name) == 1
    assert said or "brought no stream" in aggregator.log.read_text()


def test_an_agent_with_another_hosts_certificate_keeps_its_batches(
    authority: Authority, aggregator: Aggregator, caplog: pytest.LogCaptureFixture
) -> None:
    with Sender("mine", aggregator.grpc, authority.agent("other-host"), authority.ca) as sender:
        sender.seal()
        wait_for(lambda: any("is for other-host, this agent is mine" in text for text in caplog.messages))
        assert sender.spool.waiting == 1


def test_hello_batch_and_rows_have_the_certificates_name(authority: Authority, aggregator: Aggregator) -> None:
    credentials = authority.credentials(authority.agent("named"))
    victim = Builder("victim", ["10.9.0.2"])
    victim.request(victim.link("client", "nginx", "10.9.0.2", 40_000, "203.0.113.1", 80))
    before = aggregator.metric(REFUSED)

    liar = Agent(aggregator.grpc, "victim", hello=False, credentials=credentials)
    hello = pb.Hello(wire_version=1, agent="victim", spool_id=bytes(16))
    liar.send_bytes(pb.AgentMessage(hello=hello).SerializeToString())
    refusal = liar.answer().refusal
    assert (refusal.code, refusal.retryable) == (pb.Refusal.WRONG_CERTIFICATE, True)
    with pytest.raises(StopIteration):  # nothing that follows is read
        liar.answer()
    liar.close()

    named = Agent(aggregator.grpc, "named", credentials=credentials)
    refusal = named.deliver(victim.seal(1)).refusal  # A's sealed batch under B's certificate
    assert (refusal.code, refusal.retryable) == (pb.Refusal.WRONG_CERTIFICATE, False)
    refusal = named.deliver(seal(victim.build(), "named", 2)).refusal  # B's batch with A's rows
    assert (refusal.code, refusal.retryable) == (pb.Refusal.WRONG_CERTIFICATE, False)
    assert named.deliver(Builder("named").seal(3)).ack.sequence == 3
    named.close()
    assert aggregator.metric(REFUSED) == before + 3
    assert requests(aggregator, "victim") == 0
    assert aggregator.query("SELECT count() FROM hosts WHERE host = 'victim'") == [["0"]]


def test_plain_text_and_no_certificate_get_nothing(authority: Authority, aggregator: Aggregator) -> None:
    failed = aggregator.metric(FAILED)
    for credentials in (None, grpc.ssl_channel_credentials(authority.ca.read_bytes())):
        agent = Agent(aggregator.grpc, "anonymous", hello=False, credentials=credentials)
        with pytest.raises(grpc.RpcError):
            agent.deliver(Builder("anonymous").seal(1))
        agent.close()
    wait_for(lambda: aggregator.metric(FAILED) >= failed + 2)
    assert aggregator.query("SELECT count() FROM hosts WHERE host = 'anonymous'") == [["0"]]


def test_an_aggregator_of_another_name_or_authority_gets_nothing(
    authority: Authority, aggregator: Aggregator, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    other = Authority(tmp_path / "other")
    with Sender("careful", aggregator.grpc, authority.agent("careful"), other.ca) as sender:
        sender.seal()
        wait_for(lambda: any("does not vouch for the aggregator" in text for text in caplog.messages))
    with Sender(
        "careful-2", aggregator.grpc, authority.agent("careful-2"), authority.ca, server_name="elsewhere.test"
    ) as sender:
        sender.seal()
        wait_for(lambda: any("has other names" in text for text in caplog.messages))
        assert sender.spool.waiting == 1
    assert requests(aggregator, "careful") + requests(aggregator, "careful-2") == 0


def issuer(aggregator: Aggregator, certificate: Path) -> str:
    """Whose certificate the aggregator shows."""
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    context.load_cert_chain(certificate, certificate.with_suffix(".key"))
    with (
        socket.create_connection((certificates.ADDRESS, aggregator.grpc), timeout=10) as plain,
        context.wrap_socket(plain) as wrapped,
    ):
        der = wrapped.getpeercert(binary_form=True)
    assert der is not None
    return x509.load_der_x509_certificate(der).issuer.rfc4514_string()


def test_both_ends_take_new_certificates_without_a_restart(
    authority: Authority, aggregator: Aggregator, tmp_path: Path
) -> None:
    new = Authority(tmp_path / "new")
    both = tmp_path / "both.crt"
    both.write_bytes(authority.ca.read_bytes() + new.ca.read_bytes())
    server, mine = authority.folder.path / "in-use", tmp_path / "agent"
    issued = authority.agent("rotating")
    certificates.copy(issued, mine)
    with Sender("rotating", aggregator.grpc, mine.with_suffix(".crt"), both) as sender:

        def exchange_the_agents() -> None:
            wait_for(lambda: sender.delivery.connected)
            reconnects = sender.delivery.reconnects
            certificates.copy(authority.renew(issued), mine)
            wait_for(lambda: sender.delivery.reconnects > reconnects and sender.delivery.connected)
            sender.seal()
            assert sender.spool.wait_empty(_PATIENCE_S)

        exchange_the_agents()
        # A half-written pair at the aggregator changes nothing.
        server.with_suffix(".key").write_bytes(b"half")
        wait_for(lambda: issuer(aggregator, issued) and "what is in force stays" in aggregator.log.read_text())
        exchange_the_agents()
        certificates.copy(new.aggregator(), server)
        wait_for(lambda: issuer(aggregator, issued) == "CN=new")
        exchange_the_agents()
    assert requests(aggregator, "rotating") == 3
    # The other agents know the first authority only.
    certificates.copy(authority.aggregator(name="again"), server)
    wait_for(lambda: issuer(aggregator, issued) == "CN=ca")


def test_a_certificate_that_expires_during_a_stream_ends_it(authority: Authority, aggregator: Aggregator) -> None:
    # 3 s from now: certificates have whole seconds.
    agent = Agent(
        aggregator.grpc, "short", credentials=authority.credentials(authority.agent("short", days=4 / 86_400))
    )
    assert agent.deliver(Builder("short").seal(1)).ack.sequence == 1
    end, sequence = time.monotonic() + _PATIENCE_S, 1
    while True:
        assert time.monotonic() < end
        sequence += 1
        answer = agent.deliver(Builder("short").seal(sequence))
        if answer.WhichOneof("message") == "refusal":
            break
        time.sleep(0.2)
    assert (answer.refusal.code, answer.refusal.retryable) == (pb.Refusal.WRONG_CERTIFICATE, True)
    agent.close()


def test_no_agent_sends_plain_text_to_another_host_without_insecure() -> None:
    spool = Spool("x", 1 << 20)
    for address in ("192.0.2.1:7443", "sonde.example.org:7443", "127.0.0.1:7443,[2001:db8::1]:7443"):
        settings = {"host_name": "x", "aggregator": address}
        with pytest.raises(UsageError, match="--insecure"):
            Delivery(AgentSettings.model_validate(settings), spool)
        Delivery(AgentSettings.model_validate(settings | {"insecure": True}), spool)
    for address in ("127.0.0.1:7443", "localhost:7443", "[::1]:7443", "127.3.2.1:7443"):
        Delivery(AgentSettings.model_validate({"host_name": "x", "aggregator": address}), spool)
    spool.close()
