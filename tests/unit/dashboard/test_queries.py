"""Every query file parses, binds and gives the known answers, at every roll-up."""

from __future__ import annotations

import numpy as np
import pytest

from dashboard import queries
from tests.unit.dashboard.rows import BEGIN_S, PER_STEP, STEPS, durations_of

BASE = {"from_s": BEGIN_S, "to_s": BEGIN_S + 10 * STEPS, "step_s": 10, "stats": "request_stats_10s"}
NO_FILTER = {"role": "server", "service": "", "host": "", "protocol": "", "operation": "", "status": ""}
SHOP = BASE | NO_FILTER | {"service": "shop-api"}
ALL = np.concatenate([durations_of(step) for step in range(STEPS)])


def reference(durations, level):
    return np.sort(durations)[int(level * (len(durations) - 1))]


@pytest.mark.parametrize("name", queries.names())
def test_file_says_what_a_row_is_and_never_formats(name):
    text = queries.text(name)
    assert text.startswith("-- ")
    assert "%" not in text
    assert "LIMIT" in text or name in {
        "host_rates", "host_losses", "extent", "service_rates", "series", "summary", "heatmap", "network_series",
        "choices",
    }  # fmt: skip


@pytest.mark.parametrize("rollup", ["10s", "1m", "1h"])
@pytest.mark.parametrize("name", queries.names())
def test_runs_on_the_real_schema(source, name, rollup):
    source.rows(name, **SHOP | {"stats": f"request_stats_{rollup}"})


@pytest.mark.parametrize("name", queries.names())
def test_values_are_bound_never_read_as_sql(source, name):
    hostile = "' OR 1 = 1 --\\"
    filters = dict.fromkeys(("service", "host", "protocol", "operation"), hostile)
    rows = source.rows(name, **BASE | NO_FILTER | filters)
    bound = queries.parameters(name)
    if "service" in bound and name not in {"summary", "choices"}:
        assert rows == []


@pytest.mark.parametrize(("rollup", "step"), [("10s", 10), ("1m", 60), ("1h", 3600)])
def test_percentiles_are_within_one_percent_of_numpy(source, rollup, step):
    asked = SHOP | {"stats": f"request_stats_{rollup}", "step_s": step}
    (row,) = source.rows("summary", **asked)
    for column, level in (("p50_ns", 0.5), ("p95_ns", 0.95), ("p99_ns", 0.99)):
        assert row[column] == pytest.approx(reference(ALL, level), rel=0.01)
    assert row["total"] == PER_STEP * STEPS
    series = source.rows("series", **asked)
    assert [point["step"] for point in series] == list(range(BEGIN_S, BEGIN_S + 10 * STEPS, step))
    each = step // 10
    for index, point in enumerate(series):
        taken = ALL[index * each * PER_STEP : (index + 1) * each * PER_STEP]
        assert point["total"] == len(taken)
        assert point["p99_ns"] == pytest.approx(reference(taken, 0.99), rel=0.01)


def test_errors_and_parts_add_up(source):
    (row,) = source.rows("summary", **SHOP)
    assert row["errors"] == 3 * len(range(0, STEPS, 7))
    series = source.rows("series", **SHOP)
    assert sum(point["errors"] for point in series) == row["errors"]
    parts = sum(point[f"{part}_ns"] for point in series for part in ("queue", "receive", "process", "transfer"))
    assert parts == ALL.sum()


