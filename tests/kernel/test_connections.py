"""Probe `connections`: opens, closes and failures, both ends, against what the test's own sockets did."""

from __future__ import annotations

import errno
import socket
import struct
import subprocess
import threading
import time

import numpy as np
import pytest

from proto import sonde_pb2 as pb
from tests.support.agent import Observer, Rows, ms, own_comm
from tests.support.serving import serving
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.netns import Namespace, Network


def packed(address: str) -> bytes:
    return bytes(10) + b"\xff\xff" + socket.inet_aton(address)


def paired(rows: Rows, count: int) -> tuple[Rows, Rows]:
    """Client and server rows of the same connections, in one order."""
    client, server = (rows.where(role=role).by("connection_id") for role in (pb.CLIENT, pb.SERVER))
    assert (len(client), len(server)) == (count, count)
    assert len(np.unique(client["connection_id"])) == count
    np.testing.assert_array_equal(client["connection_id"], server["connection_id"])
    assert (client["connection_id"] != 0).all()
    return client, server


def test_1009_connections(observer: Observer, host: Namespace) -> None:
    """An open and a close at both ends each, bytes exact, connect latency within the test's own clock."""
    own: list[float] = []
    with Raw(host, "plain") as server:
        observer.look_at(host)
        for _ in range(1_009):
            with host.tcp() as link:
                began = time.monotonic_ns()
                link.connect((server.address, 8000))
                own.append((time.monotonic_ns() - began) / 1e6)
                raw.ask(link, "/small")
        events = observer.until(lambda rows: len(rows) >= 4_036, what="events")
        time.sleep(0.3)
        events = observer.events()
    assert len(events) == 4_036
    opened, closed = events.where(outcome=pb.OPEN), events.where(outcome=pb.CLOSED)
    paired(opened, 1_009)
    client, server_rows = paired(closed, 1_009)
    assert set(client["bytes_sent"]) == set(server_rows["bytes_received"]) == {len(raw.request("/small"))}
    assert set(client["bytes_received"]) == set(server_rows["bytes_sent"]) == {len(raw.response(b"x" * 100))}
    connect = opened.where(role=pb.CLIENT).ms("connect")
    assert connect.min() > 0
    assert np.median(connect) <= np.median(own)
    assert set(opened.where(role=pb.SERVER)["connect"]) == {0}
    assert (closed["closed"] >= closed["opened"]).all()
    assert (closed["opened"] > 0).all()
    assert set(closed["retransmits"]) == set(closed["resets_sent"]) == set(closed["resets_received"]) == {0}
    assert (client["min_rtt"] > 0).all()
    assert (client["rtt"] >= client["min_rtt"]).all()
    counters = observer.counters("connections")
    assert (counters["emitted"], counters["lost"], counters["no_room"]) == (4_036, 0, 0)


def test_bytes_of_a_large_transfer_each_way(observer: Observer, host: Namespace) -> None:
    body = b"x" * 5_000_003
    with Raw(host, "upload") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            answer = raw.ask(link, "/upload", body)
        events = observer.until(lambda rows: len(rows.where(outcome=pb.CLOSED)) == 2, what="events")
    client, server_rows = paired(events.where(outcome=pb.CLOSED), 1)
    sent, received = len(raw.request("/upload", body)), len(raw.response(answer))
    assert (client["bytes_sent"][0], client["bytes_received"][0]) == (sent, received)
    assert (server_rows["bytes_received"][0], server_rows["bytes_sent"][0]) == (sent, received)


def failed(observer: Observer, outcome: int) -> dict[str, object]:
    events = observer.until(lambda rows: len(rows.where(outcome=outcome)), what="events")
    time.sleep(0.2)
    events = observer.events()
    assert len(events) == 1, events
    row = events.all()[0]
    assert (row["role"], row["outcome"], row["opened"]) == (pb.CLIENT, outcome, 0)
    assert row["bytes_sent"] == row["bytes_received"] == 0
    assert row["comm"] == own_comm()
    return row


