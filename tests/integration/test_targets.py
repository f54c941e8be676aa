"""The servers that other tests observe: they start, answer, and leave nothing behind."""

from __future__ import annotations

import http.client
import os
import socket
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.targets import netns, raw
from tests.targets.api import Api, Raw
from tests.targets.mariadb import MariaDB
from tests.targets.netns import Namespace, Network
from tests.targets.nginx import Nginx
from tests.targets.process import TargetError
from tests.targets.redis import Redis

pytestmark = pytest.mark.skipif(bool(netns.available()), reason=netns.available() or "root")


@pytest.fixture
def network() -> Iterator[Network]:
    with Network("web", "db") as made:
        yield made


def get(host: Namespace, address: str, port: int, *paths: str) -> list[int]:
    link = http.client.HTTPConnection(address, port, timeout=10)
    with host.entered():
        link.connect()
    statuses = []
    for path in paths:
        link.request("GET", path)
        answer = link.getresponse()
        answer.read()
        statuses.append(answer.status)
    link.close()
    return statuses


def test_hosts_have_their_own_inode_and_reach_each_other(network: Network) -> None:
    own = os.stat("/proc/self/ns/net").st_ino
    assert len({own, network["web"].inode, network["db"].inode}) == 3
    with network["db"].tcp() as listener:
        listener.bind((network["db"].address, 9000))
        listener.listen()
        with network["web"].connect(network["db"].address, 9000) as link:
            assert link.getsockname()[0] == network["web"].address
    assert os.stat("/proc/self/ns/net").st_ino == own


def test_nginx_logs_each_request(network: Network) -> None:
    with Nginx(network["web"]) as server:
        statuses = get(network["db"], server.address, 80, "/small", "/large", "/ok", "/missing", "/error")
        assert statuses == [200, 200, 200, 404, 500]
        assert server.served(5) == 5
        directory = server.directory
    assert not directory.exists()


def test_redis_counts_only_what_a_client_sent(network: Network) -> None:
    with Redis(network["db"]) as server, server.client(network["web"]) as client:
        for number in range(7):
            client.set("key", number)
        assert client.get("key") == b"6"
        assert server.calls() == {"set": 7, "get": 1}
        assert server.calls() == {"set": 7, "get": 1}


def test_mariadb_counts_only_what_a_client_sent(network: Network) -> None:
    with MariaDB(network["db"]) as server, server.client(network["web"]) as client:
        before = server.questions()
        assert server.questions() == before
        with client.cursor() as cursor:
            for number in range(13):
                cursor.execute("SELECT name FROM items WHERE id = %s", (number + 1,))
                assert cursor.fetchone() == (f"item {number + 1}",)
        assert server.questions() == before + 13


def test_api_serves_one_request_at_a_time(network: Network) -> None:
    database = network["db"]
    with MariaDB(database) as sql, Redis(database) as cache:
        ends = {"mariadb": f"{sql.address}:{sql.port}", "redis": f"{cache.address}:{cache.port}"}
        with Api(network["web"], name="api", **ends) as server:
            assert Path(f"/proc/{server.pid}/comm").read_text() == "api\n"
            paths = [
                "/",
                "/items/1",
                "/items/1",
                "/items/999",
                "/search?name=item%205",
                "/sql-error",
                "/error",
                "/nope",
            ]
            assert get(database, server.address, 8000, *paths) == [200, 200, 200, 404, 200, 500, 500, 404]
            start = time.monotonic()
            assert get(database, server.address, 8000, "/slow") == [200]
            assert 0.2 <= time.monotonic() - start < 0.3
            with database.connect(server.address, 8000) as first, database.connect(server.address, 8000) as second:
                assert raw.ask(first) == raw.ask(second) == b"ok\n"
                first.sendall(raw.request("/block?ms=80"))
                time.sleep(0.01)
                start = time.monotonic()
                assert raw.ask(second) == b"ok\n"
                assert 0.05 < time.monotonic() - start < 0.09


def test_nginx_keeps_its_connections_to_the_api(network: Network) -> None:
    with Api(network["db"]) as api, Nginx(network["web"], upstream=f"{api.address}:{api.port}") as server:
        assert get(network["web"], server.address, 80, *["/"] * 20, "/error") == [200] * 20 + [500]
        established = network["web"].run("ss", "-Htn", "state", "established", f"( dport = :{api.port} )")
        assert len(established.splitlines()) == 1


@pytest.mark.parametrize("mode", ["plain", "late-read", "late-answer", "many-writes"])
def test_raw_server_answers_pipelined_requests(network: Network, mode: str) -> None:
    with Raw(network["web"], mode, delay_ms=20) as server, network["db"].connect(server.address, server.port) as link:
        assert raw.pipeline(link) == [b"x" * 100] * 3


def test_raw_servers_fail_as_they_should(network: Network) -> None:
    web, database = network["web"], network["db"]
    with Raw(web, "silent", 8001), Raw(web, "half", 8002), Raw(web, "reset", 8003), Raw(web, "close", 8004):
        for port in (8001, 8002):
            with database.connect(web.address, port, timeout=0.2) as link, pytest.raises(socket.timeout):
                raw.ask(link)
        with database.connect(web.address, 8003) as link, pytest.raises(ConnectionResetError):
            raw.ask(link)
        with database.connect(web.address, 8004) as link:
            link.sendall(raw.request())
            assert raw.Reader(link).message() is not None


def test_raw_upload_and_early_next_request(network: Network) -> None:
    web, database = network["web"], network["db"]
    with Raw(web, "upload", 8001) as upload, database.connect(upload.address, 8001) as link:
        assert raw.ask(link, "/upload", b"u" * 3_000_000) == b"3000000\n"
    with Raw(web, "plain", 8002, body=8_000_000) as long, database.connect(long.address, 8002) as link:
        assert [len(body) for body in raw.early_next(link)] == [8_000_000] * 2


def test_raw_server_over_ipv6(network: Network) -> None:
    with Raw(network["web"], "plain") as server, network["db"].connect("fd87::11", server.port) as link:
        assert raw.ask(link) == b"x" * 100


def test_failed_start_shows_the_log_and_removes_its_files(network: Network) -> None:
    server = Raw(network["web"], "plain", port=99_999)
    with pytest.raises(TargetError, match=r"(?s)ended with .*port"):
        server.start()
    assert not server.directory.exists()


def test_a_failure_inside_leaves_nothing_behind() -> None:
    before = sorted(path.name for path in netns.RUN_NETNS.glob(f"*-{os.getpid()}-*"))
    pids: list[int] = []
    with pytest.raises(KeyboardInterrupt), Network("web", "db") as made:  # noqa: PT012
        server = Raw(made["web"], "silent")
        server.start()
        pids += netns.pids(made["web"].name)
        raise KeyboardInterrupt
    assert pids
    assert server.child is not None
    assert server.child.wait(5) != 0
    assert not [pid for pid in pids if Path(f"/proc/{pid}").exists()]
    assert sorted(path.name for path in netns.RUN_NETNS.glob(f"*-{os.getpid()}-*")) == before
    server.stop()
