"""One answer for many tabs, words for failures; and who may ask at all."""

from __future__ import annotations

import threading
from typing import NamedTuple

import pytest
from pydantic import ValidationError

from dashboard.app import create
from dashboard.config import DashboardSettings
from dashboard.source import Source, SourceError


class Answer(NamedTuple):
    column_names: tuple[str, ...]
    result_rows: list[tuple[int, ...]]


class Client:
    def __init__(self, error: str = "") -> None:
        self.asked, self.error, self.open = 0, error, threading.Event()
        self.open.set()

    def query(self, query, parameters):  # noqa: ARG002
        self.asked += 1
        self.open.wait(5)
        if self.error:
            raise RuntimeError(self.error)
        return Answer(("figure",), [(self.asked,)])


def test_tabs_that_ask_the_same_at_once_share_one_query():
    client = Client()
    client.open.clear()
    source = Source(DashboardSettings(cache_seconds=60), connect=lambda: client)
    found = []
    tabs = [threading.Thread(target=lambda: found.append(source.rows("hosts"))) for _ in range(20)]
    for tab in tabs:
        tab.start()
    client.open.set()
    for tab in tabs:
        tab.join()
    assert client.asked == 1
    assert found == [[{"figure": 1}]] * 20


def test_answers_age_and_the_oldest_leave():
    client = Client()
    source = Source(DashboardSettings(cache_seconds=0, cache_entries=2), connect=lambda: client)
    for host in ("a", "b", "c", "c"):
        source.rows("in_flight", service="", host=host, protocol="")
    assert client.asked == 4
    assert len(source._entries) == 2


@pytest.mark.parametrize(
    ("error", "words"),
    [
        ("Connection refused", "cannot be reached. Start the aggregator"),
        ("Code: 159. TIMEOUT_EXCEEDED", "took longer than 10 s. Choose a shorter range"),
        ("Read timed out", "took longer"),
        ("HTTP 401", "SONDE_DASHBOARD__SQL_TOKEN"),
        ("Code: 60. UNKNOWN_TABLE", "same version"),
        ("something\nelse", "refused the query hosts: something else"),
    ],
)
def test_failures_are_one_line_that_says_what_to_do(error, words):
    source = Source(DashboardSettings(sql_url="http://u:secret@h:1"), connect=lambda: Client(error))
    with pytest.raises(SourceError) as caught:
        source.rows("hosts")
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)
    assert "secret" not in str(caught.value)


def test_a_failure_is_not_kept():
    client = Client("Connection refused")
    source = Source(DashboardSettings(cache_seconds=60), connect=lambda: client)
    with pytest.raises(SourceError):
        source.rows("hosts")
    client.error = ""
    assert source.rows("hosts") == [{"figure": 2}]


@pytest.mark.parametrize("setting", [{"listen": "8050"}, {"listen": "h:99999"}, {"sql_url": "ftp://h"}, {"other": 1}])
def test_wrong_settings_are_refused(setting):
    with pytest.raises(ValidationError):
        DashboardSettings.model_validate(setting)


def test_foreign_names_are_refused_and_nothing_comes_from_elsewhere():
    settings = DashboardSettings(allowed_hosts=("sonde.example",))
    asking = create(settings, Source(settings, connect=Client)).server.test_client()
    for name, code in (("127.0.0.1:8050", 200), ("[::1]:8050", 200), ("localhost", 200), ("192.0.2.1:8050", 200),
                       ("sonde.example", 200), ("evil.example:8050", 421)):  # fmt: skip
        answer = asking.get("/healthz", headers={"Host": name})
        assert (name, answer.status_code) == (name, code)
    page = asking.get("/", headers={"Host": "localhost"})
    assert b"https://" not in page.data
    assert "default-src 'self'" in page.headers["Content-Security-Policy"]
