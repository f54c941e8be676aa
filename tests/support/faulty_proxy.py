"""A TCP proxy on loopback that misbehaves on demand: a network, or a server, that fails.

    with FaultyProxy(port) as proxy:
        connect_to(proxy.address)
        proxy.stall()      # half-open: everything stays connected, no byte moves
        proxy.forward()    # as nothing had been; the bytes that waited arrive

A mode holds for all connections, those that exist included, from the call on until the next call. No byte is lost,
changed or reordered unless the connection is cut. Directions are "up" (to the server) and "down" (to the client).
One thread runs all connections; nothing polls. `close` ends everything, whatever the mode.
"""

from __future__ import annotations

import asyncio
import contextlib
import math
import socket
import struct
import threading
from collections.abc import Coroutine
from dataclasses import dataclass, field
from typing import Any

_CHUNK_BYTES = 1 << 16
_QUEUED_CHUNKS = 256  # on their way while delayed; more wait in the sender
_PIECE_S = 0.05  # a limited rate goes in pieces of so many seconds
_CONNECT_S = 5.0
_FAREWELL_S = 1.0
_CALL_S = 30.0
DIRECTIONS = ("up", "down")


@dataclass(frozen=True)
class Mode:
    """What the proxy does to every byte."""

    stalled: tuple[str, ...] = ()
    delay_s: float = 0.0
    bytes_per_s: float = math.inf
    cut_after_bytes: float = math.inf
    cut_direction: str = "up"
    refuse: bool = False


@dataclass(eq=False)
class _Connection:
    client: socket.socket
    server: socket.socket
    tasks: list[asyncio.Task[None]] = field(default_factory=list)
    passed: dict[str, int] = field(default_factory=lambda: dict.fromkeys(DIRECTIONS, 0))  # since the mode began
    ended: set[str] = field(default_factory=set)  # directions in which the sender closed

    def close(self, reset: bool) -> None:
        for one in (self.client, self.server):
            if reset:
                with contextlib.suppress(OSError):
                    one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            one.close()


