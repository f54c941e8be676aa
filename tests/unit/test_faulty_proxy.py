"""The proxy of tests/support/faulty_proxy.py does what its modes say, and nothing else."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from tests.support.faulty_proxy import FaultyProxy

PATIENCE_S = 20.0
BLOB = bytes(range(256)) * 1024


class Echo:
    """Sends back what comes."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.got = 0
        self._open: list[socket.socket] = []
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                accepted, _ = self._listener.accept()
                self._open.append(accepted)
                threading.Thread(target=self._serve, args=(accepted,), daemon=True).start()

    def _serve(self, accepted: socket.socket) -> None:
        with accepted, contextlib.suppress(OSError):
            while chunk := accepted.recv(1 << 16):
                self.got += len(chunk)
                accepted.sendall(chunk)

    def close(self) -> None:
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()
        for one in self._open:
            with contextlib.suppress(OSError):
                one.shutdown(socket.SHUT_RDWR)
            one.close()


@pytest.fixture
def echo() -> Iterator[Echo]:
    server = Echo()
    yield server
    server.close()


@pytest.fixture
def proxy(echo: Echo) -> Iterator[FaultyProxy]:
    with FaultyProxy(echo.port) as made:
        yield made


@contextlib.contextmanager
def connect(proxy: FaultyProxy) -> Iterator[socket.socket]:
    with socket.create_connection(("127.0.0.1", proxy.port), timeout=PATIENCE_S) as made:
        yield made


def read(client: socket.socket, size: int) -> bytes:
    """`size` bytes, fewer if the other side closes or resets."""
    got = b""
    with contextlib.suppress(ConnectionResetError):
        while len(got) < size and (chunk := client.recv(size - len(got))):
            got += chunk
    return got


def until(true: Callable[[], object]) -> None:
    deadline = time.monotonic() + PATIENCE_S
    while not true():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def echoed(client: socket.socket, blob: bytes) -> bytes:
    sender = threading.Thread(target=client.sendall, args=(blob,))
    sender.start()
    got = read(client, len(blob))
    sender.join(PATIENCE_S)
    return got


def test_it_passes_everything_on_and_both_ends(proxy: FaultyProxy) -> None:
    with connect(proxy) as one, connect(proxy) as other:
        assert echoed(one, BLOB) == BLOB
        assert echoed(other, b"x") == b"x"
        one.shutdown(socket.SHUT_WR)
        assert read(one, 1) == b""
        until(lambda: proxy.connections == 1)
    assert (proxy.accepted, proxy.bytes) == (2, {"up": len(BLOB) + 1, "down": len(BLOB) + 1})


def test_delay_holds_for_each_direction_and_not_for_the_rate(proxy: FaultyProxy) -> None:
    with connect(proxy) as client:
        proxy.delay(0.2)
        began = time.monotonic()
        assert echoed(client, BLOB) == BLOB
        assert time.monotonic() - began >= 0.4


def test_stall_is_half_open_and_loses_nothing(proxy: FaultyProxy, echo: Echo) -> None:
    with connect(proxy) as client:
        assert echoed(client, b"a") == b"a"
        proxy.stall()
        client.sendall(b"bcd")
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        assert echo.got == 1
        with connect(proxy) as late:  # accepted, and as silent
            late.sendall(b"z")
            late.settimeout(0.1)
            with pytest.raises(TimeoutError):
                late.recv(1)
            proxy.forward()
            late.settimeout(PATIENCE_S)
            assert read(late, 1) == b"z"
        client.settimeout(PATIENCE_S)
        assert read(client, 3) == b"bcd"


def test_stall_of_one_direction_lets_the_other_pass(proxy: FaultyProxy, echo: Echo) -> None:
    with connect(proxy) as client:
        proxy.stall("down")
        client.sendall(b"abc")
        until(lambda: echo.got == 3)
        client.settimeout(0.1)
        with pytest.raises(TimeoutError):
            client.recv(1)


def test_nobody_is_told_of_an_end_while_it_is_stalled(proxy: FaultyProxy, echo: Echo) -> None:
    with connect(proxy) as client:
        assert echoed(client, b"a") == b"a"
        proxy.stall()
        echo.close()
        client.settimeout(0.2)
        with pytest.raises(TimeoutError):
            client.recv(1)
        proxy.forward()
        client.settimeout(PATIENCE_S)
        assert read(client, 1) == b""


@pytest.mark.parametrize("direction", ["up", "down"])
def test_cut_ends_each_connection_at_the_byte(direction: str, proxy: FaultyProxy, echo: Echo) -> None:
    with connect(proxy) as client:
        assert echoed(client, BLOB[:100]) == BLOB[:100]
        proxy.cut(1000, direction)
        with contextlib.suppress(OSError):
            client.sendall(BLOB)
        got = read(client, len(BLOB))
        until(lambda: proxy.cuts == 1)
        if direction == "up":
            until(lambda: echo.got == 1100)
        else:
            assert len(got) == 1000
    with connect(proxy) as again:
        with contextlib.suppress(OSError):
            again.sendall(BLOB)
        read(again, len(BLOB))
    until(lambda: proxy.cuts == 2)
    proxy.forward()
    with connect(proxy) as healed:
        assert echoed(healed, BLOB) == BLOB


def test_refuse_resets_and_refuses_until_it_forwards(proxy: FaultyProxy) -> None:
    with connect(proxy) as client:
        assert echoed(client, b"a") == b"a"
        proxy.refuse()
        with pytest.raises(ConnectionResetError):
            client.recv(1)
    with pytest.raises(ConnectionRefusedError), connect(proxy):
        pass
    proxy.forward()
    with connect(proxy) as again:
        assert echoed(again, b"b") == b"b"
        proxy.drop()
        with pytest.raises(ConnectionResetError):
            again.recv(1)
    with connect(proxy) as more:
        assert echoed(more, b"c") == b"c"


def test_limit_bounds_the_rate_and_ends_at_once(proxy: FaultyProxy) -> None:
    with connect(proxy) as client:
        proxy.limit(50_000)
        began = time.monotonic()
        assert echoed(client, BLOB[:20_000]) == BLOB[:20_000]
        assert time.monotonic() - began >= 0.35
        sender = threading.Thread(target=client.sendall, args=(BLOB,))
        sender.start()
        proxy.limit(100)
        until(lambda: proxy.bytes["up"] > 20_000)
        proxy.forward()
        assert read(client, len(BLOB)) == BLOB
        sender.join(PATIENCE_S)


def test_a_server_that_is_away_ends_the_connection(echo: Echo, proxy: FaultyProxy) -> None:
    echo.close()
    with contextlib.suppress(ConnectionResetError), connect(proxy) as client:
        assert read(client, 1) == b""
    until(lambda: proxy.connections == 0)


def test_close_ends_a_stalled_proxy_and_frees_the_port(proxy: FaultyProxy) -> None:
    with connect(proxy) as client:
        client.sendall(b"x")
        proxy.stall()
        proxy.close()
        assert read(client, 10) in (b"", b"x")
    with pytest.raises(ConnectionRefusedError), connect(proxy):
        pass
