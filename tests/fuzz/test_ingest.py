"""Whatever an agent sends to the gRPC port: never a crash, never a row, always a counter, and the next batch is stored.

One real aggregator with mutual TLS for the whole module. "Never a row" is exact: the rows in the store are those of the
acknowledged batches, as this test reads them from the very bytes it sent, and nothing else.
"""

from __future__ import annotations

import contextlib
import itertools
import random
import socket
import ssl
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import grpc
import numpy as np
import pytest
import zstandard
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from proto import sonde_pb2 as pb
from sonde import WIRE_VERSION, batches, columns
from tests.support import certificates
from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder, seal, seal_bytes
from tests.support.certificates import Authority
from tests.unit.aggregator.test_scan import BOMBS

LIGHT = settings(max_examples=120, deadline=None, suppress_health_check=list(HealthCheck))
_PATIENCE_S = 60
_MOST_RESIDENT_BYTES = 3 << 29  # 1.5 GiB; chDB itself takes a third of it
ROWS = 3

_sequence = itertools.count(1)


class Target:
    """The aggregator, and what it should hold and count."""

    def __init__(self, aggregator: Aggregator, authority: Authority) -> None:
        self.aggregator, self.authority = aggregator, authority
        self.credentials: dict[str, Any] = {}
        self.stored: dict[tuple[str, bytes, int], int] = {}
        self.refusals = 0

    def agent(self, name: str) -> Agent:
        """A stream of `name`, welcomed."""
        if name not in self.credentials:
            self.credentials[name] = self.authority.credentials(self.authority.agent(name))
        return Agent(self.aggregator.grpc, name, credentials=self.credentials[name], timeout_s=_PATIENCE_S)

    def send(self, agent: Agent, frame: bytes) -> str:
        """One message and what became of it: 'ack', 'welcome', the code of a refusal, or 'ended'."""
        agent.send_bytes(frame)
        try:
            answer = agent.answer()
        except StopIteration:
            return "ended"
        except grpc.RpcError as error:
            if error.code() == grpc.StatusCode.DEADLINE_EXCEEDED:  # type: ignore[attr-defined]
                raise AssertionError("a message without an answer") from None
            return "ended"
        kind = answer.WhichOneof("message")
        if kind == "refusal":
            assert answer.refusal.message
            assert answer.refusal.code != pb.Refusal.OVERLOADED, answer.refusal.message  # a fault behind the checks
            self.refusals += 1
            return pb.Refusal.Code.Name(answer.refusal.code)
        if kind == "ack":
            self._expect(agent.name, frame)
        return str(kind)

    def _expect(self, name: str, frame: bytes) -> None:
        # By other means than the aggregator's: what was acknowledged has to be sound, or this raises.
        batch = pb.AgentMessage.FromString(frame).batch
        content = pb.Batch.FromString(zstandard.ZstdDecompressor().stream_reader(batch.content).read(-1))
        assert (batch.agent, content.host.name, batch.wire_version) == (name, name, WIRE_VERSION)
        self.stored[name, batch.spool_id, batch.sequence] = content.requests.rows

    def check(self) -> None:
        """It lives, holds what was acknowledged, and counted every refusal."""
        assert self.aggregator.process is not None
        assert self.aggregator.process.poll() is None, self.aggregator.log.read_text()[-2000:]
        rows: dict[str, int] = {}
        for (name, _, _), count in self.stored.items():
            rows[name] = rows.get(name, 0) + count
        found = {name: int(count) for name, count in
                 self.aggregator.query("SELECT host, count() FROM requests GROUP BY host")}  # fmt: skip
        assert found == {name: count for name, count in rows.items() if count}
        assert self.counted("sonde_batches_refused_total") == self.refusals
        assert self.aggregator.metric("sonde_insert_failures_total") == 0
        log = self.aggregator.log.read_text()
        assert "Traceback" not in log, log[log.index("Traceback") :][:3000]

    def counted(self, name: str) -> float:
        """Sum of a counter over its labels."""
        lines = self.aggregator.get("/metrics")[1].splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(f"{name}{{"))

    def good_batch_passes(self, name: str) -> None:
        """A new stream, a good batch, its acknowledgement."""
        agent = self.agent(name)
        assert self.send(agent, framed(good(name))) == "ack"
        agent.close()


@pytest.fixture(scope="module")
def target(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Target]:
    authority = Authority(tmp_path_factory.mktemp("fuzz") / "ca")
    made = Aggregator(
        tmp_path_factory.mktemp("aggregator"),
        PEERS__WAIT_S="0",
        STORAGE__BLOCK_DELAY_S="0",
        LIMITS__AGENT_BYTES_PER_S=str(1 << 40),
        LIMITS__AGENT_BURST_BYTES=str(1 << 40),
        GRPC__STREAMS_PER_AGENT="1000",
        **certificates.environment(authority.aggregator(), authority.ca),
    ).start()
    try:
        yield Target(made, authority)
    finally:
        assert made.stop() == 0


