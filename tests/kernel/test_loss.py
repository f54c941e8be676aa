"""Forced loss is counted exactly, and what is out of scope, or before the start, is not seen at all."""

from __future__ import annotations

import re
import subprocess
import time
from collections.abc import Iterator

import pytest

from proto import sonde_pb2 as pb
from sonde.errors import SondeError
from tests.conftest import skip_or_fail
from tests.kernel.conftest import why_not
from tests.kernel.test_requests import ends_agree
from tests.support.agent import Observer, ms
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.netns import Namespace, Network
from tests.targets.nginx import Nginx
from tests.targets.redis import Redis

REQUESTS = 30_011


@pytest.fixture
def small() -> Iterator[Observer]:
    """With rings of 64 KiB."""
    if reason := why_not():
        skip_or_fail(reason)
    try:
        with Observer(kilobytes=64, probes=("requests",)) as made:
            yield made
    except SondeError as error:
        skip_or_fail(str(error))


def benchmark(host: Namespace, server: Redis, count: int, *options: str) -> None:
    argv = ["redis-benchmark", "-h", server.address, "-p", str(server.port), "-q", "-n", str(count), *options]
    subprocess.run(["timeout", "120", *host.command(*argv)], check=True, capture_output=True, timeout=130)


@pytest.mark.parametrize("unread_s", [5.0, 0.0])
def test_rows_and_lost_are_what_the_server_counted(small: Observer, host: Namespace, unread_s: float) -> None:
    """Issue 2: a 64 KiB ring, nobody reading for 5 s, redis-benchmark at full speed."""
    with Redis(host) as server:
        server.calls()
        small.look_at(host)
        if unread_s:
            small.pause()
        began = time.monotonic()
        benchmark(host, server, REQUESTS, "-t", "set", "-c", "10")
        if unread_s:
            time.sleep(max(unread_s - (time.monotonic() - began), 0))
            small.resume()
            time.sleep(0.5)  # its first request is a pipelined pair: one turn, which lost would count once
            benchmark(host, server, 1_009, "-t", "set", "-c", "10")
        time.sleep(1)
        calls = server.calls()
        rows, counters = small.rows(), small.counters()
    assert calls["set"] == REQUESTS + (1_009 if unread_s else 0)
    served = sum(calls.values())
    for role, name in ((pb.CLIENT, "client"), (pb.SERVER, "server")):
        assert len(rows.where(role=role)) + counters[f"lost/{pb.REDIS}/{name}"] == served, (name, counters)
    assert counters["lost"] == counters[f"lost/{pb.REDIS}/client"] + counters[f"lost/{pb.REDIS}/server"]
    assert counters["emitted"] == small.tally.turns
    if unread_s:
        assert counters["lost"] > REQUESTS
    assert counters["contended"] == counters["no_room"] == counters["not_a_request"] == counters["no_protocol"] == 0
    assert small.tally.unparsed == 0


@pytest.mark.parametrize(
    "depth",
    [
        16,
        pytest.param(100, marks=pytest.mark.xfail(strict=True, reason="commands behind the first KiB are not counted")),
    ],
)
def test_pipelined_commands_without_loss(observer: Observer, host: Namespace, depth: int) -> None:
    with Redis(host) as server:
        server.calls()
        observer.look_at(host)
        benchmark(host, server, 16_000, "-t", "set", "-c", "2", "-P", str(depth))
        time.sleep(1)
        calls, rows = server.calls(), observer.rows()
    assert observer.counters()["lost"] == 0
    assert (len(rows.where(role=pb.CLIENT)), len(rows.where(role=pb.SERVER))) == (sum(calls.values()),) * 2


def test_pipelined_commands_with_loss(small: Observer, host: Namespace) -> None:
    with Redis(host) as server:
        server.calls()
        small.look_at(host)
        small.pause()
        benchmark(host, server, 32_000, "-t", "set", "-c", "2", "-P", "16")
        small.resume()
        time.sleep(1)
        calls, rows, counters = server.calls(), small.rows(), small.counters()
    assert len(rows.where(role=pb.SERVER)) + counters[f"lost/{pb.REDIS}/server"] == sum(calls.values())


