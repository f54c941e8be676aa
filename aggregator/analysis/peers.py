"""Who is at the other end of a connection: remote_host and remote_service of every link of a batch.

What is known comes from all agents: each link of a batch of host H says that H's service is one end of connection_id;
hosts say their addresses, and endpoints which service listens where. A link is resolved by the first of these:

1. the connection's other end, as its own agent told it (right behind NAT as well);
2. for a client's link, the service that listens at the remote address and port of a fleet host;
3. the address itself, grouped by prefix, when no fleet host has it: a peer outside, service ''.

Otherwise the peer is inside the fleet and its agent has not spoken yet: the link is open, and the caller waits. What
is given up reads `~unknown`, and is not waited for again until it becomes known.

Invariants: memory is bounded (two generations per map: a full young one becomes the old, the old one is dropped; an
active connection is told again with each batch and so stays); resolving never loops over rows, only over links.
All public methods are thread-safe.
"""

from __future__ import annotations

import ipaddress
import threading
import time
from collections.abc import Callable, Hashable, Iterable
from dataclasses import dataclass
from typing import Generic, TypeVar

import numpy as np
import numpy.typing as npt

from aggregator.config import Peers as PeersSettings
from aggregator.ingest.batch import Ends
from aggregator.ingest.content import Columns, packed
from proto import sonde_pb2 as pb

UNKNOWN, OTHER = "~unknown", "~other"
_MAPPED = b"\0" * 10 + b"\xff\xff"
_ANY = (b"\0" * 16, _MAPPED + b"\0" * 4)
_LOOPBACK_V6 = b"\0" * 15 + b"\x01"
_OUTSIDE_FORGOTTEN_S = 3600.0
#: Addresses whose names are kept at hand.
_OUTSIDE_ADDRESSES = 200_000

End = tuple[str, str]
Key = TypeVar("Key", bound=Hashable)
Value = TypeVar("Value")


class Bounded(Generic[Key, Value]):
    """A map of at most 2 * `size` entries that forgets what was not set for longest."""

    def __init__(self, size: int) -> None:
        self._size = size
        self._young: dict[Key, Value] = {}
        self._old: dict[Key, Value] = {}

    def set(self, key: Key, value: Value) -> None:
        """Put `value` at `key`, as the youngest."""
        if len(self._young) >= self._size:
            self._old, self._young = self._young, {}
        self._young[key] = value

    def get(self, key: Key) -> Value | None:
        """Value at `key`; None without one."""
        found = self._young.get(key)
        return self._old.get(key) if found is None else found

    def __len__(self) -> int:
        return len(self._young) + len(self._old)


@dataclass(frozen=True)
class Resolution:
    """Ends of a batch's links and how many of them are open."""

    ends: Ends
    open: int


def is_loopback(address: bytes) -> bool:
    """Whether 16 bytes of address mean the host itself."""
    return address == _LOOPBACK_V6 or (address.startswith(_MAPPED) and address[12] == 127)