def content(host: str) -> pb.Batch:
    """A batch with something in every section."""
    builder = Builder(host, ["10.9.0.1"])
    link = builder.link("client", "nginx", "10.9.0.1", 40_000, "203.0.113.1", 80)
    for number in range(ROWS):
        builder.request(link, resource=f"/{number}", statement="SELECT ?")
    builder.connection(link)
    builder.endpoint("10.9.0.1", 80, "nginx")
    builder.statement(7, "SELECT ?")
    builder.in_flight(link)
    builder.agent_stats("requests", {"lost_in_kernel/redis": 1})
    return builder.build()


def good(host: str) -> pb.SealedBatch:
    return seal(content(host), host, next(_sequence))


def framed(sealed: pb.SealedBatch) -> bytes:
    return pb.AgentMessage(batch=sealed).SerializeToString()


def run(target: Target, name: str, frames: list[bytes]) -> list[str]:
    """Send each, on a new stream where the one before ended."""
    agent, became = target.agent(name), []
    for frame in frames:
        became.append(target.send(agent, frame))
        if became[-1] == "ended":
            agent.close()
            agent = target.agent(name)
    agent.close()
    return became


#: (where of 65536, what, byte or bit, bytes): the same draws whatever they are applied to.
EDITS = st.lists(
    st.tuples(
        st.integers(0, 65_535),
        st.sampled_from(["flip", "set", "cut", "insert", "repeat", "truncate"]),
        st.sampled_from([0, 1, 2, 7, 40, 0x7F, 0x80, 0xFF]),
        st.binary(min_size=1, max_size=20),
    ),
    min_size=1,
    max_size=4,
)


def damage(data: bytes, edits: list[tuple[int, str, int, bytes]]) -> bytes:
    """`data` with a few bytes changed, cut out, put in, repeated, or cut off."""
    out = bytearray(data)
    for where, kind, value, extra in edits:
        at = where * len(out) >> 16
        if kind == "flip" and out:
            out[at] ^= 1 << value % 8
        elif kind == "set" and out:
            out[at] = value
        elif kind == "cut":
            del out[at : at + value]
        elif kind == "insert":
            out[at:at] = extra
        elif kind == "repeat":
            out[at:at] = out[at : at + value]
        else:
            del out[at:]
    return bytes(out)


def test_any_bytes_and_any_damage_to_a_good_message(target: Target) -> None:
    @LIGHT
    @given(st.lists(st.binary(max_size=400) | EDITS, min_size=1, max_size=4))
    def check(some: list[Any]) -> None:
        run(target, "mutant", [one if isinstance(one, bytes) else damage(framed(good("mutant")), one) for one in some])

    check()
    target.good_batch_passes("mutant")
    target.check()


SEAL = st.fixed_dictionaries(
    {},
    optional={
        "wire_version": st.integers(0, 2**32 - 1),
        "agent": st.text(max_size=20) | st.just("x" * 5000) | st.just("sealer\n") | st.just("victim"),
        "spool_id": st.binary(max_size=40),
        "sequence": st.integers(0, 2**64 - 1),
        "content_bytes": st.integers(0, 2**64 - 1) | st.sampled_from([0, 1, 2**20, 2**25]),
        "checksum": st.integers(0, 2**64 - 1),
        "content": st.binary(max_size=100),
    },
)


def test_any_field_of_the_seal(target: Target) -> None:
    @settings(LIGHT, max_examples=30)
    @given(st.lists(SEAL, min_size=1, max_size=3))
    def check(changes: list[dict[str, Any]]) -> None:
        frames = []
        for change in changes:
            sealed = good("sealer")
            for name, value in change.items():
                setattr(sealed, name, value)
            frames.append(framed(sealed))
        run(target, "sealer", frames)

    check()
    target.good_batch_passes("sealer")
    target.check()