def test_refused(observer: Observer, host: Namespace) -> None:
    observer.look_at(host)
    with host.tcp() as link:
        assert link.connect_ex((host.address, 9)) == errno.ECONNREFUSED
        row = failed(observer, pb.REFUSED)
    assert (row["remote_port"], row["remote_ip"]) == (9, packed(host.address))


def test_refused_by_ipv6(observer: Observer, host: Namespace) -> None:
    observer.look_at(host)
    with host.tcp(socket.AF_INET6) as link:
        assert link.connect_ex(("fd87::11", 9)) == errno.ECONNREFUSED
        row = failed(observer, pb.REFUSED)
    assert (row["remote_port"], row["remote_ip"]) == (9, socket.inet_pton(socket.AF_INET6, "fd87::11"))


@pytest.mark.parametrize(("family", "address"), [(socket.AF_INET, "192.0.2.1"), (socket.AF_INET6, "2001:db8::1")])
def test_no_route(observer: Observer, host: Namespace, family: int, address: str) -> None:
    """connect() fails before any segment is sent."""
    observer.look_at(host)
    with host.tcp(family) as link:
        assert link.connect_ex((address, 80)) == errno.ENETUNREACH
        row = failed(observer, pb.UNREACHABLE)
    raw_address = socket.inet_pton(family, address)
    assert row["remote_ip"] == (raw_address if len(raw_address) == 16 else packed(address))
    assert row["remote_port"] == 80


def test_host_that_is_not_there(observer: Observer, host: Namespace) -> None:
    """Nobody answers ARP: EHOSTUNREACH after about three seconds."""
    observer.look_at(host)
    with host.tcp() as link:
        assert link.connect_ex(("10.87.0.99", 80)) == errno.EHOSTUNREACH
        row = failed(observer, pb.UNREACHABLE)
    assert row["remote_ip"] == packed("10.87.0.99")


def test_time_out(observer: Observer, network: Network) -> None:
    """SYNs that nobody answers: the listener's queue at the other host is full."""
    host, other = network["host"], network["other"]
    subprocess.run(
        ["ip", "netns", "exec", host.name, "sysctl", "-qew", "net.ipv4.tcp_syn_retries=1",
         "net.ipv4.tcp_syn_linear_timeouts=0"],  # -e: the second came with Linux 6.5
        check=True, capture_output=True,
    )  # fmt: skip
    with other.tcp() as listener:
        listener.bind((other.address, 8200))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            filler = other.tcp()
            filler.setblocking(False)
            filler.connect_ex((other.address, 8200))
            fillers.append(filler)
        time.sleep(0.1)
        observer.look_at(host)
        with host.tcp() as link:
            assert link.connect_ex((other.address, 8200)) == errno.ETIMEDOUT
            row = failed(observer, pb.TIMEOUT)
        for filler in fillers:
            filler.close()
    assert row["retransmits"] == 1


def test_program_that_gives_up(observer: Observer, network: Network) -> None:
    host, other = network["host"], network["other"]
    with other.tcp() as listener:
        listener.bind((other.address, 8201))
        listener.listen(0)
        fillers = []
        for _ in range(3):
            filler = other.tcp()
            filler.setblocking(False)
            filler.connect_ex((other.address, 8201))
            fillers.append(filler)
        time.sleep(0.1)
        observer.look_at(host)
        with host.tcp() as link:
            link.settimeout(0.2)
            with pytest.raises(TimeoutError):
                link.connect((other.address, 8201))
        row = failed(observer, pb.TIMEOUT)
        for filler in fillers:
            filler.close()
    assert row["remote_port"] == 8201


