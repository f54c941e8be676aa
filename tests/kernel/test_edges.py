"""Turns that a review found mispaired, uncounted or leaking: each was wrong once, and stays mended here."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from proto import sonde_pb2 as pb
from tests.kernel.test_requests import ends_agree
from tests.support.agent import Observer, ms
from tests.support.serving import ends, serving
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.mariadb import MariaDB
from tests.targets.netns import Namespace

EARLY = b"HTTP/1.1 103 Early Hints\r\nLink: </a.css>; rel=preload\r\n\r\n"


@pytest.mark.parametrize("length", [300, 900, 2000])
def test_both_ends_keep_the_same_text(observer: Observer, host: Namespace, length: int) -> None:
    """MariaDB reads a statement's header and body apart, its client writes them at once."""
    columns = ", ".join(f"'s3cret{number}' AS c{number}" for number in range(200))[:length]
    statement = f"SELECT {columns.rpartition(',')[0]}"
    with MariaDB(host) as server, server.client() as client, client.cursor() as cursor:
        observer.look_at(host)
        cursor.execute(statement)
        rows = observer.exactly(1, 1, operation="SELECT")
    client_row, server_row = ends(rows)
    assert client_row["statement_id"] == server_row["statement_id"]
    assert client_row["statement"] == server_row["statement"]
    assert "s3cret" not in str(client_row["statement"])
    assert str(client_row["statement"]).startswith("SELECT ? AS c0, ? AS c1")


def test_text_behind_a_hole_is_not_kept(observer: Observer, host: Namespace) -> None:
    """A statement in many pieces: what cannot be kept whole ends the text, so no literal is taken for SQL."""
    secret = b"hunter" * 60

    def serve(link: socket.socket) -> None:
        while head := link.recv(4, socket.MSG_WAITALL):
            link.recv(int.from_bytes(head[:3], "little"), socket.MSG_WAITALL)
            link.sendall(b"\x07\0\0\x01\0\0\0\x02\0\0\0")

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            text = b"\x03SELECT '" + b"a" * 300 + b"', '" + secret + b"', 'tail'"
            whole = len(text).to_bytes(3, "little") + b"\0" + text
            pieces = [whole[:4], whole[4:9], *(whole[at : at + 90] for at in range(9, len(whole), 90))]
            link.sendmsg(pieces)
            link.recv(11, socket.MSG_WAITALL)
        rows = observer.exactly(1, 1)
    for row in ends(rows):
        assert "hunter" not in str(row["statement"])
        assert "tail" not in str(row["statement"])


def test_interim_and_final_response_in_one_write(observer: Observer, host: Namespace) -> None:
    def serve(link: socket.socket) -> None:
        reader = raw.Reader(link)
        while reader.message():
            link.sendall(EARLY + raw.response(b"no", "404 Not Found"))

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            for _ in range(5):
                link.sendall(raw.request("/hints"))
                got = b""
                while not got.endswith(b"\r\n\r\nno"):
                    got += link.recv(4096)
        rows = observer.exactly(5, 5)
    assert set(rows["status_code"]) == {"404"}
    ends_agree(rows)


def test_reset_before_the_process_has_read(observer: Observer, host: Namespace) -> None:
    """nginx's 499: the request arrived, the client is gone, the process reads it and has nobody to answer."""

    def serve(link: socket.socket) -> None:
        time.sleep(0.1)
        link.recv(4096)

    with serving(host, serve) as port:
        observer.look_at(host)
        for _ in range(3):
            with host.connect(host.address, port) as link:
                link.sendall(raw.request("/gone"))
                link.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        rows = observer.exactly(3, 3)
    assert set(rows["status"]) == {pb.NO_RESPONSE}
    assert set(rows["resource"]) == {"/gone"}


def test_answer_before_the_upload_has_ended(observer: Observer, host: Namespace) -> None:
    """The rest of the body belongs to the request that was answered early."""

    def serve(link: socket.socket) -> None:
        link.recv(100)
        link.sendall(raw.response(b"", "413 Content Too Large"))
        while link.recv(65536):
            pass

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            whole = raw.request("/upload", b"z" * 20_000)
            link.sendall(whole[:100])
            time.sleep(0.05)
            link.sendall(whole[100:10_000])
            time.sleep(0.05)
            link.sendall(whole[10_000:])
            link.recv(4096)
        rows = observer.exactly(1, 1)
    assert set(rows["status_code"]) == {"413"}
    assert rows.one(role=pb.SERVER)["request_bytes"] == len(whole)
    assert observer.counters()["not_a_request"] == 0


def test_other_protocol_behind_an_upgrade_is_not_unmatched(observer: Observer, host: Namespace) -> None:
    def serve(link: socket.socket) -> None:
        raw.Reader(link).message()
        link.sendall(b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\n\r\n")
        while data := link.recv(100):
            link.sendall(data)

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            link.sendall(raw.request("/socket"))
            link.recv(4096)
            for _ in range(7):
                link.sendall(b"\x81\x05hello")
                link.recv(100)
        rows = observer.exactly(1, 1)
    assert set(rows["status_code"]) == {"101"}
    assert observer.counters()["not_a_request"] == 0
    assert observer.counters()["no_protocol"] == 14


def test_empty_send_ends_nothing(observer: Observer, host: Namespace) -> None:
    def serve(link: socket.socket) -> None:
        raw.Reader(link).message()
        whole = raw.response(b"x" * 100)
        link.sendall(whole[:50])
        time.sleep(0.1)
        link.sendall(whole[50:])
        raw.Reader(link).message()

    with serving(host, serve) as port:
        observer.look_at(host)
        with host.connect(host.address, port) as link:
            link.sendall(raw.request("/two"))
            link.recv(50)
            link.send(b"")
            link.recv(4096)
        rows = observer.exactly(1, 1)
    client, _ = ends(rows)
    assert ms(client, "duration") >= 100
    assert client["ended_by"] == pb.FRAMING


def test_drain_ends_what_has_an_answer(observer: Observer, host: Namespace) -> None:
    """An agent that stops sends the answered requests of connections that stay open."""
    with Raw(host, "plain", threads=1) as server:
        observer.look_at(host, end_idle_seconds=60.0)
        links = [host.connect(server.address, 8000) for _ in range(7)]
        for link in links:
            raw.ask(link)
        time.sleep(0.3)
        assert len(observer.rows()) == 0
        observer.source.drain()
        observer.exactly(7, 7)
        for link in links:
            link.close()