@st.composite
def columns_changed(draw: st.DrawFn, host: str) -> bytes:
    """A batch with wrong columns, texts, rows or host, sealed as an agent would."""
    batch = content(host)
    for _ in range(draw(st.integers(1, 3))):
        what = draw(st.sampled_from(["values", "values", "values", "column", "rows", "strings", "host", "details"]))
        section = draw(st.sampled_from(sorted(batches.SECTIONS)))
        message = getattr(batch, section)
        if what == "values" and message.rows:
            # Well-formed columns of wrong values: indices outside their table, enums without a name, times of 1970.
            name = draw(st.sampled_from(sorted(set(batches.SECTIONS[section]) - {"local_ip", "remote_ip", "address"})))
            wrong = st.sampled_from([0, 1, 2, 7, 255, 2**16, 2**32 - 1, 2**44 + 1, 2**63, 2**64 - 1])
            values = draw(st.lists(wrong, min_size=message.rows, max_size=message.rows))
            delta = batches.SECTIONS[section][name] == batches.DELTA
            encode = columns.encode_delta if delta else columns.encode
            setattr(message, name, encode(np.array(values, dtype=np.uint64)))
        elif what == "column":
            name = draw(st.sampled_from(sorted(batches.SECTIONS[section])))
            before = getattr(message, name)
            setattr(message, name, draw(st.binary(max_size=30)) if draw(st.booleans()) else damage(before, draw(EDITS)))
        elif what == "rows":
            message.rows = draw(st.integers(0, 5) | st.integers(0, 2**32 - 1))
        elif what == "strings":
            texts = list(batch.strings)
            at = draw(st.integers(0, len(texts) - 1))
            texts[at : at + 1] = draw(st.lists(st.text(max_size=30) | st.just("y" * 70_000), max_size=3))
            batch.strings[:] = texts
        elif what == "details":
            batch.agent_stats.details.add().counts[draw(st.text(max_size=10))] = draw(st.integers(0, 2**64 - 1))
        else:
            batch.host.name = draw(st.text(max_size=300) | st.just(host))
            batch.host.seen_us = draw(st.integers(0, 2**64 - 1))
            batch.host.addresses.append(draw(st.text(max_size=20)))
            batch.host.tags[draw(st.text(max_size=20))] = draw(st.text(max_size=20))
    plain = batch.SerializeToString()
    if draw(st.integers(0, 3)) == 0:
        plain = damage(plain, draw(EDITS))
    return framed(seal_bytes(plain, host, next(_sequence)))


def test_any_column_text_and_host(target: Target) -> None:
    @settings(LIGHT, max_examples=60)
    @given(st.lists(columns_changed("columns"), min_size=1, max_size=3))
    def check(frames: list[bytes]) -> None:
        run(target, "columns", frames)

    check()
    target.good_batch_passes("columns")
    target.check()


def compressed(kind: str) -> tuple[bytes, int]:
    """(zstd that is not what it seems, bytes it says it holds)."""
    plain = content("squeezer").SerializeToString()
    zeros = zstandard.ZstdCompressor(level=1).compress(bytes(1 << 20))
    if kind == "a_gigabyte_of_zeros":
        return zeros * 1024, 1 << 30
    if kind == "a_gigabyte_that_says_it_is_small":
        return zeros * 1024, 1000
    if kind == "more_than_said":
        return zstandard.compress(plain + bytes(1 << 24)), len(plain)
    if kind == "less_than_said":
        return zstandard.compress(plain), len(plain) + 1
    if kind == "a_huge_window":
        parameters = zstandard.ZstdCompressionParameters.from_level(3, window_log=30, enable_ldm=True)
        stream = zstandard.ZstdCompressor(compression_params=parameters).compressobj()  # of unknown length
        return stream.compress(plain) + stream.flush(), len(plain)
    if kind == "cut_off":
        return zstandard.compress(plain)[:-5], len(plain)
    if kind == "zstd_in_zstd":
        inner = zstandard.compress(zstandard.compress(bytes(1 << 24)))
        return zstandard.compress(inner), len(inner)
    if kind == "only_skippable_frames":
        return b"\x50\x2a\x4d\x18\x04\x00\x00\x00abcd" * 1000, 0
    if kind == "no_zstd":
        return plain, len(plain)
    assert kind == "random"
    return random.Random(1).randbytes(1 << 20), 1 << 20


ZSTD = [
    "a_gigabyte_of_zeros", "a_gigabyte_that_says_it_is_small", "more_than_said", "less_than_said", "a_huge_window",
    "cut_off", "zstd_in_zstd", "only_skippable_frames", "no_zstd", "random",
]  # fmt: skip


@pytest.mark.parametrize("kind", ZSTD)
def test_zstd_that_is_not_what_it_seems(target: Target, kind: str) -> None:
    data, size = compressed(kind)
    sealed = seal_bytes(b"", "squeezer", next(_sequence))
    sealed.content, sealed.content_bytes = data, size
    sealed.checksum = _checksum(data)
    expected = "TOO_LARGE" if size > 1 << 25 else "MALFORMED"
    if kind == "only_skippable_frames":
        expected = "BAD_COLUMNS"  # an empty Batch, without a host
    assert run(target, "squeezer", [framed(sealed)]) == [expected]
    target.good_batch_passes("squeezer")
    target.check()


def _checksum(data: bytes) -> int:
    import hashlib

    return int.from_bytes(hashlib.blake2b(data).digest()[:8], "little")


