"""The set checker: lost = acknowledged - stored is empty, nothing is stored twice, and every total is that of the rows.

What holds when `check` finds nothing:
    1. every row of an acknowledged batch is in its raw table once, as it was sent
    2. a row of any other batch is there once or not at all; a row that nobody sent is not there
    3. the rows of a batch that was refused for good are nowhere
    4. every roll-up has, for the batches of 1, the sums and sketches of exactly these rows, in their buckets; of
       others, once or nothing
    5. a batch that was sealed is stored, refused, or among those that the spool counted as lost; the spool counted
       no more than were not acknowledged
A finding is one line that names the table, the batches and the figures.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

from tests.chaos import numbered, tables
from tests.chaos.acts import Acts
from tests.chaos.tables import RollUp, Row, Stored

_SHOWN = 5

Batch = tuple[int, int]


@dataclass(frozen=True)
class Agent:
    """One agent: what it did, and how its losses may be counted."""

    acts: Acts
    refusing: bool = False
    kills: int = 0
    uncounted: bool = False  # the mark beside its spool was lost as well: what was lost cannot be known
    limited: bool = False  # its spool dropped by its limit


def check(agents: Mapping[int, Agent], stored: Stored) -> list[str]:
    """What is wrong; nothing if all is well."""
    intended = {
        (index, number): base for index, agent in agents.items() for number, base in agent.acts.intended.items()
    }
    sure = {(index, number) for index, agent in agents.items() for number in agent.acts.acknowledged}
    refused = {(index, number) for index, agent in agents.items() for number in agent.acts.refused}
    found = [] if sure else ["nothing was acknowledged, so nothing was checked"]
    expected: dict[str, dict[int, Row]] = {table: {} for table in tables.RAW}
    for (index, number), base in intended.items():
        for table, rows in tables.of_batch(index, number, base, agents[index].refusing).items():
            expected[table] |= {int(row[0]): row for row in rows}
    hidden = {code: row for code, row in expected["requests"].items() if tables.is_hidden(row)}
    every = list(expected["requests"].values())
    expected["requests"] = {code: row for code, row in expected["requests"].items() if code not in hidden}
    for table in tables.RAW:
        found += _raw(table, expected[table], stored.raw[table], sure, refused)
    for spec in tables.ROLL_UPS:
        found += _totals(spec, stored, hidden.values(), sure, intended)
        found += _at_most_once(spec, stored, every, refused)
    there = {numbered.batch_of(int(row[0])) for row in stored.raw["agent_stats"]}
    for index, agent in agents.items():
        found += _counted(index, agent, {number for owner, number in there if owner == index})
    return found


def _raw(
    table: str, expected: Mapping[int, Row], rows: Iterable[Row], sure: set[Batch], refused: set[Batch]
) -> list[str]:
    times: Counter[int] = Counter()
    altered, unknown, forbidden = [], [], []
    for row in rows:
        code = int(row[0])
        times[code] += 1
        if code not in expected:
            unknown.append(code)
        elif numbered.batch_of(code) in refused:
            forbidden.append(code)
        elif expected[code] != row:
            altered.append(code)
    lost = [code for code in expected if numbered.batch_of(code) in sure and code not in times]
    repeated = [code for code, count in times.items() if count > 1]
    found = []
    for what, codes in (
        ("acknowledged and not stored", lost),
        ("stored more than once", repeated),
        ("stored with other values", altered),
        ("stored and never sent", unknown),
        ("stored though refused", forbidden),
    ):
        if codes:
            found.append(f"{table}: {len(codes)} rows {what}: {_show(map(numbered.batch_of, codes))}")
    return found


def _totals(
    spec: RollUp, stored: Stored, hidden: Iterable[Row], sure: set[Batch], intended: Iterable[Batch]
) -> list[str]:
    numbers = {numbered.statement_of(*batch): batch[1] for batch in intended}
    rows = {int(row[0]): row for row in stored.raw["requests"]}
    counted = [row for row in hidden if int(row[0]) - 3 in rows]
    expected = tables.roll_up(spec, [*rows.values(), *counted], stored.ends)
    there = stored.totals[spec.table]
    wrong = []
    for key in {**expected, **there}:
        batch = _batch_of(spec, key, numbers)
        if batch not in sure and not (key in expected and key in there):
            continue  # half of a batch that nobody acknowledged: its rows or its totals may be missing
        if expected.get(key) != there.get(key):
            wrong.append((batch, key))
    if not wrong:
        return []
    _, key = wrong[0]
    is_, should = there.get(key), expected.get(key)
    example = f"{key} is {is_ and is_[0]} and should be {should and should[0]}"
    batches = _show(batch for batch, _ in wrong)
    return [f"{spec.table}: {len(wrong)} totals are not those of the rows: {batches}; {example}"]


def _batch_of(spec: RollUp, key: Row, numbers: Mapping[int, int]) -> Batch:
    """Whose totals these are; number 0 if nobody's. `numbers`: batch number by statement."""
    host, mark = str(key[1 + spec.keys.index("host")]), key[1 + spec.batch_key]
    return int(host[4:]), numbers.get(mark, 0) if isinstance(mark, int) else int(mark[1:] or 0)


def _at_most_once(spec: RollUp, stored: Stored, sent: Iterable[Row], refused: set[Batch]) -> list[str]:
    """Whatever became of a batch, its totals hold no more requests than it had."""
    most: Counter[Batch] = Counter()
    numbers: dict[int, int] = {}
    for row in sent:
        batch, named = numbered.batch_of(int(row[0])), dict(zip(tables.REQUESTS, row, strict=True))
        numbers[numbered.statement_of(*batch)] = batch[1]
        if batch not in refused and ("statement_id" not in spec.keys or named["statement_id"]):
            most[batch] += int(named["weight"])
    there: Counter[Batch] = Counter()
    for key, (sums, _) in stored.totals[spec.table].items():
        there[_batch_of(spec, key, numbers)] += sums[0]
    over = [batch for batch, requests in there.items() if requests > most[batch]]
    return [f"{spec.table}: more requests than were sent: {_show(over)}"] if over else []


def _counted(index: int, agent: Agent, stored: set[int]) -> list[str]:
    acts = agent.acts
    gone = acts.sealed - stored - acts.refused - acts.acknowledged
    found = []
    # A commit that dropped old batches and was killed before it could say so.
    slack = 3 * acts.interrupted if agent.limited else 0
    if len(gone) > acts.lost + slack and not agent.uncounted:
        found.append(f"host{index}: {len(gone)} batches are nowhere, and the spool counted {acts.lost}: {_show(gone)}")
    not_acknowledged = len(acts.intended) - len(acts.acknowledged | acts.refused)
    if acts.lost > not_acknowledged + acts.late + acts.forgettable + agent.kills:
        found.append(f"host{index}: the spool counted {acts.lost} lost, and only {not_acknowledged} were open")
    missing = {number for number in acts.sealed if numbered.is_refused(number, agent.refusing)} & acts.acknowledged
    if missing:
        found.append(f"host{index}: acknowledged though it had to be refused: {_show(missing)}")
    if acts.waiting:
        found.append(f"host{index}: {acts.waiting} batches still wait")
    return found


def _show(batches: Iterable[object]) -> str:
    distinct = sorted(set(batches), key=str)
    shown = ", ".join(f"host{one[0]} /{one[1]}" if isinstance(one, tuple) else f"/{one}" for one in distinct[:_SHOWN])
    return shown + (f" and {len(distinct) - _SHOWN} more" if len(distinct) > _SHOWN else "")
