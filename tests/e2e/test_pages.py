"""Every page in a real browser, over a real aggregator: known batches in, known figures on the page."""

from __future__ import annotations

import re

import numpy as np
import pytest

from tests.e2e import fleet as sent
from tests.e2e.conftest import dashboard

UNITS = {"ns": 1, "µs": 1e3, "ms": 1e6, "s": 1e9}


def cell(page, table: str, key: str, column: str):
    return page.locator(f"#{table} .ag-row[row-id='{key}'] [col-id='{column}']").first


def text_of(page, table, key, column) -> str:
    cell(page, table, key, column).wait_for()
    return cell(page, table, key, column).inner_text().strip()


def nanoseconds(text: str) -> float:
    figure, unit = text.split()
    return float(figure) * UNITS[unit]


def quantile_ns(level: float) -> float:
    taken = np.sort(np.append(sent.durations_us() * 1000, 231_000_000))
    return float(taken[int(level * (len(taken) - 1))])


def figure(page, name: str) -> dict:
    page.wait_for_function(f"() => (document.querySelector('#{name} .js-plotly-plot')?.data || []).length > 0")
    return page.evaluate(
        f"() => {{const g = document.querySelector('#{name} .js-plotly-plot');"
        "return {data: JSON.parse(JSON.stringify(g.data)), height: g.getBoundingClientRect().height}}"
    )


def test_overview_shows_services_hosts_and_edges(shown, tab):
    page = tab.open(f"{shown}/")
    assert text_of(page, "overview-services", "shop-api/http1", "service") == "shop-api"
    for level, column in ((0.5, "p50_ns"), (0.95, "p95_ns"), (0.99, "p99_ns")):
        read = nanoseconds(text_of(page, "overview-services", "shop-api/http1", column))
        # 1 % of the sketch and half a unit of the third digit.
        assert read == pytest.approx(quantile_ns(level), rel=0.016)
    assert text_of(page, "overview-services", "shop-api/http1", "errors") == f"{100 * sent.ERRORS / 1010:.2f} %"
    assert nanoseconds(text_of(page, "overview-services", "mariadb/mysql", "p50_ns")) == pytest.approx(700e3, rel=0.016)
    assert text_of(page, "overview-hosts", "app", "lost") == str(sent.LOST)
    assert text_of(page, "overview-hosts", "app", "unmatched") == str(sent.UNMATCHED)
    assert "bad" in cell(page, "overview-hosts", "app", "lost").get_attribute("class")
    assert text_of(page, "overview-hosts", "web", "kernel") == "6.18.0"
    assert text_of(page, "overview-edges", "nginx/shop-api/http1/client", "callee") == "shop-api"
    assert nanoseconds(text_of(page, "overview-edges", "shop-api/mariadb/mysql/client", "p99_ns")) == pytest.approx(
        1e6, rel=0.016
    )
    total = page.locator("#overview-tiles .tile", has_text="Requests served")
    assert total.locator(".under").inner_text().startswith(f"{1010 + sent.QUERIES:,} over")
    assert "db" in page.locator(".replay").inner_text()
    tab.shoot("overview")


def test_a_service_opens_by_its_name_without_loading_anew(shown, tab):
    page = tab.open(f"{shown}/?range=1h")
    page.evaluate("() => { window.kept = true }")
    cell(page, "overview-services", "shop-api/http1", "service").locator("a").click()
    page.wait_for_url("**/service/shop-api?range=1h")
    page.locator("h1", has_text="shop-api").wait_for()
    assert page.evaluate("() => window.kept")
    page.go_back()
    cell(page, "overview-services", "shop-api/http1", "service").wait_for()


def test_service_page_counts_every_request_in_every_chart(shown, tab):
    page = tab.open(f"{shown}/service/shop-api")
    heatmap = figure(page, "service-heatmap")["data"][0]
    assert round(sum(cell**2 for row in heatmap["z"] for cell in row if cell)) == sent.REQUESTS + 1
    rate = figure(page, "service-rate")
    assert round(10 * sum(value or 0 for value in rate["data"][0]["y"])) == sent.REQUESTS + 1
    assert rate["height"] > 200
    names = [trace["name"] for trace in figure(page, "service-percentiles")["data"]]
    assert names == ["p50", "p95", "p99"]
    parts = {trace["name"]: trace for trace in figure(page, "service-parts")["data"]}
    assert set(parts) == {"queue", "receive", "process", "transfer", "network (requests seen at both ends)"}
    network = [value for value in parts["network (requests seen at both ends)"]["y"] if value is not None]
    assert np.median(network) == pytest.approx(400e3, rel=0.01)
    tile = page.locator("#service-tiles .tile", has_text="p99").first
    assert nanoseconds(tile.locator(".figure").inner_text()) == pytest.approx(quantile_ns(0.99), rel=0.016)
    assert text_of(page, "service-peers", "nginx/shop-api/http1/client", "caller") == "nginx"
    assert text_of(page, "service-peers", "shop-api/mariadb/mysql/client", "callee") == "mariadb"
    tab.shoot("service")


