"""Where the time of a request goes: each mark of DESIGN.md section 3 forced apart.

Lower limits are exact: the kernel's clock and the test's are the same, and a sleep is never shorter than asked. Upper
limits leave room for a busy machine; that a part does not carry what another one must is shown by what it lacks.
"""

from __future__ import annotations

import socket
import threading
import time

import numpy as np
import pytest

from proto import sonde_pb2 as pb
from sonde import batches
from tests.kernel.test_requests import ends_agree, parts_add_up
from tests.support.agent import MEDIAN_SLACK_MS, SLACK_MS, Observer, joined, ms, network_ms
from tests.support.serving import ends, serving
from tests.targets import raw
from tests.targets.api import Api, Raw
from tests.targets.mariadb import MariaDB
from tests.targets.netns import Namespace


def test_slow_statement(observer: Observer, host: Namespace) -> None:
    """Median of SLEEP(0.2) between 200 and 204 ms, in process at the server's row, as the client's own clock says."""
    own: list[float] = []

    def ask(server: MariaDB) -> None:
        with server.client() as client, client.cursor() as cursor:
            for _ in range(9):
                began = time.monotonic_ns()
                cursor.execute("SELECT SLEEP(0.2)")
                own.append((time.monotonic_ns() - began) / 1e6)

    with MariaDB(host) as server:
        observer.look_at(host)
        threads = [threading.Thread(target=ask, args=(server,)) for _ in range(6)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        rows = observer.exactly(54, 54, statement="SELECT SLEEP(?)")
    client, server_rows = joined(rows)
    assert 200 <= np.median(client.ms("duration")) <= 200 + MEDIAN_SLACK_MS
    assert 200 <= np.median(server_rows.ms("duration")) <= 200 + MEDIAN_SLACK_MS
    assert 200 <= np.median(server_rows.ms("process")) <= 200 + MEDIAN_SLACK_MS
    assert (server_rows.ms("process") >= 200).all()
    assert (server_rows.ms("duration") - server_rows.ms("process") < SLACK_MS).all()
    # The client's own clock runs around its system calls: a little longer, never shorter.
    assert (np.sort(own) >= np.sort(client.ms("duration"))).all()
    assert 0 <= np.median(own) - np.median(client.ms("duration")) < MEDIAN_SLACK_MS
    network = network_ms(client, server_rows)
    assert network.min() >= 0
    assert np.median(network) < MEDIAN_SLACK_MS
    parts_add_up(rows)


def test_reader_that_comes_late_is_queue(observer: Observer, host: Namespace) -> None:
    with Raw(host, "late-read", delay_ms=50) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            time.sleep(0.01)
            for _ in range(5):
                raw.ask(link)
        rows = observer.exactly(5, 5)
    found = rows.where(role=pb.SERVER).by("offset")
    assert (found.ms("queue") >= 39).all()  # the first sleep began with the connection
    assert (found.ms("queue")[1:] >= 49).all()
    assert np.median(found.ms("queue")) < 50 + SLACK_MS
    assert np.median(found.ms("process")) < 10
    assert not (found["flags"] & batches.QUEUE_NOT_EXACT).any()
    ends_agree(rows)
    parts_add_up(rows)


def test_worker_that_is_blocked_is_queue_of_the_next(observer: Observer, host: Namespace) -> None:
    """Issue 2: a request that arrives while the worker is blocked shows it as queue and not as process."""
    with Api(host) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as blocker, host.connect(server.address, 8000) as waiter:
            raw.ask(waiter)
            blocker.sendall(raw.request("/block?ms=80"))
            time.sleep(0.01)
            raw.ask(waiter, "/late")
            raw.Reader(blocker).message()
        rows = observer.exactly(3, 3)
    late, block = rows.one(role=pb.SERVER, resource="/late"), rows.one(role=pb.SERVER, resource="/block")
    assert 50 <= ms(late, "queue") <= 80 + SLACK_MS
    assert ms(late, "process") < SLACK_MS
    assert ms(block, "process") >= 80
    assert ms(block, "queue") < SLACK_MS
    ends_agree(rows)


def test_answer_that_comes_late_is_process(observer: Observer, host: Namespace) -> None:
    with Raw(host, "late-answer", delay_ms=50) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            for _ in range(5):
                raw.ask(link)
        rows = observer.exactly(5, 5)
    found = rows.where(role=pb.SERVER)
    assert (found.ms("process") >= 50).all()
    assert np.median(found.ms("process")) < 50 + SLACK_MS
    assert np.median(found.ms("queue")) < 10
    assert (rows.where(role=pb.CLIENT).ms("process") >= 50).all()
    ends_agree(rows)


def test_client_that_comes_late_is_its_queue(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request())
            time.sleep(0.06)
            raw.Reader(link).message()
        rows = observer.exactly(1, 1)
    client, server_row = ends(rows)
    assert 60 - SLACK_MS <= ms(client, "queue") <= 60 + SLACK_MS
    assert ms(client, "process") + ms(client, "queue") >= 59
    assert ms(server_row, "duration") < SLACK_MS


def test_response_in_many_writes(observer: Observer, host: Namespace) -> None:
    """One row; transfer from the first byte to the last; all bytes counted."""
    with Raw(host, "many-writes", writes=20, delay_ms=10, body=5_000) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            for _ in range(2):
                assert len(raw.ask(link)) == 5_000
        rows = observer.exactly(2, 2)
    whole = len(raw.response(b"x" * 5_000))
    for role in (pb.CLIENT, pb.SERVER):
        found = rows.where(role=role)
        assert set(found["response_bytes"]) == {whole}
        assert (found.ms("transfer") >= 180).all()
        assert (found.ms("process") < SLACK_MS).all()
        assert set(found["ended_by"]) == {pb.FRAMING}
        assert set(found["status_code"]) == {"200"}
    ends_agree(rows)
    parts_add_up(rows)


@pytest.mark.parametrize("writes", [1, 3])
def test_pipelined_requests_read_at_once(observer: Observer, host: Namespace, writes: int) -> None:
    """Three requests 20 ms apart, read in one go: three rows, each with its own arrival and so its own queue."""

    def serve(link: socket.socket) -> None:
        time.sleep(0.15)
        data = link.recv(65536)
        assert data.count(b"\r\n\r\n") == 3
        answers = [raw.response(b"%d" % number) for number in range(3)]
        for part in answers if writes == 3 else [b"".join(answers)]:
            link.sendall(part)
        link.recv(1)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            sent = []
            for number in range(3):
                if number:
                    time.sleep(0.02)
                link.sendall(raw.request(f"/pipelined/{'abc'[number]}"))
                sent.append(time.monotonic_ns())
            reader = raw.Reader(link)
            assert [reader.message()[1] for _ in range(3)] == [b"0", b"1", b"2"]  # type: ignore[index]
        rows = observer.exactly(3, 3)
    gaps = np.diff(sent) / 1e6
    found = rows.where(role=pb.SERVER).by("offset")
    queue = found.ms("queue")
    assert found["resource"].tolist() == ["/pipelined/a", "/pipelined/b", "/pipelined/c"]
    np.testing.assert_allclose(queue[:-1] - queue[1:], gaps, atol=5)
    assert queue[0] >= 100
    assert queue[2] > 40
    assert not (found["flags"] & batches.QUEUE_NOT_EXACT).any()
    assert (found.ms("process") < SLACK_MS).all()
    size = len(raw.request("/pipelined/a"))
    assert found["offset"].tolist() == [0, size, 2 * size]
    assert set(found["request_bytes"]) == {size}
    assert set(rows["response_bytes"]) == {len(raw.response(b"1"))}
    client = rows.where(role=pb.CLIENT).by("offset")
    np.testing.assert_allclose(np.diff(client["start"].astype(np.int64)) / 1e3, gaps, atol=5)
    ends_agree(rows)


def test_more_arrivals_than_are_kept_are_flagged_not_guessed(observer: Observer, host: Namespace) -> None:
    def serve(link: socket.socket) -> None:
        time.sleep(0.3)
        reader = raw.Reader(link)
        for _ in range(20):
            reader.message()
        for _ in range(20):
            link.sendall(raw.response(b"x"))
        link.recv(1)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            for number in range(20):
                link.sendall(raw.request(f"/many/{'abcdefghijklmnopqrst'[number]}"))
                time.sleep(0.005)
            reader = raw.Reader(link)
            for _ in range(20):
                reader.message()
        rows = observer.exactly(20, 20)
    found = rows.where(role=pb.SERVER).by("offset")
    exact = (found["flags"] & batches.QUEUE_NOT_EXACT) == 0
    assert exact[0]  # the oldest unread byte is always known
    assert exact[-7:].all()  # eight are kept; the client's FIN is one
    assert not exact[1:12].any()
    assert (found.ms("queue")[1:12] == 0).all()
    queue = found.ms("queue")
    assert queue[0] >= 250
    assert (np.diff(queue[-7:]) < 0).all()


def test_upload_of_3_mb(observer: Observer, host: Namespace) -> None:
    """One row; receive from the first byte read to the last; the offset of the next request is behind all of it."""
    body = b"x" * 3_000_000
    with Raw(host, "upload", delay_ms=50) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            assert raw.ask(link, "/upload", body) == b"3000000\n"
            raw.ask(link, "/upload", b"1234567")
        rows = observer.exactly(2, 2)
    whole = len(raw.request("/upload", body))
    for role in (pb.CLIENT, pb.SERVER):
        long, short = rows.where(role=role).by("offset").all()
        assert long["request_bytes"] == whole == short["offset"]
        assert short["request_bytes"] == len(raw.request("/upload", b"1234567"))
        assert long["receive"] > short["receive"]
        assert (long["operation"], long["resource"], long["status_code"]) == ("POST", "/upload", "200")
        assert long["ended_by"] == pb.FRAMING
    server_row = rows.where(role=pb.SERVER).by("offset").all()[0]
    assert 49 <= ms(server_row, "queue") <= 50 + SLACK_MS
    assert ms(server_row, "receive") > 0.5
    client_row = rows.where(role=pb.CLIENT).by("offset").all()[0]
    assert ms(client_row, "duration") >= ms(server_row, "receive") + ms(server_row, "queue")
    ends_agree(rows)
    parts_add_up(rows)