class Peers:
    """What the fleet told of its connections, addresses and endpoints."""

    def __init__(self, settings: PeersSettings, clock: Callable[[], float] = time.monotonic) -> None:
        self._settings = settings
        self._clock = clock
        self._lock = threading.Lock()
        self._clients: Bounded[int, End] = Bounded(settings.connections)
        self._servers: Bounded[int, End] = Bounded(settings.connections)
        self._given_up: Bounded[tuple[int, int, bytes, int], bool] = Bounded(settings.connections)
        self._hosts_of: dict[bytes, set[str]] = {}
        self._addresses: dict[str, frozenset[bytes]] = {}
        self._listening: dict[str, dict[int, dict[bytes, str]]] = {}
        self._outside: dict[bytes, str] = {}
        self._outside_names: set[str] = set()
        self._outside_since = clock()
        self._new_host_at = clock()

    def learn_host(self, host: str, addresses: Iterable[bytes], settled: bool = False) -> None:
        """The addresses of a host replace those it had; `settled`: it was known before this process started."""
        told = frozenset(addresses)
        with self._lock:
            before = self._addresses.get(host)
            if before == told:
                return
            for gone in (before or frozenset()) - told:
                self._hosts_of.get(gone, set()).discard(host)
            for address in told:
                self._hosts_of.setdefault(address, set()).add(host)
            self._addresses[host] = told
            if not settled:
                self._new_host_at = self._clock()

    def settle(self) -> None:
        """The fleet is known from the store: do not wait for hosts to appear."""
        with self._lock:
            self._new_host_at = self._clock() - self._settings.settle_s

    def learn_links(self, host: str, strings: list[str], links: Columns) -> None:
        """Each link says that `host` has one end of its connection."""
        ids = links["connection_id"].tolist()
        with self._lock:
            for connection, role, service in zip(ids, links["role"].tolist(), links["service"].tolist(), strict=True):
                if connection:
                    ends = self._clients if role == pb.CLIENT else self._servers
                    ends.set(connection, (host, strings[service]))

    def learn_end(self, connection: int, role: int, host: str, service: str) -> None:
        """One end, from the store."""
        with self._lock:
            (self._clients if role == pb.CLIENT else self._servers).set(connection, (host, service))

    def learn_endpoint(self, host: str, address: bytes, port: int, service: str) -> None:
        """A service of `host` listens at address and port."""
        with self._lock:
            self._listening.setdefault(host, {}).setdefault(port, {})[address] = service

    def learn_endpoints(self, host: str, strings: list[str], rows: Columns) -> None:
        """All of a batch's endpoints."""
        told = zip(rows["address"], rows["port"].tolist(), rows["service"].tolist(), strict=True)
        for address, port, service in told:
            self.learn_endpoint(host, address.tobytes(), port, strings[service])

    def end(self, connection: int, role: int) -> End | None:
        """Host and service at one end of a connection, as its own agent told; None if none did."""
        with self._lock:
            return (self._clients if role == pb.CLIENT else self._servers).get(connection)

    def resolve(self, host: str, links: Columns, give_up: bool = False) -> Resolution:
        """The other end of every link of a batch of `host`; open ones read `~unknown`."""
        count = len(links["role"])
        names: dict[str, int] = {"": 0}
        remote_host = np.zeros(count, dtype=np.int32)
        remote_service = np.zeros(count, dtype=np.int32)
        open_links = 0
        remote_ips = np.ascontiguousarray(links["remote_ip"]).tobytes()
        with self._lock:
            settling = self._clock() - self._new_host_at < self._settings.settle_s
            rows = zip(
                links["connection_id"].tolist(), links["role"].tolist(), links["remote_port"].tolist(), strict=True
            )
            for index, (connection, role, port) in enumerate(rows):
                address = remote_ips[16 * index : 16 * index + 16]
                end = self._find(host, connection, role, address, port, settling)
                if end is None:
                    key = (connection, role, address, 0 if connection else port)
                    if give_up:
                        self._given_up.set(key, True)
                        end = (UNKNOWN, UNKNOWN)
                    elif self._given_up.get(key):
                        end = (UNKNOWN, UNKNOWN)
                    else:
                        open_links += 1
                        end = (UNKNOWN, UNKNOWN)
                remote_host[index] = names.setdefault(end[0], len(names))
                remote_service[index] = names.setdefault(end[1], len(names))
        return Resolution(Ends(list(names), remote_host, remote_service), open_links)

    def _find(self, host: str, connection: int, role: int, address: bytes, port: int, settling: bool) -> End | None:
        if connection:
            end = (self._servers if role == pb.CLIENT else self._clients).get(connection)
            if end is not None:
                return end
        owner = self._owner(host, address)
        if owner is None:
            if settling:
                return None
            return self._outside_name(address), ""
        if role == pb.CLIENT and owner:
            service = self._service(owner, address, port)
            if service is not None:
                return owner, service
            if not connection:
                return owner, UNKNOWN
        return None

    def _owner(self, host: str, address: bytes) -> str | None:
        """The one fleet host with that address; '' if several have it; None if none has."""
        if is_loopback(address):
            return host
        owners = self._hosts_of.get(address)
        if not owners:
            return None
        if host in owners:
            return host
        return next(iter(owners)) if len(owners) == 1 else ""

    def _service(self, owner: str, address: bytes, port: int) -> str | None:
        listening = self._listening.get(owner, {}).get(port)
        if not listening:
            return None
        for candidate in (address, *_ANY):
            if candidate in listening:
                return listening[candidate]
        return None

    def _outside_name(self, address: bytes) -> str:
        now = self._clock()
        if now - self._outside_since > _OUTSIDE_FORGOTTEN_S:
            self._outside, self._outside_names, self._outside_since = {}, set(), now
        if len(self._outside) >= _OUTSIDE_ADDRESSES:
            self._outside = {}
        name = self._outside.get(address)
        if name is None:
            name = self._outside[address] = self._new_outside_name(address)
        return name

    def _new_outside_name(self, address: bytes) -> str:
        v4 = address.startswith(_MAPPED)
        prefix = self._settings.outside_prefix_v4 if v4 else self._settings.outside_prefix_v6
        data = address[12:] if v4 else address
        network = ipaddress.ip_network((data, prefix), strict=False)
        name = str(network.network_address) if prefix == len(data) * 8 else str(network)
        if name not in self._outside_names:
            if len(self._outside_names) >= self._settings.outside_hosts:
                return OTHER
            self._outside_names.add(name)
        return name


def packed_addresses(texts: Iterable[str]) -> list[bytes]:
    """Addresses of the `hosts` table as 16 bytes each."""
    return [packed(ipaddress.ip_address(text)) for text in texts]


def count_unknown(ends: Ends) -> int:
    """Links whose service at the other end is `~unknown`."""
    if UNKNOWN not in ends.names:
        return 0
    matches: npt.NDArray[np.bool_] = ends.remote_service == ends.names.index(UNKNOWN)
    return int(matches.sum())
