"""Which agent is asked for which half, when, and what becomes of it."""

from __future__ import annotations

import numpy as np
import pytest

from aggregator.analysis.halves import Halves
from aggregator.analysis.peers import Peers
from aggregator.config import Halves as Settings
from aggregator.config import Limits
from aggregator.config import Peers as PeersSettings
from aggregator.ingest import content
from aggregator.metrics import Metrics
from proto import sonde_pb2 as pb
from sonde.batches import NO_EXCHANGE_ID, SLOW
from sonde.ids import exchange_ids
from tests.support.batches import Builder

CONNECTION = 77


def exchange(offset: int) -> int:
    return int(exchange_ids(np.array([CONNECTION], dtype=np.uint64), np.array([offset], dtype=np.uint64))[0])


class Fleet:
    """A client's host `web` and a server's host `app`, one connection, and a clock."""

    def __init__(self, **settings: float) -> None:
        self.now = 1_000.0
        self.metrics, self.peers = Metrics(), Peers(PeersSettings())
        self.halves = Halves(Settings.model_validate(settings), self.peers, self.metrics, lambda: self.now)
        self.asked: dict[str, list[int]] = {"web": [], "app": []}
        for host in self.asked:
            self.halves.hear(host, self.asked[host].extend)
        self.tell("web")
        self.tell("app")

    def builder(self, host: str) -> tuple[Builder, int]:
        made = Builder(host)
        if host == "web":
            return made, made.link("client", "nginx", "10.0.0.1", 40_000, "10.0.0.2", 80, CONNECTION)
        return made, made.link("server", "api", "10.0.0.2", 80, "10.0.0.1", 40_000, CONNECTION)

    def tell(self, host: str, *offsets: int, unsampled: bool = False, **given: int) -> None:
        """A batch of rows at these offsets."""
        made, link = self.builder(host)
        for offset in offsets:
            made.request(link, offset=offset, **given)
        if unsampled:
            made.unsampled(link, [100])
        read = content.read(made.build(), Limits())
        self.peers.learn_links(host, read.strings, read.sections["links"])
        self.halves.learn(read)

    def wait(self, seconds: float) -> None:
        self.now += seconds
        self.halves.tick()

    def outcomes(self) -> dict[str, int]:
        found = {
            sample.labels["outcome"]: int(sample.value)
            for metric in self.metrics.halves.collect()
            for sample in metric.samples
            if sample.name.endswith("_total")
        }
        return {name: count for name, count in found.items() if count}


@pytest.mark.parametrize("given", [{"flags": SLOW}, {"status": pb.SERVER_ERROR}, {"status": pb.NO_RESPONSE}])
def test_a_telling_row_without_its_half_is_asked_for_and_found(given: dict[str, int]) -> None:
    fleet = Fleet()
    fleet.tell("app", unsampled=True)
    fleet.tell("web", 100, **given)
    fleet.tell("web", 200)  # an ordinary row
    fleet.wait(0.5)
    assert fleet.asked == {"web": [], "app": []}  # it may still come on its own
    fleet.wait(0.6)
    assert fleet.asked == {"web": [], "app": [exchange(100)]}
    fleet.wait(1)
    assert fleet.asked["app"] == [exchange(100)]  # once
    fleet.tell("app", 100, weight=0)
    fleet.wait(60)
    assert fleet.outcomes() == {"asked": 1, "found": 1}


def test_the_client_is_asked_as_well() -> None:
    fleet = Fleet()
    fleet.tell("web", unsampled=True)
    fleet.tell("app", 100, flags=SLOW)
    fleet.wait(1.1)
    assert fleet.asked == {"web": [exchange(100)], "app": []}


def test_what_is_never_asked_for() -> None:
    fleet = Fleet()
    fleet.tell("web", 100, flags=SLOW)  # `app` sends all its rows
    fleet.tell("app", unsampled=True)
    fleet.tell("web", 200, flags=SLOW | NO_EXCHANGE_ID)
    fleet.tell("web", 300, flags=SLOW, weight=0)  # is itself an answer
    fleet.tell("web", 400, flags=SLOW)
    fleet.tell("app", 400)  # came on its own
    fleet.wait(1.1)
    assert fleet.asked == {"web": [], "app": [exchange(100)]}  # now it does not send all any more
    assert fleet.outcomes() == {"asked": 1, "came": 1}


def test_another_row_of_the_same_end_is_not_the_other_half() -> None:
    fleet = Fleet()
    fleet.tell("app", unsampled=True)
    fleet.tell("web", 100, flags=SLOW)
    fleet.tell("web", 100)
    fleet.wait(1.1)
    assert fleet.asked["app"] == [exchange(100)]
    fleet.tell("web", 100, weight=0)
    fleet.wait(30)
    assert fleet.outcomes() == {"asked": 1, "missing": 1}


def test_a_half_that_came_before_the_slow_row() -> None:
    fleet = Fleet()
    fleet.tell("app", 100, 200, unsampled=True)
    fleet.now += 3
    fleet.tell("web", 100, flags=SLOW)
    fleet.wait(1.1)
    assert fleet.asked["app"] == []
    assert fleet.outcomes() == {"came": 1}


def test_an_agent_that_sends_all_is_not_asked_and_the_question_is_forgotten() -> None:
    fleet = Fleet(give_up_s=20)
    fleet.tell("web", 100, flags=SLOW)
    fleet.wait(10)
    assert fleet.metrics.halves_open._value.get() == 1
    fleet.wait(11)
    assert fleet.outcomes() == {"not_asked": 1}
    assert fleet.metrics.halves_open._value.get() == 0


def test_no_answer_is_counted() -> None:
    fleet = Fleet()
    fleet.tell("app", unsampled=True)
    fleet.tell("web", 100, flags=SLOW)
    fleet.wait(1.1)
    fleet.wait(20)
    assert fleet.outcomes() == {"asked": 1, "missing": 1}


def test_an_agent_is_asked_for_so_many_a_second_the_longest_first() -> None:
    fleet = Fleet(per_agent_per_second=10)
    fleet.tell("app", unsampled=True)
    for number in range(30):
        fleet.tell("web", number, flags=SLOW, duration_us=1_000 + number)
    fleet.wait(1.1)
    assert fleet.asked["app"] == [exchange(number) for number in range(29, 19, -1)]
    fleet.wait(1)
    fleet.wait(1)
    assert len(set(fleet.asked["app"])) == len(fleet.asked["app"]) == 30


def test_open_questions_are_bounded() -> None:
    fleet = Fleet(pending=5)
    fleet.tell("app", unsampled=True)
    fleet.tell("web", *range(8), flags=SLOW)
    fleet.tell("web", *range(10, 14), flags=SLOW)
    fleet.wait(1.1)
    assert len(fleet.asked["app"]) == 5
    assert fleet.outcomes() == {"asked": 5, "over_limit": 7}


def test_what_came_is_remembered_within_bounds() -> None:
    fleet = Fleet(remembered_ids=100)
    for begin in range(0, 1_000, 50):
        fleet.tell("app", *range(begin, begin + 50), unsampled=True)
    assert fleet.halves._came_ids <= 100


def test_an_agent_that_left_is_not_asked() -> None:
    fleet = Fleet()
    fleet.tell("app", unsampled=True)
    fleet.halves.leave("app", fleet.asked["app"].extend)
    fleet.tell("web", 100, flags=SLOW)
    fleet.wait(1.1)
    assert fleet.asked["app"] == []
