"""Which bytes belong to a turn: interim answers, several pieces, peeked, refused and non-blocking writes."""

from __future__ import annotations

import socket
import struct
import time

import pytest

from proto import sonde_pb2 as pb
from tests.kernel.test_requests import ends_agree
from tests.support.agent import SLACK_MS, Observer, ms
from tests.support.serving import ends, serving
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.netns import Namespace


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