def test_role_and_filters_stand_in_the_url_and_survive_a_reload(shown, tab):
    page = tab.open(f"{shown}/service/shop-api")
    page.locator("#set-role label", has_text="client").click()
    page.wait_for_url("**/service/shop-api?role=client")
    tile = page.locator("#service-tiles .tile", has_text="Requests").first
    page.wait_for_function(f"() => document.querySelector('#service-tiles')?.innerText.includes('{sent.QUERIES} over')")
    page.locator("#set-range label", has_text="1 h").click()
    page.wait_for_url("**/service/shop-api?range=1h&role=client")
    page.reload()
    page.wait_for_function(f"() => document.querySelector('#service-tiles')?.innerText.includes('{sent.QUERIES} over')")
    assert tile.is_visible()
    assert page.locator("#set-role input:checked").evaluate("e => e.closest('label').innerText").strip() == "client"
    tab.shoot("service-client")


def test_slow_request_opens_to_its_split(shown, tab):
    page = tab.open(f"{shown}/slow")
    first = page.locator("#slow-slow .ag-center-cols-container .ag-row[row-index='0']")
    assert first.locator("[col-id='duration_ns']").inner_text() == "240 ms"
    assert first.locator("[col-id='client']").inner_text() == "nginx @ web"
    assert first.locator("[col-id='server']").inner_text() == "shop-api @ app"
    read = {
        name: first.locator(f"[col-id='{name}']").inner_text() for name in ("network", "queue", "process", "answer")
    }
    assert read == {"network": "3 ms", "queue": "80 ms", "process": "150 ms", "answer": "5 ms"}
    first.locator("[col-id='what']").click()
    panel = page.locator("#detail-panel")
    panel.wait_for()
    assert panel.locator(".statement").inner_text() == sent.SLOW_STATEMENT
    assert "62.5 % server process" in panel.locator(".verdict").inner_text()
    assert "client paused 40 ms before" in panel.locator("#detail-bar").inner_text()
    widths = panel.locator(".segment").evaluate_all("all => all.map(e => e.getBoundingClientRect().width)")
    assert widths[2] / widths[1] == pytest.approx(150 / 80, rel=0.02)
    tab.shoot("slow")


def test_in_flight_lists_what_waits(shown, fleet, tab):
    fleet.refresh_in_flight()
    page = tab.open(f"{shown}/inflight")
    page.locator("#inflight-table .ag-row", has_text="SELECT SLEEP(?)").wait_for()
    tab.shoot("inflight")


def test_a_range_without_data_says_what_to_do(shown, tab):
    page = tab.open(f"{shown}/?from=2020-01-01T00:00:00&to=2020-01-01T01:00:00")
    message = page.locator("#overview-messages .message")
    message.wait_for()
    assert "No data in this range" in message.inner_text()
    assert re.search(r"Agents last seen: .*app .* ago", message.inner_text())
    assert page.locator("#set-from").input_value() == "2020-01-01 00:00:00"
    tab.shoot("empty")


def test_a_range_is_typed_in_utc_and_nonsense_is_named(shown, tab):
    page = tab.open(f"{shown}/")
    page.locator("#set-range label", has_text="custom").click()
    page.wait_for_url("**/?from=*")
    page.locator("#set-from").fill("yesterday")
    page.locator("#set-from").press("Enter")
    page.locator("#control-problem", has_text="not a UTC time").wait_for()
    page.locator("#set-from").fill("2020-01-01 00:00")
    page.locator("#set-from").press("Enter")
    page.wait_for_url("**/?from=2020-01-01T00%3A00%3A00*")


def test_paused_pages_ask_nothing_and_live_ones_do(shown, tab):
    page = tab.open(f"{shown}/?live=0")
    cell(page, "overview-services", "shop-api/http1", "service").wait_for()
    page.wait_for_load_state("networkidle")
    asked = []
    page.on("request", lambda request: asked.append(request.url))
    page.wait_for_timeout(6000)
    assert asked == []
    page.locator("#set-live label", has_text="live").click()
    page.wait_for_timeout(6500)
    assert len(asked) > 2


def test_an_unreachable_endpoint_is_named_in_words(tab, tmp_path):
    with dashboard("http://127.0.0.1:9", tmp_path) as url:
        page = tab.open(f"{url}/service/shop-api")
        message = page.locator("#service-messages .message.bad")
        message.wait_for()
        assert "http://127.0.0.1:9 cannot be reached. Start the aggregator" in message.inner_text()
        assert "Traceback" not in page.content()
        tab.shoot("unreachable")
        page.goto("about:blank")


def test_a_page_that_is_not_there_says_which_are(shown, tab):
    page = tab.open(f"{shown}/nothing")
    page.locator(".message", has_text="There is no page /nothing").wait_for()
