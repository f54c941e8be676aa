"""Hosts as network namespaces, joined by a bridge that has a namespace of its own.

Invariants:
    - The root namespace gets no interface, address or route: nothing collides with what the machine has.
    - A name starts with a prefix, the owner's pid and a number; so leftovers of a killed owner can be told from
      the namespaces of a living one, and only the former are removed.
    - Removing a namespace first ends every process inside it: also those whose parent was killed.
"""

from __future__ import annotations

import contextlib
import ctypes
import itertools
import os
import shutil
import signal
import socket
import subprocess
import time
from collections.abc import Iterator
from pathlib import Path
from types import TracebackType

RUN_NETNS = Path("/run/netns")
TEST_PREFIX = "sonde-t"
_CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)
_numbers = itertools.count(1)


class NamespaceError(RuntimeError):
    """`ip` refused; the message is its own."""


def run_ip(*arguments: str) -> str:
    """Output of `ip`; raises NamespaceError."""
    done = subprocess.run(["ip", *arguments], capture_output=True, text=True)
    if done.returncode:
        raise NamespaceError(f"ip {' '.join(arguments)}: {done.stderr.strip()}")
    return done.stdout


def available() -> str:
    """Why namespaces cannot be made here, or an empty string."""
    if os.geteuid():
        return "network namespaces need root"
    if not shutil.which("ip"):
        return "network namespaces need `ip` (package iproute2)"
    return ""


def _setns(descriptor: int) -> None:
    if _libc.setns(descriptor, _CLONE_NEWNET):
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))


def die_with_parent(*argv: str) -> list[str]:
    """The command line that runs `argv` with the same pid, killed when the thread that started it ends."""
    return ["setpriv", "--pdeathsig", "KILL", *argv]


class Namespace:
    """One host: a network namespace with its loopback up."""

    def __init__(self, name: str, address: str = "127.0.0.1") -> None:
        self.name = name
        self.address = address
        self.path = RUN_NETNS / name
        run_ip("netns", "add", name)
        try:
            run_ip("-n", name, "link", "set", "lo", "up")
            self.inode = self.path.stat().st_ino
        except BaseException:
            remove(name)
            raise

    @contextlib.contextmanager
    def entered(self) -> Iterator[Namespace]:
        """This thread's new sockets belong to the namespace inside the block, and stay in it after."""
        with open("/proc/thread-self/ns/net", "rb") as before, self.path.open("rb") as inside:
            _setns(inside.fileno())
            try:
                yield self
            finally:
                _setns(before.fileno())

    def tcp(self, family: int = socket.AF_INET) -> socket.socket:
        """A TCP socket that belongs to the namespace."""
        with self.entered():
            return socket.socket(family)

    def connect(self, address: str, port: int, timeout: float = 10) -> socket.socket:
        """A TCP connection made from inside the namespace, without Nagle's delay."""
        with self.entered():
            made = socket.create_connection((address, port), timeout)
        made.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return made

    def command(self, *argv: str) -> list[str]:
        """The command line that runs `argv` inside; it keeps its pid and dies with the thread that started it."""
        return die_with_parent("nsenter", f"--net={self.path}", "--", *argv)

    def run(self, *argv: str, timeout: float = 60) -> str:
        """Runs a command inside to its end and returns its output; raises CalledProcessError if it fails."""
        done = subprocess.run(self.command(*argv), capture_output=True, text=True, timeout=timeout, check=True)
        return done.stdout

    def close(self) -> None:
        """Ends the processes inside and removes the namespace."""
        remove(self.name)

    def __enter__(self) -> Namespace:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


class Network:
    """Several hosts, `prefix`.11, .12, ... on one bridge (10.87.0 and fd87:: unless told), `network["web"]` each."""

    def __init__(self, *hosts: str, prefix: str = "10.87.0", label: str = TEST_PREFIX) -> None:
        self._stack = contextlib.ExitStack()
        self._hosts: dict[str, Namespace] = {}
        self._ports: dict[str, str] = {}
        base = f"{label}-{os.getpid()}-{next(_numbers)}"
        try:
            switch = self.switch = self._stack.enter_context(Namespace(f"{base}-switch"))
            run_ip("-n", switch.name, "link", "add", "br0", "type", "bridge")
            run_ip("-n", switch.name, "link", "set", "br0", "up")
            for number, host in enumerate(hosts, 11):
                space = self._stack.enter_context(Namespace(f"{base}-{host}", f"{prefix}.{number}"))
                self._hosts[host] = space
                port = self._ports[host] = f"port{number}"
                run_ip("-n", switch.name, "link", "add", port, "type", "veth", "peer", "eth0", "netns", space.name)
                run_ip("-n", switch.name, "link", "set", port, "master", "br0", "up")
                run_ip("-n", space.name, "addr", "add", f"{space.address}/24", "dev", "eth0")
                run_ip("-n", space.name, "addr", "add", f"fd87::{number}/64", "dev", "eth0", "nodad")
                run_ip("-n", space.name, "link", "set", "eth0", "up")
        except BaseException:
            self._stack.close()
            raise

    def __getitem__(self, host: str) -> Namespace:
        return self._hosts[host]

    def __iter__(self) -> Iterator[str]:
        return iter(self._hosts)

    def port(self, host: str) -> str:
        """Name of the interface on the switch that leads to `host`."""
        return self._ports[host]

    def close(self) -> None:
        """Removes all hosts and the bridge."""
        self._stack.close()

    def __enter__(self) -> Network:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.close()


def pids(name: str) -> list[int]:
    """The processes inside a namespace."""
    if not (RUN_NETNS / name).exists():
        return []
    return [int(pid) for pid in run_ip("netns", "pids", name).split()]


def remove(name: str, patience_s: float = 5) -> None:
    """Ends every process inside (TERM, then KILL), then deletes the namespace. Safe to call twice."""
    # This process may be inside through `entered`: it must not end itself.
    own = os.getpid()
    for kind, wait_s in ((signal.SIGTERM, patience_s), (signal.SIGKILL, 5.0)):
        deadline = time.monotonic() + wait_s
        inside = [pid for pid in pids(name) if pid != own]
        for pid in inside:
            with contextlib.suppress(ProcessLookupError):
                os.kill(pid, kind)
        while inside and time.monotonic() < deadline:
            time.sleep(0.02)
            inside = [pid for pid in pids(name) if pid != own and not _is_zombie(pid)]
        if not inside:
            break
    if (RUN_NETNS / name).exists():
        run_ip("netns", "del", name)


def _is_zombie(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z"
    except OSError:
        return True


def remove_leftovers(label: str = TEST_PREFIX) -> list[str]:
    """Removes the namespaces of owners that no longer live; returns their names."""
    gone = []
    for path in sorted(RUN_NETNS.glob(f"{label}-*")):
        owner = path.name[len(label) + 1 :].partition("-")[0]
        if owner.isdigit() and not Path(f"/proc/{owner}").exists():
            remove(path.name, patience_s=0.5)
            gone.append(path.name)
    return gone
