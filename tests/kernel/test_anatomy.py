"""Where the time of a request goes: each mark of DESIGN.md section 3 forced apart, and turns that end in odd ways.

Lower limits are exact: the kernel's clock and the test's are the same, and a sleep is never shorter than asked. Upper
limits leave room for a busy machine; that a part does not carry what another one must is shown by what it lacks.
"""

from __future__ import annotations

import contextlib
import socket
import struct
import threading
import time
from collections.abc import Callable, Iterator

import numpy as np
import pytest

from proto import sonde_pb2 as pb
from sonde import batches
from tests.kernel.test_requests import ends_agree, parts_add_up
from tests.support.agent import Observer, Rows, joined, ms, network_ms
from tests.targets import raw
from tests.targets.api import Api, Raw
from tests.targets.mariadb import MariaDB
from tests.targets.netns import Namespace

SLACK_MS = 40.0  # what a busy machine may add to a part that has nothing in it


@contextlib.contextmanager
def serving(host: Namespace, serve: Callable[[socket.socket], None], port: int = 8100) -> Iterator[int]:
    """A server in a thread of this process that handles one connection after the other."""
    listener = host.tcp()
    listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listener.bind((host.address, port))
    listener.listen(8)
    listener.settimeout(20)

    def run() -> None:
        with contextlib.suppress(OSError):
            while True:
                link, _ = listener.accept()
                link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with link, contextlib.suppress(OSError):
                    serve(link)

    thread = threading.Thread(target=run, daemon=True)
    thread.start()
    try:
        yield port
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)


def ends(rows: Rows) -> tuple[dict[str, object], dict[str, object]]:
    return rows.one(role=pb.CLIENT), rows.one(role=pb.SERVER)


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
    assert 200 <= np.median(client.ms("duration")) <= 204
    assert 200 <= np.median(server_rows.ms("duration")) <= 204
    assert 200 <= np.median(server_rows.ms("process")) <= 204
    assert (server_rows.ms("process") >= 200).all()
    assert (server_rows.ms("duration") - server_rows.ms("process") < SLACK_MS).all()
    # The client's own clock runs around its system calls: a little longer, never shorter.
    assert (np.sort(own) >= np.sort(client.ms("duration"))).all()
    assert 0 <= np.median(own) - np.median(client.ms("duration")) < 4
    network = network_ms(client, server_rows)
    assert network.min() >= 0
    assert np.median(network) < 1
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


def test_next_request_before_the_write_has_returned(observer: Observer, host: Namespace) -> None:
    """Data arrives at the server while its write of the answer before is still under way."""
    with Raw(host, "plain", body=24_000_000) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            assert [len(body) for body in raw.early_next(link, pause_s=0.1)] == [24_000_000] * 2
        rows = observer.exactly(2, 2)
    found = rows.where(role=pb.SERVER).by("offset")
    assert found["resource"].tolist() == ["/long", "/early"]
    whole = len(raw.response(b"x" * 24_000_000))
    assert found["response_bytes"].tolist() == [whole, whole]
    first, second = found.all()
    assert ms(first, "transfer") >= 150  # nobody read for two pauses
    assert ms(second, "queue") >= 90  # it waited while the server wrote
    assert second["offset"] == len(raw.request("/long"))
    client = rows.where(role=pb.CLIENT).by("offset")
    assert client["resource"].tolist() == ["/long", "/early"]
    assert client["exchange_id"].tolist() == found["exchange_id"].tolist()
    assert client["response_bytes"].sum() == 2 * whole


def test_answer_read_before_the_write_of_the_request_has_returned(observer: Observer, host: Namespace) -> None:
    """Two threads of the client on one socket: one still writes its upload when the other has read the answer."""
    read = threading.Event()

    def serve(link: socket.socket) -> None:
        link.recv(4096)
        link.sendall(raw.response(b"no", "413 Too Large"))
        read.wait(5)
        while link.recv(1 << 20):
            pass

    body = b"x" * 24_000_000
    with serving(host, serve) as port:
        observer.look_at(host, end_idle_seconds=0.3)
        with host.connect(host.address, port) as link:
            link.settimeout(None)
            writer = threading.Thread(target=link.sendall, args=(raw.request("/upload", body),))
            writer.start()
            answer = raw.Reader(link).message()
            assert answer is not None
            observer.until(lambda rows: len(rows.where(role=pb.CLIENT)) == 1)  # idle: its write is still under way
            assert writer.is_alive()
            read.set()
            writer.join()
        rows = observer.exactly(1, 1)
    client, server_row = ends(rows)
    assert client["status_code"] == server_row["status_code"] == "413"
    assert client["exchange_id"] == server_row["exchange_id"]
    assert client["response_bytes"] == server_row["response_bytes"] == len(raw.response(b"no", "413 Too Large"))
    assert client["request_bytes"] == len(raw.request("/upload", body))
    assert ms(client, "duration") < 300  # the answer's last byte, not the write's return
    assert client["offset"] == 0


