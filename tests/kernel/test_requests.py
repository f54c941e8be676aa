"""Probe `requests` against real servers: exact counts at both ends, judged by the server's own counter."""

from __future__ import annotations

import contextlib
import http.client
import socket
import time
from typing import Any

import numpy as np
import pytest

from proto import sonde_pb2 as pb
from tests.support.agent import MEDIAN_SLACK_MS, PARTS, Observer, Rows, joined, network_ms, own_comm
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.mariadb import MariaDB
from tests.targets.netns import Namespace
from tests.targets.nginx import SIZES, Nginx
from tests.targets.redis import Redis

SECRET = "hunter2-4711"


def parts_add_up(rows: Rows) -> None:
    """Duration is the sum of its parts but for rounding, each part a whole number of 100 ns."""
    total = sum(rows[name].astype(np.int64) for name in PARTS)
    assert (np.abs(rows["duration"].astype(np.int64) - total) <= len(PARTS)).all()


def ends_agree(rows: Rows) -> None:
    """Every client row has its server row, and they say the same of the request."""
    client, server = joined(rows)
    for name in ("protocol", "operation", "resource", "statement", "statement_id", "status", "status_code",
                 "request_bytes", "response_bytes", "connection_id", "offset"):  # fmt: skip
        np.testing.assert_array_equal(client[name], server[name], err_msg=name)
    network = network_ms(client, server)
    assert network.min() >= 0
    assert np.median(network) < MEDIAN_SLACK_MS


def no_secret(rows: Rows) -> None:
    for name in ("operation", "resource", "statement", "status_code"):
        assert not [text for text in set(rows[name]) if "hunter" in text or "4711" in text], name