class FaultyProxy:
    """Between clients of `address` and the server on `target_port`."""

    def __init__(self, target_port: int, host: str = "127.0.0.1") -> None:
        self._target, self._host = target_port, host
        self._mode = Mode()
        self._connections: set[_Connection] = set()
        self._accepting: asyncio.Task[None] | None = None
        self._listener: socket.socket | None = None
        # Bound, never listening: keeps the port ours while connections to it are refused.
        self._reserved = self._bind(0)
        self.port: int = self._reserved.getsockname()[1]
        self.accepted = 0  # connections so far
        self.cuts = 0  # connections that `cut` ended so far
        self.bytes = dict.fromkeys(DIRECTIONS, 0)  # passed on so far
        self._loop = asyncio.new_event_loop()
        self._flowing = {direction: asyncio.Event() for direction in DIRECTIONS}
        self._thread = threading.Thread(target=self._loop.run_forever, name="faulty-proxy", daemon=True)
        self._thread.start()
        self.forward()

    def __enter__(self) -> FaultyProxy:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    @property
    def address(self) -> str:
        """host:port for clients."""
        return f"{self._host}:{self.port}"

    @property
    def connections(self) -> int:
        """Open now."""
        return len(self._connections)

    # Modes

    def forward(self) -> None:
        """Pass everything on."""
        self._switch(Mode())

    def delay(self, seconds: float) -> None:
        """Every byte arrives this much later, in each direction; the rate stays."""
        self._switch(Mode(delay_s=seconds))

    def stall(self, *directions: str) -> None:
        """Half-open: no byte moves in these directions (none given: both) and no end is told that the other closed.

        New connections are accepted and stalled as well. Senders get stuck when the kernel's buffers are full.
        """
        self._switch(Mode(stalled=directions or DIRECTIONS))

    def limit(self, bytes_per_s: float) -> None:
        """At most this rate for each connection, in each direction."""
        self._switch(Mode(bytes_per_s=bytes_per_s))

    def cut(self, after_bytes: int, direction: str = "up") -> None:
        """Close each connection once it has passed so many more bytes in `direction`, in mid-frame or not."""
        self._switch(Mode(cut_after_bytes=after_bytes, cut_direction=direction))

    def refuse(self) -> None:
        """As if nobody listened: connections are reset, new ones refused."""
        self._switch(Mode(refuse=True))

    def drop(self) -> None:
        """Reset the connections of this moment; the mode stays."""
        self._call(self._drop(reset=True))

    def close(self) -> None:
        """End everything."""
        if self._loop.is_closed():
            return
        self._switch(Mode(refuse=True))
        self._call(self._rest())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(_CALL_S)
        self._loop.close()
        self._reserved.close()

    def _call(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_CALL_S)

    def _switch(self, mode: Mode) -> None:
        self._call(self._apply(mode))

    async def _apply(self, mode: Mode) -> None:
        self._mode = mode
        for connection in self._connections:
            connection.passed = dict.fromkeys(DIRECTIONS, 0)
        for direction, event in self._flowing.items():
            (event.clear if direction in mode.stalled else event.set)()
        if mode.refuse:
            await self._stop_listening()
            await self._drop(reset=True)
        elif self._listener is None:
            self._listener = self._bind(self.port)
            self._listener.listen(128)
            self._accepting = self._loop.create_task(self._accept(self._listener))

    # Connections; everything below runs in the proxy's thread, but for the first _bind

    def _bind(self, port: int) -> socket.socket:
        made = socket.socket()
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        made.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        made.setblocking(False)
        made.bind((self._host, port))
        return made

    async def _stop_listening(self) -> None:
        if self._accepting is not None and self._listener is not None:
            self._accepting.cancel()
            await asyncio.gather(self._accepting, return_exceptions=True)
            self._listener.close()
        self._accepting = self._listener = None

    async def _drop(self, reset: bool) -> None:
        for connection in list(self._connections):
            await self._end(connection, reset)

    async def _rest(self) -> None:
        await asyncio.gather(*(asyncio.all_tasks() - {asyncio.current_task()}), return_exceptions=True)

    async def _end(self, connection: _Connection, reset: bool) -> None:
        if connection not in self._connections:
            return
        self._connections.discard(connection)
        others = [task for task in connection.tasks if task is not asyncio.current_task()]
        for task in others:
            task.cancel()
        await asyncio.gather(*others, return_exceptions=True)
        if not reset:
            # Closing a socket with unread bytes would reset it, and take back what was just passed on.
            await asyncio.gather(self._farewell(connection.client), self._farewell(connection.server))
        connection.close(reset)

    async def _farewell(self, one: socket.socket) -> None:
        async def read_all() -> None:
            while await self._loop.sock_recv(one, _CHUNK_BYTES):
                pass

        with contextlib.suppress(OSError, asyncio.TimeoutError):
            one.shutdown(socket.SHUT_WR)
            await asyncio.wait_for(read_all(), _FAREWELL_S)

    async def _accept(self, listener: socket.socket) -> None:
        while True:
            client, _ = await self._loop.sock_accept(listener)
            server = socket.socket()
            for one in (client, server):
                one.setblocking(False)
                one.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            self.accepted += 1
            connection = _Connection(client, server)
            self._connections.add(connection)
            connection.tasks.append(self._loop.create_task(self._serve(connection)))

    async def _serve(self, connection: _Connection) -> None:
        try:
            connect = self._loop.sock_connect(connection.server, (self._host, self._target))
            await asyncio.wait_for(connect, _CONNECT_S)
        except (OSError, asyncio.TimeoutError):
            await self._end(connection, reset=True)
            return
        if connection not in self._connections:  # wait_for of Python 3.11 can lose a cancellation
            return
        ends = {"up": (connection.client, connection.server), "down": (connection.server, connection.client)}
        for direction, (source, sink) in ends.items():
            queue: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(_QUEUED_CHUNKS)
            for work in (self._read(direction, source, queue), self._write(connection, direction, sink, queue)):
                connection.tasks.append(self._loop.create_task(work))

    async def _read(self, direction: str, source: socket.socket, queue: asyncio.Queue[tuple[float, bytes]]) -> None:
        chunk = b"more"
        while chunk:
            await self._flowing[direction].wait()
            try:
                chunk = await self._loop.sock_recv(source, _CHUNK_BYTES)
            except OSError:
                chunk = b""
            await queue.put((self._loop.time() + self._mode.delay_s, chunk))

    async def _write(
        self, connection: _Connection, direction: str, sink: socket.socket, queue: asyncio.Queue[tuple[float, bytes]]
    ) -> None:
        try:
            while True:
                due, chunk = await queue.get()
                await asyncio.sleep(max(due - self._loop.time(), 0))
                await self._flowing[direction].wait()
                if not chunk:
                    sink.shutdown(socket.SHUT_WR)
                    break
                if not await self._pass(connection, direction, sink, chunk):
                    self.cuts += 1
                    await self._end(connection, reset=False)
                    return
        except OSError:
            await self._end(connection, reset=True)
            return
        connection.ended.add(direction)
        if len(connection.ended) == len(DIRECTIONS):
            await self._end(connection, reset=False)

    async def _pass(self, connection: _Connection, direction: str, sink: socket.socket, chunk: bytes) -> bool:
        """Whether the connection goes on."""
        while chunk:
            await self._flowing[direction].wait()
            mode = self._mode  # read for each piece: a new mode holds at once
            cuts = mode.cut_direction == direction
            left = mode.cut_after_bytes - connection.passed[direction] if cuts else math.inf
            piece = chunk[: int(max(min(left, mode.bytes_per_s * _PIECE_S, len(chunk)), 1 if left > 0 else 0))]
            await self._loop.sock_sendall(sink, piece)
            connection.passed[direction] += len(piece)
            self.bytes[direction] += len(piece)
            if left <= len(piece):
                return False
            chunk = chunk[len(piece) :]
            await asyncio.sleep(len(piece) / mode.bytes_per_s)
        return True