def test_next_request_read_before_the_write_has_returned(observer: Observer, host: Namespace) -> None:
    """Two threads of the server on one socket: one reads the next request while the other still writes the answer."""
    body = b"x" * 24_000_000

    def serve(link: socket.socket) -> None:
        link.recv(4096)
        writer = threading.Thread(target=link.sendall, args=(raw.response(body),))
        writer.start()
        link.recv(4096)
        assert writer.is_alive()
        writer.join()
        link.sendall(raw.response(b"second", "404 Not Found"))
        link.recv(1)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            link.sendall(raw.request("/first"))
            time.sleep(0.1)
            link.sendall(raw.request("/second"))
            time.sleep(0.1)
            reader = raw.Reader(link)
            assert [len(reader.message()[1]) for _ in range(2)] == [len(body), 6]  # type: ignore[index]
        rows = observer.exactly(2, 2)
    first, second = rows.where(role=pb.SERVER).by("offset").all()
    assert (first["resource"], first["status_code"]) == ("/first", "200")
    assert (second["resource"], second["status_code"]) == ("/second", "404")
    assert first["response_bytes"] == len(raw.response(body))
    assert second["response_bytes"] == len(raw.response(b"second", "404 Not Found"))
    assert ms(first, "transfer") >= 20  # up to when the next one was read: more is not known then
    assert ms(second, "process") >= 50
    client = rows.where(role=pb.CLIENT).by("offset")
    assert client["exchange_id"].tolist() == [first["exchange_id"], second["exchange_id"]]
    assert client["response_bytes"].sum() == first["response_bytes"] + second["response_bytes"]


def test_reader_and_writer_threads(observer: Observer, host: Namespace) -> None:
    """A client whose one thread writes and whose other thread is always inside recv()."""
    with Raw(host, "plain") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            answers: list[bytes] = []
            turn = threading.Semaphore(0)

            def read() -> None:
                reader = raw.Reader(link)
                while message := reader.message():
                    answers.append(message[1])
                    turn.release()

            thread = threading.Thread(target=read)
            thread.start()
            for number in range(211):
                link.sendall(raw.request(f"/threads?n={number}"))
                turn.acquire()
            link.shutdown(socket.SHUT_WR)
            thread.join(10)
        rows = observer.exactly(211, 211)
    assert len(answers) == 211
    ends_agree(rows)
    parts_add_up(rows)


def test_idle_pooled_connection(observer: Observer, host: Namespace) -> None:
    """The time between two requests of a kept connection is in no row but as the client's gap."""
    with Raw(host, "plain") as server:
        observer.look_at(host, end_idle_seconds=0.3)
        with host.connect(server.address, 8000) as link:
            raw.ask(link, "/before")
            observer.exactly(1, 1)  # by idleness in the kernel, told as framing
            time.sleep(0.5)
            raw.ask(link, "/after")
            time.sleep(1)
        rows = observer.exactly(2, 2)
    assert set(rows["ended_by"]) == {pb.FRAMING}
    assert (rows.ms("duration") < 300).all()
    after = rows.one(role=pb.CLIENT, resource="/after")
    assert ms(after, "gap") >= 500
    ends_agree(rows)


def test_unfinished_answer_ends_by_idleness(observer: Observer, host: Namespace) -> None:
    """The time is that of the last byte, not of the discovery."""
    with Raw(host, "half", body=1_000) as server:
        observer.look_at(host, end_idle_seconds=0.4)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request("/half"))
            began = time.monotonic()
            assert len(link.recv(65536)) == (part := len(raw.response(b"x" * 1_000)) - 500)
            rows = observer.exactly(1, 1, settle=0)
            assert time.monotonic() - began >= 0.4
    for row in ends(rows):
        assert row["ended_by"] == pb.IDLE
        assert row["response_bytes"] == part
        assert ms(row, "duration") < 400


