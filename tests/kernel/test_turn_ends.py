"""How a turn ends where no framing tells: silence, close, reset, the next request, and no answer at all."""

from __future__ import annotations

import socket
import threading
import time

import pytest

from proto import sonde_pb2 as pb
from tests.kernel.test_requests import ends_agree
from tests.support.agent import SLACK_MS, Observer, ms
from tests.support.serving import ends, serving
from tests.targets import raw
from tests.targets.api import Raw
from tests.targets.netns import Namespace


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
    with Raw(host, "late-answer", delay_ms=int(1_200 + 10 * SLACK_MS)) as server:
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
