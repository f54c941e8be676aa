"""The set checker can fail: each kind of fault in the store, fed to it, is found and named."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from tests.chaos import acts, checker, numbered, schedule, tables
from tests.chaos.checker import Agent
from tests.chaos.tables import Stored

_BASE_US = 1_795_257_922_731_937
_ACKNOWLEDGED, _OPEN = range(1, 8), range(8, 10)


def agent(**given: object) -> Agent:
    done = acts.Acts(
        intended={number: _BASE_US + number * 1_000_000 for number in (*_ACKNOWLEDGED, *_OPEN)},
        sealed={*_ACKNOWLEDGED, *_OPEN},
        acknowledged=set(_ACKNOWLEDGED),
    )
    return Agent(replace(done, **given))


def stored(one: Agent, numbers: set[int]) -> Stored:
    """A store that holds these batches of agent 1, as it should."""
    made = Stored()
    for number in numbers:
        for table, rows in tables.of_batch(1, number, one.acts.intended[number], one.refusing).items():
            made.raw[table] += rows
    made.ends = {int(row[0]): ("host2", "back") for row in made.raw["requests"]}
    for spec in tables.ROLL_UPS:
        made.totals[spec.table] = tables.roll_up(spec, made.raw["requests"], made.ends)
    made.raw["requests"] = [row for row in made.raw["requests"] if not tables.is_hidden(row)]
    return made


def test_all_is_well_when_everything_is_stored() -> None:
    one = agent()
    assert checker.check({1: one}, stored(one, set(one.acts.sealed))) == []


def test_what_was_not_acknowledged_may_be_missing_if_it_is_counted() -> None:
    one = agent(lost=2)
    assert checker.check({1: one}, stored(one, set(_ACKNOWLEDGED))) == []
    (found,) = checker.check({1: agent(lost=1)}, stored(one, set(_ACKNOWLEDGED)))
    assert "2 batches are nowhere, and the spool counted 1: /8, /9" in found


def test_a_spool_that_counts_more_than_it_can_have_lost_is_found() -> None:
    (found,) = checker.check({1: agent(lost=3)}, stored(agent(), set(_ACKNOWLEDGED)))
    assert "counted 3 lost, and only 2 were open" in found


def lose_a_row(there: Stored) -> None:
    there.raw["requests"].pop(3)


def lose_a_batch(there: Stored) -> None:
    there.raw["requests"] = [row for row in there.raw["requests"] if numbered.batch_of(int(row[0]))[1] != 4]


def repeat_a_row(there: Stored) -> None:
    there.raw["requests"].append(there.raw["requests"][7])


def repeat_an_open_row(there: Stored) -> None:
    there.raw["requests"].append(there.raw["requests"][-1])


def change_a_value(there: Stored) -> None:
    row = there.raw["requests"][2]
    there.raw["requests"][2] = (*row[:-1], int(row[-1]) + 1)


def invent_a_row(there: Stored) -> None:
    row = there.raw["requests"][2]
    there.raw["requests"].append((numbered.code_of(1, 77), *row[1:]))
    there.ends[numbered.code_of(1, 77)] = ("", "")


def lose_a_connection(there: Stored) -> None:
    there.raw["connections"].pop()
    there.raw["connections"].pop(0)


def repeat_agent_stats(there: Stored) -> None:
    there.raw["agent_stats"].append(there.raw["agent_stats"][0])


@pytest.mark.parametrize(
    ("harm", "says"),
    [
        (lose_a_row, "requests: 1 rows acknowledged and not stored: host1 /1"),
        (lose_a_batch, "rows acknowledged and not stored: host1 /4"),
        (repeat_a_row, "requests: 1 rows stored more than once"),
        (repeat_an_open_row, "requests: 1 rows stored more than once: host1 /9"),
        (change_a_value, "requests: 1 rows stored with other values: host1 /1"),
        (invent_a_row, "requests: 1 rows stored and never sent: host1 /77"),
        (lose_a_connection, "connections: 1 rows acknowledged and not stored: host1 /1"),
        (repeat_agent_stats, "agent_stats: 1 rows stored more than once: host1 /1"),
    ],
)
def test_a_wrong_raw_row_is_found(harm: Callable[[Stored], None], says: str) -> None:
    one = agent()
    there = stored(one, set(one.acts.sealed))
    harm(there)
    assert any(says in found for found in checker.check({1: one}, there))


def first_of(there: Stored, table: str, number: int) -> tables.Row:
    marks = (f"/{number}", numbered.statement_of(1, number))
    return next(key for key in there.totals[table] if set(marks) & set(key))


def add_a_request(there: Stored, table: str, number: int) -> None:
    key = first_of(there, table, number)
    (requests, *sums), sketches = there.totals[table][key]
    there.totals[table][key] = (requests + 1, *sums), sketches


def lose_a_key(there: Stored, table: str, number: int) -> None:
    del there.totals[table][first_of(there, table, number)]


def double_a_key(there: Stored, table: str, number: int) -> None:
    key = first_of(there, table, number)
    sums, sketches = there.totals[table][key]
    twice = tuple({bucket: 2 * count for bucket, count in one.items()} for one in sketches)
    there.totals[table][key] = tuple(2 * one for one in sums), twice


def move_to_another_bucket(there: Stored, table: str, number: int) -> None:
    key = first_of(there, table, number)
    there.totals[table][(int(key[0]) + 3600, *key[1:])] = there.totals[table].pop(key)


def spoil_a_sketch(there: Stored, table: str, number: int) -> None:
    sketches = there.totals[table][first_of(there, table, number)][1]
    bucket = next(iter(sketches[0]))
    sketches[0][bucket + 1] = sketches[0].pop(bucket)


def name_another_peer(there: Stored, table: str, number: int) -> None:
    key = first_of(there, table, number)
    there.totals[table][tuple("~unknown" if part == "back" else part for part in key[:6]) + key[6:]] = there.totals[
        table
    ].pop(key)


@pytest.mark.parametrize("table", [spec.table for spec in tables.ROLL_UPS])
@pytest.mark.parametrize(
    "harm", [add_a_request, lose_a_key, double_a_key, move_to_another_bucket, spoil_a_sketch, name_another_peer]
)
def test_a_wrong_total_is_found_in_every_roll_up(harm: Callable[[Stored, str, int], None], table: str) -> None:
    one = agent()
    there = stored(one, set(one.acts.sealed))
    harm(there, table, 3)
    found = checker.check({1: one}, there)
    assert any(line.startswith(f"{table}: ") and "host1 /3" in line for line in found), found


@pytest.mark.parametrize("table", [spec.table for spec in tables.ROLL_UPS])
def test_an_open_batch_may_be_missing_in_a_roll_up_and_not_be_there_twice(table: str) -> None:
    one = agent()
    there = stored(one, set(one.acts.sealed))
    lose_a_key(there, table, 9)
    assert checker.check({1: one}, there) == []
    there = stored(one, set(one.acts.sealed))
    double_a_key(there, table, 9)
    assert any("more requests than were sent: host1 /9" in found for found in checker.check({1: one}, there))


@pytest.mark.parametrize("table", [spec.table for spec in tables.ROLL_UPS if "1m" not in spec.table])
def test_lost_sums_of_requests_without_a_row_are_found(table: str) -> None:
    one = agent()
    there = stored(one, set(one.acts.sealed))
    key = next(key for key, (sums, _) in there.totals[table].items() if sums[1] and "/2" in key)
    del there.totals[table][key]
    assert any(line.startswith(f"{table}: ") and "host1 /2" in line for line in checker.check({1: one}, there))


def test_rows_of_a_refused_batch_are_found_wherever_they_are() -> None:
    one = agent(refused={9})
    found = checker.check({1: one}, stored(one, set(one.acts.sealed)))
    assert any("rows stored though refused: host1 /9" in line for line in found)
    assert any(line.startswith("request_stats_1h: more requests than were sent: host1 /9") for line in found)
    assert checker.check({1: one}, stored(one, set(one.acts.sealed) - {9})) == []


def test_a_batch_too_large_that_was_acknowledged_is_found() -> None:
    one = replace(agent(), refusing=True)
    found = checker.check({1: one}, stored(one, set(one.acts.sealed)))
    assert any("acknowledged though it had to be refused: /3" in line for line in found)


def test_what_still_waits_is_found() -> None:
    one = agent(waiting=2)
    assert checker.check({1: one}, stored(one, set(one.acts.sealed))) == ["host1: 2 batches still wait"]


def test_every_row_has_a_number_of_its_own() -> None:
    codes = [
        int(row[0])
        for owner in range(3)
        for number in range(1, 50)
        for row in tables.of_batch(owner, number, _BASE_US, True)["requests"]
    ]
    assert len(codes) == len(set(codes))
    assert {numbered.batch_of(code) for code in codes} == {(a, n) for a in range(3) for n in range(1, 50)}


def test_consecutive_seeds_have_every_kind_and_a_seed_has_one_plan() -> None:
    for first in (0, 1, 17, 20261121):
        kinds = {
            fault.kind for seed in range(first, first + schedule.CONSECUTIVE) for fault in schedule.draw(seed).faults
        }
        assert kinds == set(schedule.KINDS)
    assert schedule.draw(5) == schedule.draw(5) != schedule.draw(6)


def test_faults_that_hold_at_the_same_time_have_other_targets() -> None:
    for seed in range(200):
        faults = schedule.draw(seed).faults
        for index, one in enumerate(faults):
            for other in faults[index + 1 :]:
                if set(one.targets) & set(other.targets):
                    assert other.begin_s > one.end_s
