"""What this host is: kernel, distribution, addresses and listening sockets of the namespace in scope.

Read from /proc of a process inside the namespace, so that the agent needs not enter it.
"""

from __future__ import annotations

import ipaddress
import itertools
import os
import platform
import struct
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

_LISTEN = "0A"


@dataclass(frozen=True, slots=True)
class Endpoint:
    """One listening TCP socket; `address` is 16 bytes, IPv4 mapped."""

    address: bytes
    port: int
    pid: int


def distribution() -> str:
    """PRETTY_NAME of os-release."""
    try:
        return platform.freedesktop_os_release().get("PRETTY_NAME", platform.system())
    except OSError:
        return platform.system()


def _processes(proc: Path) -> list[int]:
    return [int(entry.name) for entry in proc.iterdir() if entry.name.isdigit()]


class Network:
    """The network namespace in scope, seen through a process inside it."""

    def __init__(self, inode: int, proc: Path = Path("/proc")) -> None:
        """`inode` of the namespace, 0 for the agent's own."""
        self._inode = inode
        self._proc = proc
        self._guide = os.getpid() if not inode else 0
        self._owners: dict[int, int] = {}

    def _namespace_of(self, pid: int) -> int:
        try:
            return (self._proc / str(pid) / "ns" / "net").stat().st_ino
        except OSError:
            return 0

    def _members(self) -> list[int]:
        inode = self._inode or self._namespace_of(os.getpid())
        return [pid for pid in _processes(self._proc) if self._namespace_of(pid) == inode]

    def _table(self, name: str) -> list[str]:
        if self._inode and self._namespace_of(self._guide) != self._inode:
            members = self._members()
            if not members:
                return []
            self._guide = members[0]
        try:
            return (self._proc / str(self._guide) / "net" / name).read_text(encoding="ascii").splitlines()
        except OSError:
            return []

    def addresses(self) -> list[str]:
        """Addresses of every interface, loopback and link-local left out, sorted."""
        found: set[str] = set()
        lines = self._table("fib_trie")
        for line, following in itertools.pairwise(lines):
            if "/32 host LOCAL" in following:
                found.add(line.split()[-1])
        found |= {str(ipaddress.IPv6Address(bytes.fromhex(line.split()[0]))) for line in self._table("if_inet6")}
        kept = [ipaddress.ip_address(address) for address in found]
        return sorted(str(address) for address in kept if not address.is_loopback and not address.is_link_local)

    def endpoints(self) -> list[Endpoint]:
        """Listening TCP sockets with their process."""
        sockets: dict[int, tuple[bytes, int]] = {}
        for name in ("tcp", "tcp6"):
            for line in self._table(name)[1:]:
                fields = line.split()
                if fields[3] != _LISTEN:
                    continue
                address, _, port = fields[1].partition(":")
                raw = struct.pack(
                    f"={len(address) // 8}I", *struct.unpack(f">{len(address) // 8}I", bytes.fromhex(address))
                )
                mapped = raw if len(raw) == 16 else (bytes(16) if raw == bytes(4) else bytes(10) + b"\xff\xff" + raw)
                sockets[int(fields[9])] = (mapped, int(port, 16))
        unknown = set(sockets) - set(self._owners)
        if unknown:
            self._find_owners(unknown)
        self._owners = {inode: pid for inode, pid in self._owners.items() if inode in sockets}
        return [Endpoint(*sockets[inode], pid) for inode, pid in sorted(self._owners.items())]

    def _find_owners(self, inodes: set[int]) -> None:
        for pid in self._members():
            try:
                for entry in os.scandir(self._proc / str(pid) / "fd"):
                    target = os.readlink(entry.path)
                    if target.startswith("socket:[") and int(target[8:-1]) in inodes:
                        # Of several, such as nginx's master and workers, the oldest stands for all.
                        self._owners.setdefault(int(target[8:-1]), pid)
            except OSError:
                continue


def addresses_of(texts: list[str]) -> npt.NDArray[np.uint8]:
    """Addresses as (n, 16) uint8, IPv4 mapped into IPv6."""
    out = np.zeros((len(texts), 16), dtype=np.uint8)
    for row, text in enumerate(texts):
        address = ipaddress.ip_address(text)
        packed = address.packed if address.version == 6 else bytes(10) + b"\xff\xff" + address.packed
        out[row] = np.frombuffer(packed, dtype=np.uint8)
    return out