def test_answer_without_length_ends_by_close(observer: Observer, host: Namespace) -> None:
    with Raw(host, "close", body=1_000) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request("/close"))
            while link.recv(65536):
                pass
        rows = observer.exactly(1, 1)
    assert set(rows["ended_by"]) == {pb.CLOSE}
    assert set(rows["status_code"]) == {"200"}
    assert len(set(rows["response_bytes"])) == 1
    ends_agree(rows)


def test_answer_without_length_ends_by_the_next_request(observer: Observer, host: Namespace) -> None:
    def serve(link: socket.socket) -> None:
        while link.recv(65536):
            link.sendall(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\nTrailer: y\r\n\r\n")

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            for path in ("/a", "/b"):
                link.sendall(raw.request(path))
                link.recv(65536)
                time.sleep(0.05)
        rows = observer.exactly(2, 2)
    for role in (pb.CLIENT, pb.SERVER):
        assert rows.where(role=role).by("offset")["ended_by"].tolist() == [pb.NEXT_REQUEST, pb.CLOSE]
    assert (rows.ms("duration") < 50).all()
    ends_agree(rows)


def test_server_that_never_answers(observer: Observer, host: Namespace) -> None:
    """In flight with its age while it waits, at both ends; no_response when the connection closes."""
    with Raw(host, "silent") as server:
        observer.look_at(host, in_flight_seconds=0.3)
        began_us = time.time_ns() // 1000
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request("/never?token=hunter2"))
            # The protocol is known once an answer was seen; this connection has had none.
            waiting = observer.until(lambda rows: len(rows) == 2, what="waiting")
            assert len(observer.rows()) == 0
            age = time.monotonic()
            time.sleep(0.2)
            age = time.monotonic() - age
        rows = observer.exactly(1, 1)
    for row in waiting.all():
        assert (row["protocol"], row["operation"], row["resource"]) == (pb.HTTP1, "GET", "/never")
        assert 0 <= row["start"] - began_us < 2_000_000
        assert row["request_bytes"] == len(raw.request("/never?token=hunter2"))
    assert set(waiting["role"]) == {pb.CLIENT, pb.SERVER}
    for row in ends(rows):
        assert (row["status"], row["status_code"], row["ended_by"]) == (pb.NO_RESPONSE, "", pb.CLOSE)
        assert row["response_bytes"] == 0
        assert ms(row, "duration") >= age * 1e3
    assert len(observer.until(lambda rows: len(rows) == 0, what="waiting")) == 0


def test_late_answer_on_a_known_connection_is_in_flight(observer: Observer, host: Namespace) -> None:
    with Raw(host, "late-answer", delay_ms=1_200) as server:
        observer.look_at(host, in_flight_seconds=0.1)
        with host.connect(server.address, 8000) as link:
            raw.ask(link, "/one")
            asked = threading.Thread(target=raw.ask, args=(link, "/two"))
            asked.start()
            waiting = observer.until(lambda rows: len(rows.where(resource="/two")) == 2, what="waiting")
            asked.join()
        rows = observer.exactly(2, 2)
    assert set(waiting["role"]) == {pb.CLIENT, pb.SERVER}
    assert set(rows["status_code"]) == {"200"}
    assert (rows.ms("duration") >= 1_200).all()


def test_client_that_closes_before_the_answer(observer: Observer, host: Namespace) -> None:
    with Raw(host, "late-answer", delay_ms=300) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request("/gone"))
            time.sleep(0.1)
        rows = observer.exactly(1, 1)
    client, server_row = ends(rows)
    assert (client["status"], client["ended_by"]) == (pb.NO_RESPONSE, pb.CLOSE)
    assert 99 <= ms(client, "duration") < 300
    assert server_row["status"] == pb.OK  # it did answer: nobody was there
    assert ms(server_row, "process") >= 300


def test_server_that_resets(observer: Observer, host: Namespace) -> None:
    with Raw(host, "reset") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.sendall(raw.request("/reset"))
            with pytest.raises(ConnectionResetError):
                link.recv(100)
        rows = observer.exactly(1, 1)
    for row in ends(rows):
        assert (row["status"], row["ended_by"]) == (pb.NO_RESPONSE, pb.CLOSE)