def test_heatmap_counts_every_request_in_its_band(source):
    rows = source.rows("heatmap", **SHOP)
    assert sum(row["total"] for row in rows) == len(ALL)
    gamma = 1.01 / 0.99
    band = rows[0]["band"]
    first = durations_of((rows[0]["step"] - BEGIN_S) // 10)
    inside = (first > gamma ** (8 * band - 8)) & (first <= gamma ** (8 * band))
    assert rows[0]["total"] == inside.sum()


def test_services_and_their_small_charts_agree(source):
    services = {row["service"]: row for row in source.rows("services", **BASE | NO_FILTER)}
    assert services["shop-api"]["total"] == len(ALL)
    assert services["mariadb"]["total"] == len(ALL) + 2 * STEPS
    assert services["mariadb"]["client_errors"] == 2 * STEPS
    assert services["mariadb"]["is_estimated"] == 1
    assert services["shop-api"]["is_estimated"] == 0
    rates = source.rows("service_rates", **BASE | NO_FILTER)
    assert sum(row["total"] for row in rates if row["service"] == "mariadb") == services["mariadb"]["total"]


def test_edges_count_a_call_once_and_keep_callers_without_an_agent(source):
    edges = {(row["caller"], row["callee"]): row for row in source.rows("edges", **BASE | NO_FILTER)}
    assert set(edges) == {("shop-api", "mariadb"), ("192.0.2.9", "mariadb")}
    assert edges["shop-api", "mariadb"]["total"] == len(ALL)
    assert edges["192.0.2.9", "mariadb"]["seen_at"] == "server"


def test_hosts_their_rates_and_losses(source):
    hosts = {row["host"]: row for row in source.rows("hosts")}
    assert hosts["db"]["age_s"] > 590
    assert hosts["app"]["age_s"] < 120
    assert [hosts[name]["replay"] for name in ("app", "db", "web")] == [0, 1, 0]
    rates = {row["host"]: row for row in source.rows("host_rates", **BASE)}
    assert rates["app"]["served"] == rates["app"]["sent"] == len(ALL)
    losses = {row["host"]: row for row in source.rows("host_losses", **BASE)}
    assert (losses["app"]["lost_kernel"], losses["app"]["lost_agent"], losses["app"]["unmatched_requests"]) == (
        11,
        2,
        3,
    )
    assert losses["app"]["agent_cpu"] == pytest.approx(0.01)
    assert (losses["db"]["dropped"], losses["db"]["unparsed_requests"], losses["db"]["agent_cpu"]) == (1, 5, None)


def test_slow_gives_each_request_once_with_both_ends(source):
    found = source.rows("slow", **BASE | NO_FILTER)
    assert [row["duration_ns"] // 10**6 for row in found] == [240, 90, 50, 30]
    joined = found[0]
    assert (joined["joined"], joined["role"], joined["exchange_id"]) == (1, "client", "77")
    assert (joined["client_service"], joined["server_service"]) == ("nginx", "shop-api")
    assert joined["network_ns"] == 3 * 10**6
    assert [row["joined"] for row in found[1:]] == [0, 0, 0]


def test_slow_of_a_service_shows_its_own_end_and_joins_the_other(source):
    (first, second) = source.rows("slow", **SHOP)
    assert (first["role"], first["duration_ns"], first["joined"]) == ("server", 231 * 10**6, 1)
    assert first["client_duration_ns"] == 240 * 10**6
    assert second["joined"] == 0


def test_network_time_is_of_joined_requests_only(source):
    (row,) = source.rows("network_series", **SHOP)
    assert (row["joined"], row["mean_network_ns"]) == (1, 3 * 10**6)
    assert source.rows("network_series", **SHOP | {"role": "client"}) == []


def test_breakdown_and_choices(source):
    (row,) = source.rows("breakdown", **SHOP)
    assert (row["operation"], row["resource"], row["total"]) == ("GET", "/cart", len(ALL))
    assert row["p99_ns"] == pytest.approx(reference(ALL, 0.99), rel=0.01)
    (choices,) = source.rows("choices", **SHOP)
    assert (choices["hosts"], choices["protocols"], choices["roles"]) == (
        ["app"],
        ["http1", "mysql"],
        ["client", "server"],
    )


def test_in_flight_is_what_agents_said_last(source):
    rows = source.rows("in_flight", **NO_FILTER)
    assert [(row["statement"], row["age_ns"]) for row in rows] in ([("SELECT SLEEP(?)", 7 * 10**9)], [])
