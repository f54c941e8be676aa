"""Who is at the other end: each way to know it, each way not to."""

from __future__ import annotations

import pytest

from aggregator.analysis.peers import UNKNOWN, Bounded, Peers
from aggregator.config import Limits
from aggregator.config import Peers as Settings
from aggregator.ingest import content
from tests.support.batches import Builder


class Clock:
    now = 1000.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def peers(clock) -> Peers:
    made = Peers(Settings(settle_s=5), clock)
    for name, address in (("web", "10.0.0.1"), ("app", "10.0.0.2")):
        read = content.read(Builder(name, [address]).build(), Limits())
        made.learn_host(name, read.addresses, settled=True)
    made.settle()
    return made


def learn(peers: Peers, builder: Builder) -> content.Content:
    read = content.read(builder.build(), Limits())
    peers.learn_host(read.host.name, read.addresses)
    peers.learn_links(read.host.name, read.strings, read.sections["links"])
    peers.learn_endpoints(read.host.name, read.strings, read.sections["endpoints"])
    return read


def ends(peers: Peers, read: content.Content, give_up: bool = False):
    found = peers.resolve(read.host.name, read.sections["links"], give_up)
    names = found.ends.names
    pairs = zip(found.ends.remote_host, found.ends.remote_service, strict=True)
    return [(names[host], names[service]) for host, service in pairs], found.open


def web_to_app(remote: str = "10.0.0.2", connection: int = 7) -> Builder:
    builder = Builder("web", ["10.0.0.1"])
    builder.link("client", "nginx", "10.0.0.1", 40_000, remote, 8080, connection)
    return builder


def app_from_web(connection: int = 7) -> Builder:
    builder = Builder("app", ["10.0.0.2"])
    builder.link("server", "api", "10.0.0.2", 8080, "10.0.0.1", 40_000, connection)
    return builder


def test_both_ends_know_each_other_once_both_spoke(peers) -> None:
    web = learn(peers, web_to_app())
    assert ends(peers, web)[1] == 1
    app = learn(peers, app_from_web())
    assert ends(peers, app) == ([("web", "nginx")], 0)
    assert ends(peers, web) == ([("app", "api")], 0)


def test_a_client_is_resolved_by_a_listening_socket_before_the_server_speaks(peers) -> None:
    builder = Builder("app", ["10.0.0.2"])
    builder.endpoint("0.0.0.0", 8080, "api")
    builder.endpoint("10.0.0.99", 9090, "elsewhere")
    learn(peers, builder)
    assert ends(peers, learn(peers, web_to_app())) == ([("app", "api")], 0)


def test_a_server_row_never_guesses_by_port(peers) -> None:
    builder = Builder("web", ["10.0.0.1"])
    builder.endpoint("::", 40_000, "wrong")
    learn(peers, builder)
    assert ends(peers, learn(peers, app_from_web()))[1] == 1


def test_the_connection_wins_over_the_address(peers) -> None:
    """Behind NAT the client sees another address than the server's own."""
    learn(peers, app_from_web())
    assert ends(peers, learn(peers, web_to_app(remote="192.0.2.1"))) == ([("app", "api")], 0)


def test_loopback_has_both_ends_on_one_host(peers) -> None:
    builder = Builder("web", ["10.0.0.1"])
    builder.link("client", "app", "127.0.0.1", 40_000, "127.0.0.1", 6379, 9)
    builder.link("server", "redis", "127.0.0.1", 6379, "127.0.0.1", 40_000, 9)
    builder.link("client", "app", "::1", 40_001, "::1", 6379, 10)
    assert ends(peers, learn(peers, builder)) == ([("web", "redis"), ("web", "app"), (UNKNOWN, UNKNOWN)], 1)


def test_an_address_outside_the_fleet_is_its_own_name(peers) -> None:
    assert ends(peers, learn(peers, web_to_app(remote="203.0.113.5"))) == ([("203.0.113.5", "")], 0)


def test_addresses_outside_are_grouped_by_prefix_and_bounded(clock) -> None:
    peers = Peers(Settings(settle_s=0, outside_prefix_v4=24, outside_hosts=2), clock)
    builder = Builder("web", ["10.0.0.1"])
    for number, remote in enumerate(["203.0.113.5", "203.0.113.6", "198.51.100.1", "192.0.2.1", "2001:db8::1"]):
        builder.link("client", "nginx", "10.0.0.1", 40_000, remote, 80, 100 + number)
    names = [host for host, _ in ends(peers, learn(peers, builder))[0]]
    assert names == ["203.0.113.0/24", "203.0.113.0/24", "198.51.100.0/24", "~other", "~other"]


def test_a_new_fleet_settles_before_an_address_counts_as_outside(peers, clock) -> None:
    web = learn(peers, web_to_app(remote="10.0.0.3"))
    assert ends(peers, web) == ([("10.0.0.3", "")], 0)
    learn(peers, Builder("new", ["10.0.0.4"]))
    assert ends(peers, web)[1] == 1
    clock.now += 5
    assert ends(peers, web) == ([("10.0.0.3", "")], 0)


def test_what_was_given_up_is_not_waited_for_again_until_it_is_known(peers) -> None:
    web = learn(peers, web_to_app())
    assert ends(peers, web, give_up=True)[0] == [(UNKNOWN, UNKNOWN)]
    assert ends(peers, web) == ([(UNKNOWN, UNKNOWN)], 0)
    learn(peers, app_from_web())
    assert ends(peers, web) == ([("app", "api")], 0)


def test_a_refused_connection_has_a_host_and_no_service(peers) -> None:
    assert ends(peers, learn(peers, web_to_app(connection=0))) == ([("app", UNKNOWN)], 0)


def test_an_address_of_two_hosts_is_nobodys(peers) -> None:
    for name in ("a", "b"):
        builder = Builder(name, ["172.17.0.1"])
        builder.endpoint("::", 8080, name)
        learn(peers, builder)
    assert ends(peers, learn(peers, web_to_app(remote="172.17.0.1")))[1] == 1


def test_a_bounded_map_forgets_the_oldest_only() -> None:
    bounded: Bounded[int, int] = Bounded(10)
    for key in range(1000):
        bounded.set(key, key)
        bounded.set(-1, 5)
    assert len(bounded) <= 20
    assert bounded.get(999) == 999
    assert bounded.get(-1) == 5
    assert bounded.get(0) is None
