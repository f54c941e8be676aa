"""Splits add up; figures are what plotly accepts and hold what the rows hold."""

from __future__ import annotations

import itertools
import math

import plotly.graph_objects as go
import pytest

from dashboard.asking import asked
from dashboard.components import chart, detail, slow_table
from dashboard.components import charts_of_service as charts
from dashboard.components.split import ends, split
from tests.unit.dashboard.rows import BEGIN, BEGIN_S, PER_STEP, STEPS


@pytest.fixture
def asking():
    search = f"?from={BEGIN:%Y-%m-%dT%H:%M:%S}&to={BEGIN:%Y-%m-%dT%H}:30:00"
    return asked(search, "/service/shop-api")


@pytest.fixture
def slow(source, asking):
    return source.rows("slow", **asking.parameters | {"service": ""})


def test_parts_of_a_request_add_up_to_its_duration(slow):
    for row in slow:
        if row["status"] != "no_response":
            found = split(row)
            assert sum(part.ns for part in found.parts) == found.total_ns


def test_a_joined_request_is_split_at_both_ends(slow):
    found = split(slow[0])
    assert {part.kind: part.ns // 10**6 for part in found.parts} == {
        "network": 3, "queue": 80, "receive": 0, "process": 150, "answer": 5, "transfer": 2,
    }  # fmt: skip
    assert found.gap_ns == 40 * 10**6
    assert found.largest.kind == "process"
    assert ends(slow[0]).client_host == "web"


def test_one_end_alone_never_claims_the_network(slow):
    server, client = slow[1], slow[2]
    assert "network" not in {part.kind for part in split(server).parts}
    assert "away" in {part.kind for part in split(client).parts}
    assert ends(server).client_service == "nginx"
    assert ends(client).server_service == "shop-api"


def test_every_row_has_a_panel_and_a_line(slow):
    lines = slow_table.rows(slow)
    assert len({line["key"] for line in lines}) == len(slow)
    assert lines[2]["network_text"] == "≤ 45 ms"
    for row in slow:
        assert detail.panel(row).to_plotly_json()


def test_figures_are_valid_and_whole(source, asking):
    found = charts.points(asking.window, source.rows("series", **asking.parameters))
    network = source.rows("network_series", **asking.parameters)
    bands = source.rows("heatmap", **asking.parameters)
    made = [
        charts.rate(asking.window, found, BEGIN_S, "r"),
        charts.errors(asking.window, found, "r"),
        charts.percentiles(asking.window, found, "r"),
        charts.heatmap(asking.window, bands, "r"),
        charts.parts(asking.window, found, network, "server", "r"),
        charts.parts(asking.window, found, network, "client", "r"),
        chart.empty("nothing"),
    ]
    for figure in made:
        go.Figure(figure)
    assert sum(10 * value for value in made[0]["data"][0]["y"]) == pytest.approx(STEPS * PER_STEP)
    counts = [cell**2 for line in made[3]["data"][0]["z"] for cell in line if cell is not None]
    assert round(sum(counts)) == STEPS * PER_STEP
    edges = made[3]["data"][0]["y"]
    assert all(math.isclose(high / low, charts.GAMMA**charts.BAND) for low, high in itertools.pairwise(edges))


def test_a_gap_is_no_figure_and_a_time_before_the_store_no_rate(asking):
    found = charts.points(asking.window, [])
    rate = charts.rate(asking.window, found, BEGIN_S + 100, "r")["data"][0]["y"]
    assert rate[:10] == [None] * 10
    assert set(rate[10:]) == {0}
    assert set(charts.percentiles(asking.window, found, "r")["data"][0]["y"]) == {None}