def test_reset(observer: Observer, host: Namespace) -> None:
    with Raw(host, "reset") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request())
            with pytest.raises(ConnectionResetError):
                link.recv(1)
        events = observer.until(lambda rows: len(rows.where(outcome=pb.RESET)) == 2, what="events")
    ended = events.where(outcome=pb.RESET)
    client, server_row = ended.one(role=pb.CLIENT), ended.one(role=pb.SERVER)
    assert client["connection_id"] == server_row["connection_id"]
    assert (client["resets_received"], client["resets_sent"]) == (1, 0)
    assert (server_row["resets_received"], server_row["resets_sent"]) == (0, 1)


def test_client_that_resets(observer: Observer, host: Namespace) -> None:
    with Raw(host, "silent") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request())
            time.sleep(0.05)
            link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        events = observer.until(lambda rows: len(rows.where(outcome=pb.RESET)) == 2, what="events")
    ended = events.where(outcome=pb.RESET)
    assert ended.one(role=pb.SERVER)["resets_received"] == ended.one(role=pb.CLIENT)["resets_sent"] == 1


def test_ipv6(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain"):
        observer.look_at(host)
        with host.tcp(socket.AF_INET6) as link:
            link.connect(("fd87::11", 8000))
            raw.ask(link)
        events = observer.until(lambda rows: len(rows) == 4, what="events")
    paired(events.where(outcome=pb.OPEN), 1)
    paired(events.where(outcome=pb.CLOSED), 1)
    address = socket.inet_pton(socket.AF_INET6, "fd87::11")
    assert {bytes(row) for name in ("local_ip", "remote_ip") for row in events[name]} == {address}


def test_open_before_the_start_is_found_and_refreshed(observer: Observer, host: Namespace) -> None:
    """Found at its first read; its opening is unknown and says so; each refresh is one more row with its bytes."""
    with Raw(host, "plain") as server, host.connect(server.address, 8000) as link:
        raw.ask(link)
        observer.look_at(host)
        raw.ask(link)
        opened = observer.until(lambda rows: len(rows) == 2, what="events")
        paired(opened, 1)
        assert set(opened["opened"]) == {0}
        raw.ask(link)
        time.sleep(0.1)
        observer.refresh()
        events = observer.until(lambda rows: len(rows) == 4, what="events")
        assert set(events["outcome"]) == {pb.OPEN}
        again = events.at(np.argsort(events["time"], kind="stable")[2:])
        client, server_rows = paired(again, 1)
        assert client["bytes_sent"][0] == server_rows["bytes_received"][0] == 3 * len(raw.request())
        link.close()
        ended = observer.until(lambda rows: len(rows.where(outcome=pb.CLOSED)) == 2, what="events")
    assert len(ended) == 6
    assert len(set(ended["connection_id"])) == 1


def test_connection_and_request_share_their_identity(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            raw.ask(link)
        rows = observer.exactly(1, 1)
        events = observer.until(lambda rows: len(rows) == 4, what="events")
    assert set(rows["connection_id"]) == set(events["connection_id"])


def test_connect_latency_across_a_slow_accept(observer: Observer, host: Namespace) -> None:
    """The server's row starts when accept() has returned: only then its process is known."""
    accepted: list[float] = []

    def serve(link: socket.socket) -> None:
        link.recv(10)

    with serving(host, serve) as port:
        observer.look_at(host)
        links = []
        for _ in range(2):
            link = host.connect(host.address, port)
            links.append(link)
        time.sleep(0.2)
        links[0].close()
        accepted.append(time.time_ns() / 1e3)
        events = observer.until(lambda rows: len(rows.where(outcome=pb.OPEN)) == 4, what="events")
        links[1].close()
    server_rows = events.where(role=pb.SERVER, outcome=pb.OPEN).by("opened")
    assert int(server_rows["opened"][1]) >= accepted[0] - 50_000
    for row in events.where(role=pb.CLIENT, outcome=pb.OPEN).all():
        assert ms(row, "connect") < 150
    assert threading.active_count() < 50
