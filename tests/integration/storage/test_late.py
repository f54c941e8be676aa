"""Rows that come hours or days late land in the intervals in which they completed, on both backends."""

from __future__ import annotations

import time

from tests.support.aggregators import Agent, Aggregator
from tests.support.batches import Builder

DAY_S = 86_400
NOW_S = int(time.time())
MIDNIGHT_S = NOW_S // DAY_S * DAY_S


def deliver(aggregator: Aggregator, host: str, ends_s: list[float], duration_us: int = 200_000) -> None:
    """Requests that completed at `ends_s`, in one batch that is sealed now."""
    builder = Builder(host, ["10.8.0.1"])
    link = builder.link("client", "nginx", "10.8.0.1", 40_000, "203.0.113.9", 80)
    for end_s in ends_s:
        builder.request(link, start=int(end_s * 1e6) - duration_us, duration_us=duration_us)
    agent = Agent(aggregator.grpc, host)
    assert agent.deliver(builder.seal(1)).ack.sequence == 1
    agent.close()


def intervals(aggregator: Aggregator, name: str, host: str) -> list[list[str]]:
    return aggregator.query(
        f"SELECT toUnixTimestamp(time), sum(requests) FROM request_stats_{name} WHERE host = '{host}' "
        "GROUP BY time ORDER BY time"
    )


def test_late_rows_are_counted_where_they_completed(aggregator: Aggregator) -> None:
    ends = [NOW_S - 5 * 3600 + 1, NOW_S - 5 * 3600 + 1, NOW_S - 30 * 3600, NOW_S - 1]
    deliver(aggregator, "l-hours", ends)
    for name, grain in (("10s", 10), ("1m", 60), ("1h", 3600)):
        expected: dict[int, int] = {}
        for end in ends:
            expected[end // grain * grain] = expected.get(end // grain * grain, 0) + 1
        assert intervals(aggregator, name, "l-hours") == [[str(at), str(n)] for at, n in sorted(expected.items())]
    days = aggregator.query("SELECT uniqExact(toDate(start)) FROM requests WHERE host = 'l-hours'")
    assert int(days[0][0]) == len({int(end - 0.2) // DAY_S for end in ends})


def test_a_request_that_crosses_midnight_counts_on_the_day_it_ends(aggregator: Aggregator) -> None:
    deliver(aggregator, "l-night", [MIDNIGHT_S - DAY_S + 0.1, MIDNIGHT_S - DAY_S - 0.1])
    assert aggregator.query("SELECT count() FROM requests WHERE host = 'l-night' AND toDate(start) = today() - 2") == [
        ["2"]
    ]
    for name, grain in (("10s", 10), ("1m", 60), ("1h", 3600)):
        before, after = MIDNIGHT_S - DAY_S - grain, MIDNIGHT_S - DAY_S
        assert intervals(aggregator, name, "l-night") == [[str(before), "1"], [str(after), "1"]]


def test_rows_beyond_a_retention_live_on_in_the_longer_roll_ups_and_are_counted(aggregator: Aggregator) -> None:
    def late(table: str) -> float:
        return aggregator.metric(f'sonde_rows_beyond_retention_total{{table="{table}"}}')

    tables = ("requests", "request_stats_10s", "request_stats_1m", "request_stats_1h")
    before = [late(table) for table in tables]
    deliver(aggregator, "l-old", [NOW_S - 8 * DAY_S, NOW_S - 60 * DAY_S])
    hours = [(NOW_S - 60 * DAY_S) // 3600 * 3600, (NOW_S - 8 * DAY_S) // 3600 * 3600]
    assert intervals(aggregator, "1h", "l-old") == [[str(hour), "1"] for hour in hours]
    assert [(NOW_S - 8 * DAY_S) // 60 * 60, 1] in [[int(at), int(n)] for at, n in intervals(aggregator, "1m", "l-old")]
    assert [late(table) - old for table, old in zip(tables, before, strict=True)] == [2, 2, 1, 0]
