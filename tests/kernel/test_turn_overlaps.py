"""Turns whose calls overlap: an answer, or the next request, is there before the write has returned."""

from __future__ import annotations

import socket
import threading
import time

from proto import sonde_pb2 as pb
from tests.kernel.test_requests import ends_agree, parts_add_up
from tests.support.agent import Observer, ms
from tests.support.serving import ends, serving
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.netns import Namespace


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