def test_10007_http_requests(observer: Observer, host: Namespace) -> None:
    with Nginx(host) as server:
        observer.look_at(host)
        kept = [host.connect(server.address, 80) for _ in range(3)]
        for number in range(9_001):
            raw.ask(kept[number % 3], f"/small?token={SECRET}{number}")
        for _ in range(1_006):
            with host.connect(server.address, 80) as link:
                link.sendall(b"GET /ok HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
                while link.recv(65536):
                    pass
        for link in kept:
            link.close()
        rows = observer.exactly(10_007, 10_007)
        assert server.served(10_007) == 10_007
    ends_agree(rows)
    parts_add_up(rows)
    no_secret(rows)
    assert set(rows["protocol"]) == {pb.HTTP1}
    assert set(rows["ended_by"]) == {pb.FRAMING}
    assert set(rows["status_code"]) == {"200"}
    assert set(rows["statement"]) == {"GET /small?token=", "GET /ok"}
    assert set(rows["comm"]) == {b"nginx", own_comm()}
    counters = observer.counters()
    assert counters["emitted"] == 20_014
    assert counters["lost"] == counters["contended"] == counters["no_room"] == counters["not_a_request"] == 0


def test_10007_redis_commands(observer: Observer, host: Namespace) -> None:
    with Redis(host) as server, server.client() as client:
        client.ping()
        before = server.calls()
        observer.look_at(host)
        for number in range(5_003):
            client.set(f"user:{number}:name", f"{SECRET}")
        for number in range(5_004):
            client.get(f"user:{number}:name")
        rows = observer.exactly(10_007, 10_007)
        after = server.calls()
    assert {name: after[name] - before.get(name, 0) for name in ("get", "set")} == {"set": 5_003, "get": 5_004}
    assert sum(after.values()) - sum(before.values()) == 10_007
    ends_agree(rows)
    parts_add_up(rows)
    no_secret(rows)
    assert set(rows["statement"]) == {"SET user:*:name ?", "GET user:*:name"}
    assert set(rows["resource"]) == {"user:*:name"}
    assert set(rows["ended_by"]) == {pb.FRAMING}


def test_1009_mariadb_statements(observer: Observer, host: Namespace) -> None:
    with MariaDB(host) as server, server.client() as client, client.cursor() as cursor:
        before = server.questions()
        observer.look_at(host)
        for number in range(1_009):
            cursor.execute("SELECT name FROM items WHERE id = %s AND name <> %s", (number % 100 + 1, SECRET))
            assert len(cursor.fetchall()) == 1
        rows = observer.exactly(1_009, 1_009)
        assert server.questions() - before == 1_009
    ends_agree(rows)
    parts_add_up(rows)
    no_secret(rows)
    assert set(rows["statement"]) == {"SELECT name FROM items WHERE id = ? AND name <> ?"}
    assert set(rows["resource"]) == {"items"}
    assert set(rows["ended_by"]) == {pb.FRAMING}


def test_login_and_quit_of_mariadb(observer: Observer, host: Namespace) -> None:
    with MariaDB(host) as server:
        before = server.questions()
        observer.look_at(host)
        with server.client() as client, client.cursor() as cursor:
            cursor.execute("SELECT 1")
            client.ping()
        rows = observer.until(lambda rows: len(rows.where(operation="QUIT")) == 2)
        time.sleep(0.3)
        rows = observer.rows()
        counted = [row for row in rows.where(role=pb.SERVER).all() if row["operation"] != "PING"]
        assert server.questions() - before == len(counted)
    assert len(rows.where(role=pb.CLIENT)) == len(rows.where(role=pb.SERVER)) == len(counted) + 1
    assert set(rows.where(operation="QUIT")["status"]) == {pb.ONE_WAY}
    assert not {"PASSWORD", "root"} & set(" ".join(rows["statement"]).split())


def get(host: Namespace, server: Any, *paths: str) -> None:
    link = http.client.HTTPConnection(server.address, server.port, timeout=10)
    with host.entered():  # nginx closes behind a 500
        for path in paths:
            link.request("GET", path)
            link.getresponse().read()
    link.close()


def test_status_codes_of_http(observer: Observer, host: Namespace) -> None:
    with Nginx(host) as server:
        observer.look_at(host)
        get(host, server, "/small", "/error", f"/users/{SECRET}/cards/4711", "/empty", "/medium")
        rows = observer.exactly(5, 5)
    for role in (pb.CLIENT, pb.SERVER):
        found = rows.where(role=role).by("start")
        assert found["status_code"].tolist() == ["200", "500", "404", "200", "200"]
        assert found["status"].tolist() == [pb.OK, pb.SERVER_ERROR, pb.CLIENT_ERROR, pb.OK, pb.OK]
        assert found["resource"].tolist() == ["/small", "/error", "/users/{id}/cards/{id}", "/empty", "/medium"]
        assert set(found["ended_by"]) == {pb.FRAMING}
    ends_agree(rows)


def test_errors_of_mariadb_and_redis(observer: Observer, host: Namespace) -> None:
    import pymysql
    import redis

    with contextlib.ExitStack() as stack:
        mariadb, server = stack.enter_context(MariaDB(host)), stack.enter_context(Redis(host))
        cursor = stack.enter_context(mariadb.client()).cursor()
        client = stack.enter_context(server.client())
        client.set("name", SECRET)
        observer.look_at(host)
        with pytest.raises(pymysql.err.OperationalError):
            cursor.execute("SELECT missing FROM items WHERE name = %s", (SECRET,))
        with pytest.raises(redis.ResponseError):
            client.lpush("name", SECRET)
        rows = observer.exactly(2, 2)
    for role in (pb.CLIENT, pb.SERVER):
        failed = rows.one(role=role, protocol=pb.MYSQL)
        assert (failed["status"], failed["status_code"]) == (pb.CLIENT_ERROR, "1054")
        assert failed["statement"] == "SELECT missing FROM items WHERE name = ?"
        wrong = rows.one(role=role, protocol=pb.REDIS)
        assert (wrong["status"], wrong["status_code"]) == (pb.CLIENT_ERROR, "WRONGTYPE")
    no_secret(rows)


def test_ipv6(observer: Observer, host: Namespace) -> None:
    with Nginx(host) as server:
        observer.look_at(host)
        with host.entered():
            link = socket.socket(socket.AF_INET6)
        link.connect(("fd87::11", server.port))
        for _ in range(11):
            raw.ask(link, "/small")
        link.close()
        rows = observer.exactly(11, 11)
    ends_agree(rows)
    address = bytes.fromhex("fd870000000000000000000000000011")
    assert {bytes(row) for row in rows["remote_ip"]} == {address}
    assert set(rows.where(role=pb.CLIENT)["remote_port"]) == {80}


def test_ipv4_address_on_an_ipv6_socket(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain") as server:  # listens on ::
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            raw.ask(link)
        rows = observer.exactly(1, 1)
    ends_agree(rows)
    mapped = bytes(10) + b"\xff\xff" + bytes(int(part) for part in server.address.split("."))
    assert {bytes(row) for name in ("local_ip", "remote_ip") for row in rows[name]} == {mapped}


@pytest.mark.parametrize("sendfile", [True, False])
def test_large_static_file(observer: Observer, host: Namespace, sendfile: bool) -> None:
    """By writev and sendfile, in pieces, with EAGAIN whenever the socket's buffer is full."""
    with Nginx(host, sendfile=sendfile) as server:
        observer.look_at(host)
        with host.connect(server.address, 80) as link:
            for _ in range(7):
                assert len(raw.ask(link, "/large")) == SIZES["large"]
        rows = observer.exactly(7, 7)
    ends_agree(rows)
    parts_add_up(rows)
    assert (rows["response_bytes"] > SIZES["large"]).all()
    assert set(rows["status_code"]) == {"200"}
    assert set(rows["ended_by"]) == {pb.FRAMING}
    assert observer.counters()["late_bytes"] == 0


def test_slow_reader_of_a_huge_file(observer: Observer, host: Namespace) -> None:
    """The server's writes stop at EAGAIN while nobody reads: its transfer lasts as long as the reader slept."""
    with Nginx(host) as server:
        size = 24_000_000  # more than both socket buffers take
        (server.directory / "html" / "huge").write_bytes(b"x" * size)
        observer.look_at(host)
        with host.connect(server.address, 80) as link:
            link.sendall(raw.request("/huge"))
            time.sleep(0.3)
            answer = raw.Reader(link).message()
        assert answer is not None
        assert len(answer[1]) == size
        rows = observer.exactly(1, 1)
    ends_agree(rows)
    assert (rows["response_bytes"] == size + len(answer[0]) + 4).all()
    server_row, client_row = rows.where(role=pb.SERVER), rows.where(role=pb.CLIENT)
    assert server_row.ms("transfer")[0] >= 250
    assert server_row.ms("process")[0] < 100
    assert client_row.ms("queue")[0] >= 250
    assert set(rows["ended_by"]) == {pb.FRAMING}


def test_connection_that_was_open_before(observer: Observer, host: Namespace) -> None:
    """Counted from the middle of its life, with the identity and offsets that both ends agree on."""
    with (
        Nginx(host) as server,
        host.connect(server.address, 80) as link,
        Redis(host) as cache,
        cache.client() as client,
    ):
        for _ in range(3):
            raw.ask(link, "/medium")
            client.set("before", "x" * 1000)
        observer.look_at(host)
        for _ in range(13):
            raw.ask(link, "/small")
            client.get("before")
        rows = observer.exactly(26, 26)
    ends_agree(rows)
    web = rows.where(protocol=pb.HTTP1, role=pb.CLIENT).by("offset")
    size = len(raw.request("/small"))
    assert web["offset"].tolist() == [3 * len(raw.request("/medium")) + size * number for number in range(13)]
    assert (rows["connection_id"] != 0).all()


def test_gap_is_the_clients_pause(observer: Observer, host: Namespace) -> None:
    with Nginx(host) as server:
        observer.look_at(host)
        pauses = []
        with host.connect(server.address, 80) as link:
            raw.ask(link, "/small")
            for pause in (0.05, 0.15):
                ended = time.monotonic()
                time.sleep(pause)
                pauses.append((time.monotonic() - ended) * 1e3)
                raw.ask(link, "/small")
        rows = observer.exactly(3, 3)
    client = rows.where(role=pb.CLIENT).by("offset")
    gaps = client.ms("gap")
    assert gaps[0] == 0
    for gap, pause in zip(gaps[1:], pauses, strict=True):
        assert pause - 0.01 <= gap <= pause + 20
    assert set(rows.where(role=pb.SERVER)["gap"]) == {0}
