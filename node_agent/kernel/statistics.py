"""The kernel's run-time statistics of BPF programs: on while a descriptor is held, which only CAP_SYS_ADMIN may have.

An agent without that capability asks a helper that has no other task, over a socket in /run/sonde that systemd gives to
the agent's user alone. The helper answers each connection with one such descriptor; what it was asked, it does not
read. Run as `python -m node_agent.kernel.statistics` by sonde-agent-statistics.socket.

Only the standard library is imported: the helper lives as long as the agent.
"""

from __future__ import annotations

import array
import contextlib
import ctypes
import os
import platform
import socket
import struct
import sys
from pathlib import Path

SOCKET = Path("/run/sonde/statistics.sock")

_NUMBER = {"x86_64": 321, "aarch64": 280}
_ENABLE_STATS, _ATTRIBUTE_BYTES = 32, 144
_PATIENCE_S = 5.0
_FIRST_PASSED = 3  # SD_LISTEN_FDS_START
_libc = ctypes.CDLL(None, use_errno=True)


def enable() -> int:
    """A descriptor that keeps statistics on until it is closed; OSError if the kernel refuses."""
    attribute = ctypes.create_string_buffer(struct.pack("=I", 0), _ATTRIBUTE_BYTES)
    descriptor: int = _libc.syscall(_NUMBER[platform.machine()], _ENABLE_STATS, attribute, _ATTRIBUTE_BYTES)
    if descriptor < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return descriptor


def ask(place: Path = SOCKET) -> int:
    """Such a descriptor from the helper; OSError if there is none, or if it has none to give."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as channel:
        channel.settimeout(_PATIENCE_S)
        channel.connect(str(place))
        _, descriptors, _, _ = socket.recv_fds(channel, 1, 1)
    if not descriptors:
        raise OSError("the helper sonde-agent-statistics has no descriptor to give")
    return descriptors[0]


def answer(listening: socket.socket) -> None:
    """One connection: a descriptor, or an empty answer where the kernel refuses."""
    channel, _ = listening.accept()
    with channel, contextlib.suppress(OSError):  # who asked may be gone
        channel.settimeout(_PATIENCE_S)
        descriptor = enable()
        try:
            channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [descriptor]))])
        finally:
            os.close(descriptor)


def main() -> None:
    """Answer on the socket that systemd passes."""
    if os.environ.get("LISTEN_FDS") != "1":
        sys.exit("sonde: node_agent.kernel.statistics is started by sonde-agent-statistics.socket, not by hand")
    with socket.socket(fileno=_FIRST_PASSED) as listening:
        while True:
            answer(listening)


if __name__ == "__main__":
    main()
