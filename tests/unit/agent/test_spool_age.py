"""How old a batch is: whatever the system's clock is set to, nothing is dropped early or kept longer."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from node_agent.delivery import spool_mark
from node_agent.delivery.spool import Spool
from tests.support.spools import batch, killed, make, numbers

HOUR = 3600
MAX_AGE = 600


class Machine:
    """Its clock can be set; the time since boot goes on."""

    def __init__(self) -> None:
        self.unix, self.since_boot = 1_800_000_000.0, 1_000.0

    def passes(self, seconds: float) -> None:
        self.unix += seconds
        self.since_boot += seconds

    def set(self, seconds: float) -> None:
        self.unix += seconds

    @property
    def clocks(self) -> dict[str, Any]:
        return {"max_age_seconds": MAX_AGE, "clock": lambda: self.unix, "monotonic": lambda: self.since_boot}

    def make(self, path: Path | str) -> Spool:
        return make(path, **self.clocks)


@pytest.mark.parametrize("on_disk", [True, False])
def test_too_old_batches_are_dropped_and_counted(on_disk: bool, path: Path) -> None:
    machine = Machine()
    spool = machine.make(path if on_disk else "")
    spool.seal(batch(1))
    machine.passes(400)
    spool.seal(batch(2))
    assert spool.oldest_seconds == 400
    machine.passes(400)
    spool.seal(batch(3))
    assert (numbers(spool), spool.dropped, spool.oldest_seconds) == ([2, 3], 1, 400)
    spool.close()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
@pytest.mark.parametrize("on_disk", [True, False])
def test_a_clock_that_is_set_while_the_agent_runs_changes_no_age(step: int, on_disk: bool, path: Path) -> None:
    machine = Machine()
    spool = machine.make(path if on_disk else "")
    spool.seal(batch(1))
    machine.set(step)
    machine.passes(MAX_AGE)
    spool.seal(batch(2))
    assert numbers(spool) == [1, 2], "dropped early"
    machine.passes(1)
    spool.seal(batch(3))
    assert numbers(spool) == [2, 3], "kept longer"
    spool.close()


@pytest.mark.parametrize("step", [-HOUR, HOUR])
def test_a_clock_that_is_set_while_the_agent_does_not_run_changes_no_age(step: int, path: Path) -> None:
    machine = Machine()
    spool = machine.make(path)
    spool.seal(batch(1))
    spool.close()
    machine.set(step)
    machine.passes(MAX_AGE)
    spool = machine.make(path)
    spool.seal(batch(2))
    assert numbers(spool) == [1, 2], "dropped early"
    machine.passes(1)
    spool.seal(batch(3))
    assert numbers(spool) == [2, 3], "kept longer"
    spool.close()


def boot(machine: Machine, monkeypatch: pytest.MonkeyPatch) -> None:
    """Off for a minute."""
    machine.passes(60)
    machine.since_boot = 5.0
    monkeypatch.setattr(spool_mark, "boot_id", lambda: b"another boot id!")


def test_over_a_reboot_the_time_off_counts(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine()
    spool = machine.make(path)
    spool.seal(batch(1))
    spool.close()
    boot(machine, monkeypatch)
    machine.passes(MAX_AGE - 60)
    spool = machine.make(path)
    spool.seal(batch(2))
    assert numbers(spool) == [1, 2]
    machine.passes(1)
    spool.seal(batch(3))
    assert numbers(spool) == [2, 3]
    spool.close()


def test_a_clock_set_back_over_a_reboot_drops_nothing_early_and_age_goes_on(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    machine = Machine()
    spool = machine.make(path)
    spool.seal(batch(1))
    spool.close()
    boot(machine, monkeypatch)
    machine.set(-HOUR)
    spool = machine.make(path)
    machine.passes(MAX_AGE)
    spool.seal(batch(2))
    assert numbers(spool) == [1, 2]
    machine.passes(1)
    spool.seal(batch(3))
    assert numbers(spool) == [2, 3], "the minute off is not counted, the hour neither"
    spool.close()


STEP = st.one_of(
    st.tuples(st.just("seal"), st.just(0)),
    st.tuples(st.just("passes"), st.integers(0, 2 * MAX_AGE)),
    st.tuples(st.just("set"), st.integers(-2 * HOUR, 2 * HOUR)),
    st.tuples(st.sampled_from(["restart", "killed"]), st.integers(0, MAX_AGE)),
)


@settings(max_examples=25, deadline=None)
@given(steps=st.lists(STEP, max_size=15))
def test_only_real_time_makes_batches_old(
    steps: list[tuple[str, int]], tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("spool") / "spool.db"
    machine = Machine()
    spool = machine.make(path)
    waiting: dict[int, float] = {}
    try:
        for what, seconds in [*steps, ("seal", 0)]:
            if what == "seal":
                waiting[spool.seal(batch(len(waiting)))] = machine.since_boot
                newest = max(waiting)
                waiting = {
                    number: at
                    for number, at in waiting.items()
                    if number == newest or machine.since_boot - at <= MAX_AGE
                }
            elif what in ("passes", "set"):
                getattr(machine, what)(seconds)
            elif what == "restart":
                spool.close()
                machine.passes(seconds)
                spool = machine.make(path)
            else:
                machine.passes(seconds)
                spool = killed(spool, path, **machine.clocks)
            assert numbers(spool) == sorted(waiting)
    finally:
        spool.close()
