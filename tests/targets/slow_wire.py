"""A wire between two hosts that holds back some of what one of them sends, for a time; nothing else is changed.

`SlowWire(network, "web", "db")` takes the place of the bridge between these two: a process in the bridge's namespace
copies frames from one host's port to the other's (AF_PACKET). One in `one_in` TCP segments with data from the first
host to the second opens a pause of its connection in that direction: everything of it waits for `delay_ms`, then
leaves in order. So both ends keep one connection and its sequence numbers, and only its client is kept waiting.

    python -m tests.targets.slow_wire PORT_A PORT_B DELAY_MS ONE_IN
"""

from __future__ import annotations

import heapq
import random
import select
import socket
import struct
import sys
import time
from types import TracebackType

from tests.targets.netns import Network, run_ip
from tests.targets.process import Process, TargetError

_ALL_PROTOCOLS = 0x0003
_SOL_PACKET, _PACKET_VNET_HDR, _PACKET_IGNORE_OUTGOING = 263, 15, 23
#: struct virtio_net_hdr: carries unfinished checksums and segment sizes from one socket to the other.
_HEADER_BYTES = 10
_FRAME_BYTES = 1 << 17
_READY = "copying"


class SlowWire:
    """In force inside the block."""

    def __init__(self, network: Network, first: str, second: str, delay_ms: int, one_in: int) -> None:
        self._switch = network.switch
        self._ports = network.port(first), network.port(second)
        self._copier = Process(
            self._switch, sys.executable, "-m", "tests.targets.slow_wire", *self._ports, str(delay_ms), str(one_in)
        )

    def __enter__(self) -> SlowWire:
        for port in self._ports:
            run_ip("-n", self._switch.name, "link", "set", port, "nomaster")
        self._copier.start()
        deadline = time.monotonic() + 30
        while _READY not in self._copier.tail():
            if time.monotonic() > deadline:
                raise TargetError(f"the wire does not copy: {self._copier.tail()}")
            time.sleep(0.02)
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._copier.stop()
        for port in self._ports:
            run_ip("-n", self._switch.name, "link", "set", port, "master", "br0")


def _opened(port: str) -> socket.socket:
    made = socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(_ALL_PROTOCOLS))
    made.setsockopt(_SOL_PACKET, _PACKET_VNET_HDR, 1)
    made.setsockopt(_SOL_PACKET, _PACKET_IGNORE_OUTGOING, 1)
    made.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 8 << 20)
    made.bind((port, 0))
    return made


def _data_of(frame: bytes) -> bytes | None:
    """What tells the connection and direction of an IPv4 TCP segment with data; None for anything else."""
    ip = _HEADER_BYTES + 14
    if frame[ip - 2 : ip] != b"\x08\x00" or frame[ip + 9] != socket.IPPROTO_TCP:
        return None
    tcp = ip + (frame[ip] & 15) * 4
    (length,) = struct.unpack_from("!H", frame, ip + 2)
    data = length - (tcp - ip) - (frame[tcp + 12] >> 4) * 4
    return frame[ip + 12 : ip + 20] + frame[tcp : tcp + 4] if data > 0 else None


def _copy(first: socket.socket, second: socket.socket, delay_s: float, one_in: int) -> None:
    held: list[tuple[float, int, bytes]] = []
    paused: dict[bytes, float] = {}
    number = 0
    while True:
        now = time.monotonic()
        while held and held[0][0] <= now:
            second.send(heapq.heappop(held)[2])
        wait = max(held[0][0] - now, 0) if held else None
        for ready in select.select([first, second], [], [], wait)[0]:
            frame = ready.recv(_FRAME_BYTES)
            if ready is second:
                first.send(frame)
                continue
            now = time.monotonic()
            flow = _data_of(frame)
            until = paused.get(flow, 0.0) if flow else 0.0
            if flow and until <= now and random.randrange(one_in) == 0:
                until = paused[flow] = now + delay_s
            if until > now:
                number += 1
                heapq.heappush(held, (until, number, frame))
            else:
                second.send(frame)


def main() -> None:
    """Copy until killed."""
    first, second = _opened(sys.argv[1]), _opened(sys.argv[2])
    print(_READY, flush=True)
    _copy(first, second, int(sys.argv[3]) / 1000, int(sys.argv[4]))


if __name__ == "__main__":
    main()