@pytest.mark.timeout(180)
def test_bombs_at_once_stay_within_memory(target: Target) -> None:
    target.good_batch_passes("bomber")
    frames = [framed(seal_bytes(BOMBS[name], "bomber", next(_sequence))) for name in sorted(BOMBS)]
    became: list[str] = []
    threads = [
        threading.Thread(target=lambda one=frame: became.extend(run(target, "bomber", [one]))) for frame in frames
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert became == ["TOO_LARGE"] * len(frames)
    assert target.aggregator.process is not None
    status = Path(f"/proc/{target.aggregator.process.pid}/status").read_text()
    peak = int(next(line for line in status.splitlines() if line.startswith("VmHWM")).split()[1]) * 1024
    assert peak < _MOST_RESIDENT_BYTES
    target.good_batch_passes("bomber")
    target.check()


def test_messages_that_are_too_large(target: Target) -> None:
    sealed = good("giant")
    sealed.content += bytes(9 << 20)
    assert run(target, "giant", [framed(sealed), b"\x12" + bytes(9 << 20)]) == ["TOO_LARGE", "TOO_LARGE"]
    before = target.counted("sonde_streams_ended_total")
    assert run(target, "giant", [bytes(40 << 20)]) == ["ended"]  # beyond what gRPC takes at all
    _wait(lambda: target.counted("sonde_streams_ended_total") > before)
    target.good_batch_passes("giant")
    target.check()


def test_a_batch_of_another_agent_never_passes_whole_or_damaged(target: Target) -> None:
    @settings(LIGHT, max_examples=40)
    @given(EDITS)
    def check(edits: Any) -> None:
        stolen = good("victim")
        relabelled = pb.SealedBatch.FromString(stolen.SerializeToString())
        relabelled.agent = "thief"
        frames = [framed(stolen), framed(relabelled), damage(framed(stolen), edits)]
        became = run(target, "thief", frames)
        assert became[:2] == ["WRONG_CERTIFICATE", "WRONG_CERTIFICATE"]
        assert became[2] != "ack"

    check()
    assert target.aggregator.query("SELECT count() FROM hosts WHERE host = 'thief'") == [["0"]]
    target.good_batch_passes("thief")
    target.good_batch_passes("victim")
    target.check()


def test_hello_of_any_kind_and_messages_without_one(target: Target) -> None:
    target.good_batch_passes("greeter")
    credentials = target.credentials["greeter"]

    @settings(LIGHT, max_examples=60)
    @given(
        st.builds(
            pb.Hello,
            wire_version=st.sampled_from([WIRE_VERSION, 0, 2**32 - 1]),
            agent=st.sampled_from(["greeter", "", "victim", "x" * 5000]),
            agent_version=st.text(max_size=10),
            spool_id=st.binary(max_size=20),
        )
    )
    def check(hello: pb.Hello) -> None:
        agent = Agent(target.aggregator.grpc, "greeter", hello=False, credentials=credentials)
        assert target.send(agent, framed(good("greeter"))) == "NO_HELLO"
        became = target.send(agent, pb.AgentMessage(hello=hello).SerializeToString())
        assert (became == "welcome") == (hello.agent == "greeter" and hello.wire_version == WIRE_VERSION)
        agent.close()

    check()
    target.good_batch_passes("greeter")
    target.check()


def test_noise_below_grpc_is_no_stream_and_is_counted(target: Target) -> None:
    target.good_batch_passes("noisy")
    certificate = target.authority.folder.issued / "agent-noisy.crt"
    noise = random.Random(2)
    before = target.aggregator.metric("sonde_tls_handshakes_failed_total")
    for number in range(20):
        with contextlib.suppress(OSError, ssl.SSLError):
            address = (certificates.ADDRESS, target.aggregator.grpc)
            with socket.create_connection(address, timeout=10) as plain:
                if number % 2:
                    plain.sendall(noise.randbytes(300))
                    continue
                context = ssl.create_default_context(cafile=target.authority.ca)
                context.load_cert_chain(certificate, certificate.with_suffix(".key"))
                context.set_alpn_protocols(["h2"])
                with context.wrap_socket(plain, server_hostname=certificates.ADDRESS) as wrapped:
                    preface = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" if number % 4 else b""
                    wrapped.sendall(preface + noise.randbytes(500))
                    wrapped.recv(1000)
    _wait(lambda: target.aggregator.metric("sonde_tls_handshakes_failed_total") >= before + 20)
    target.good_batch_passes("noisy")
    target.check()


def _wait(what: Any) -> None:
    end = time.monotonic() + _PATIENCE_S
    while not what():
        assert time.monotonic() < end
        time.sleep(0.05)