def test_continue_is_no_answer(observer: Observer, host: Namespace) -> None:
    """The body that a 100 Continue lets through belongs to the request; the answer is the final one."""

    def serve(link: socket.socket) -> None:
        link.recv(65536)
        time.sleep(0.03)
        link.sendall(b"HTTP/1.1 100 Continue\r\n\r\n")
        link.recv(65536)
        time.sleep(0.06)
        link.sendall(raw.response(b"done", "201 Created"))
        link.recv(1)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            head = b"POST /big HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2000\r\n\r\n"
            link.sendall(head)
            assert link.recv(65536).startswith(b"HTTP/1.1 100")
            link.sendall(b"y" * 2000)
            assert raw.Reader(link).message()
        rows = observer.exactly(1, 1)
    for row in ends(rows):
        assert row["status_code"] == "201"
        assert row["request_bytes"] == len(head) + 2000
        assert row["response_bytes"] == len(raw.response(b"done", "201 Created"))
        assert ms(row, "process") >= 60
        assert ms(row, "receive") >= 30
    ends_agree(rows)


def test_head_and_body_in_two_writes(observer: Observer, host: Namespace) -> None:
    with Raw(host, "plain") as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            whole = raw.request("/two", b"z" * 100)
            link.sendall(whole[:-100])
            time.sleep(0.05)
            link.sendall(whole[-100:])
            raw.Reader(link).message()
        rows = observer.exactly(1, 1)
    for row in ends(rows):
        assert row["request_bytes"] == len(whole)
        assert ms(row, "receive") >= 40
        assert ms(row, "process") < SLACK_MS
    ends_agree(rows)


def test_sendmsg_and_recvmsg_in_pieces(observer: Observer, host: Namespace) -> None:
    """Vectors of more pieces than are looked at: all bytes count, the first ones are captured."""

    def serve(link: socket.socket) -> None:
        buffers = [bytearray(7) for _ in range(64)]
        link.recvmsg_into(buffers)
        answer = raw.response(b"a" * 90, "404 Not Found")
        link.sendmsg([answer[i : i + 11] for i in range(0, len(answer), 11)])
        link.recv(1)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            whole = raw.request("/pieces")
            link.sendmsg([whole[i : i + 9] for i in range(0, len(whole), 9)])
            raw.Reader(link).message()
        rows = observer.exactly(1, 1)
    for row in ends(rows):
        assert row["request_bytes"] == len(whole)
        assert row["response_bytes"] == len(raw.response(b"a" * 90, "404 Not Found"))
        assert row["status_code"] == "404"
        assert row["operation"] == "GET"


def test_peeked_bytes_are_not_read(observer: Observer, host: Namespace) -> None:
    def serve(link: socket.socket) -> None:
        link.recv(10, socket.MSG_PEEK)
        time.sleep(0.05)
        link.recv(65536)
        link.sendall(raw.response(b"ok"))
        link.recv(1)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            raw.ask(link, "/peeked")
        rows = observer.exactly(1, 1)
    server_row = rows.one(role=pb.SERVER)
    assert server_row["request_bytes"] == len(raw.request("/peeked"))
    assert ms(server_row, "queue") >= 50


def test_write_that_would_block_is_no_request(observer: Observer, host: Namespace) -> None:
    """EAGAIN, or a connection that is already gone: nothing went out, and no row tells of it."""

    def serve(link: socket.socket) -> None:
        link.recv(65536)
        link.sendall(raw.response(b"ok"))
        link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            raw.ask(link, "/first")
            time.sleep(0.1)
            with pytest.raises((BrokenPipeError, ConnectionResetError)):
                link.sendall(raw.request("/second"))
        rows = observer.exactly(1, 1)
    assert set(rows["resource"]) == {"/first"}


def test_non_blocking_upload(observer: Observer, host: Namespace) -> None:
    """A writer that meets EAGAIN again and again: its bytes count once."""
    body = b"x" * 12_000_000
    with Raw(host, "upload", delay_ms=100) as server:
        observer.look_at(host)
        with host.connect(server.address, 8000) as link:
            link.setblocking(False)
            rest = memoryview(raw.request("/upload", body))
            refused = 0
            while rest:
                try:
                    rest = rest[link.send(rest) :]
                except BlockingIOError:
                    refused += 1
                    time.sleep(0.005)
            link.setblocking(True)
            assert raw.Reader(link).message()
        rows = observer.exactly(1, 1)
    assert refused
    assert set(rows["request_bytes"]) == {len(raw.request("/upload", body))}
    assert rows.where(role=pb.SERVER).ms("queue")[0] >= 99
    ends_agree(rows)