def test_nothing_before_the_start(observer: Observer, host: Namespace) -> None:
    with Nginx(host) as server:
        observer.stop()
        with host.connect(server.address, 80) as link:
            for _ in range(5):
                raw.ask(link, "/before")
            observer.look_at(host)
            raw.ask(link, "/after")
        rows = observer.exactly(1, 1)
    assert set(rows["resource"]) == {"/after"}


def test_server_that_was_inside_recv_at_the_start(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain") as server, host.connect(server.address, 8000) as link:
        raw.ask(link, "/before")
        time.sleep(0.1)
        observer.look_at(host)
        for _ in range(3):
            raw.ask(link, "/after")
        link.close()
        observer.until(lambda rows: len(rows.where(role=pb.CLIENT)) == 3)
        time.sleep(0.5)
        assert len(observer.rows().where(role=pb.SERVER)) == 3


def test_only_the_namespace(observer: Observer, network: Network) -> None:
    host, other = network["host"], network["other"]
    with Raw(host, "plain", threads=1) as server, Raw(other, "plain") as stranger:
        observer.look_at(host)
        with other.connect(stranger.address, 8000) as inside, other.connect(server.address, 8000) as across:
            raw.ask(inside, "/stranger")
            raw.ask(across, "/across")
        with host.connect(server.address, 8000) as link:
            raw.ask(link, "/own")
        rows = observer.exactly(1, 2)
        events = observer.events()
    assert sorted(rows["resource"]) == ["/across", "/own", "/own"]
    addresses = {bytes(address)[-4:] for address in events["local_ip"]}
    assert addresses == {bytes(int(part) for part in host.address.split("."))}


def test_only_the_port(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain", 8000) as one, Raw(host, "plain", 8001) as two:
        observer.look_at(host, scope={"ports": [8001, 9999]})
        for server in (one, two):
            with host.connect(server.address, server.port) as link:
                raw.ask(link, f"/port/{'ab'[server.port - 8000]}")
        rows = observer.exactly(1, 1)
        assert set(rows["resource"]) == {"/port/b"}
        events = observer.until(lambda rows: len(rows) == 4, what="events")
    assert set(events["local_port"]) | set(events["remote_port"]) >= {8001}
    assert 8000 not in set(events["local_port"]) | set(events["remote_port"])


def test_only_the_process(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain", 8000) as one, Raw(host, "plain", 8001) as two:
        observer.look_at(host, scope={"pids": [two.pid]})
        for server in (one, two):
            with host.connect(server.address, server.port) as link:
                raw.ask(link)
        rows = observer.exactly(0, 1)
    assert set(rows["pid"]) == {two.pid}


def test_never_itself(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain") as server:
        observer.look_at(host, own=True)
        with host.connect(server.address, 8000) as link:
            raw.ask(link)
        observer.exactly(0, 1)


@pytest.fixture
def older() -> Iterator[Observer]:
    """The probe as kernels before 6.3 get it: arrivals by tcp_probe."""
    if reason := why_not():
        skip_or_fail(reason)
    made = Observer(probes=("requests",), arrival="tcp_probe")
    try:
        made.__enter__()
    except SondeError as error:
        skip_or_fail(str(error))
    try:
        yield made
    finally:
        made.__exit__(None, None, None)


def test_arrival_by_tcp_probe(older: Observer, host: Namespace) -> None:
    probe = older.source.probes["requests"]
    assert probe.arrival == "tcp_probe"  # type: ignore[attr-defined]
    assert [name for name in probe.loaded.links if re.search("tcp_probe", name)]
    with Raw(host, "late-read", delay_ms=50) as server:
        older.look_at(host)
        with host.connect(server.address, 8000) as link:
            time.sleep(0.01)
            for _ in range(5):
                raw.ask(link)
        rows = older.exactly(5, 5)
    found = rows.where(role=pb.SERVER).by("offset")
    assert (found.ms("queue")[1:] >= 49).all()
    assert (found.ms("process") < 40).all()
    assert ms(found.all()[0], "queue") >= 30
    ends_agree(rows)
