"""`make demo` with everything real: the figures that it tells its user to look for are there."""

from __future__ import annotations

import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from deploy.demo import text
from tests.conftest import skip_or_fail
from tests.targets import netns
from tests.targets.process import ROOT

OFFSET = 21_000
SQL = f"http://127.0.0.1:{8123 + OFFSET}"
#: of load; the worker is blocked at 8 s and at 38 s, fifty slow statements take 26 s.
LOAD_S = 45
MS = 1_000_000


def rows(query: str) -> list[list[Any]]:
    url = f"{SQL}/?database=sonde&output_format_json_quote_64bit_integers=0&query="
    with urllib.request.urlopen(url + urllib.parse.quote(query + " FORMAT JSONCompact"), timeout=20) as answer:
        found: list[list[Any]] = json.load(answer)["data"]
    return found


@pytest.fixture(scope="module")
def demo() -> Iterator[subprocess.Popen[str]]:
    if reason := netns.available():
        skip_or_fail(reason)
    argv = [sys.executable, "-m", "deploy.demo", f"--port-offset={OFFSET}", "--seconds=240"]
    child = subprocess.Popen(argv, cwd=ROOT, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert child.stdout is not None
    told = ""
    for line in child.stdout:
        told += line
        if "REPLAY" in line or "no recording" in line:
            child.terminate()
            child.wait()
            skip_or_fail(f"the kernel does not run the probes: {line}")
        if "demo: running" in line:
            break
    else:
        pytest.fail(told)
    time.sleep(LOAD_S)
    yield child
    child.terminate()
    child.communicate(timeout=60)
    assert child.returncode == 0
    assert not list(netns.RUN_NETNS.glob(f"sonde-demo-{child.pid}-*"))
    assert not (ROOT / ".sonde" / f"demo-{OFFSET}").exists()


@pytest.mark.usefixtures("demo")
def test_both_roles_on_the_right_hosts_with_the_other_end_named() -> None:
    found = rows(
        "SELECT host, service, protocol, role, remote_service, sum(requests) > 0 FROM request_stats_10s "
        "WHERE remote_service NOT LIKE '~%' GROUP BY ALL ORDER BY ALL"
    )
    assert [tuple(row[:5]) for row in found] == [
        ("app", "api", "http1", "server", "nginx"),
        ("app", "api", "mysql", "client", "mariadbd"),
        ("app", "api", "redis", "client", "redis-server"),
        ("db", "mariadbd", "mysql", "server", "api"),
        ("db", "redis-server", "redis", "server", "api"),
        ("web", "load", "http1", "client", "nginx"),
        ("web", "nginx", "http1", "client", "api"),
        ("web", "nginx", "http1", "server", "load"),
    ]


@pytest.mark.usefixtures("demo")
def test_the_slow_statement_takes_200_ms_and_process_time_carries_it() -> None:
    ends = rows(
        "SELECT role, count(), median(duration_ns), median(process_ns) FROM requests "
        "WHERE statement = 'SELECT SLEEP(?)' GROUP BY role ORDER BY role"
    )
    assert [end[0] for end in ends] == ["client", "server"]
    for _, count, duration_ns, process_ns in ends:
        assert count >= 50
        assert 200 * MS <= duration_ns <= 204 * MS
        assert process_ns >= 0.99 * duration_ns - MS


@pytest.mark.usefixtures("demo")
def test_a_blocked_worker_shows_as_queue_time() -> None:
    [[waited]] = rows(
        "SELECT count() FROM requests WHERE host = 'app' AND role = 'server' AND resource = '/items/{id}' "
        "AND queue_ns BETWEEN 20e6 AND 100e6 AND process_ns < queue_ns / 2"
    )
    assert waited >= 4


@pytest.mark.usefixtures("demo")
def test_each_client_row_joins_one_server_row() -> None:
    [[clients, joined, twice]] = rows(
        "SELECT count(), countIf(servers = 1), countIf(servers > 1) FROM ("
        "SELECT exchange_id, countIf(role = 'server') AS servers, countIf(role = 'client') AS clients, "
        "min(start) AS first FROM requests GROUP BY exchange_id) "
        "WHERE clients > 0 AND first < (SELECT max(start) - INTERVAL 5 SECOND FROM requests)"
    )
    assert clients > 1_000
    assert twice == 0
    assert joined == clients


@pytest.mark.usefixtures("demo")
def test_network_time_is_never_negative_and_below_a_millisecond() -> None:
    [[count, smallest, middle]] = rows("SELECT count(), min(network_ns), median(network_ns) FROM exchanges")
    assert count > 1_000
    assert smallest >= 0
    assert middle < MS


@pytest.mark.usefixtures("demo")
def test_errors_of_each_kind_are_seen() -> None:
    found = {
        tuple(row) for row in rows("SELECT DISTINCT protocol, status, status_code FROM requests WHERE status != 'ok'")
    }
    assert {("http1", "client_error", "404"), ("http1", "server_error", "500")} <= found
    assert ("mysql", "client_error", "1054") in found


@pytest.mark.usefixtures("demo")
def test_each_statement_that_the_demo_prints_gives_rows() -> None:
    sonde = Path(sys.executable).with_name("sonde")
    for title, statement in text.statements():
        assert '"' not in statement
        done = subprocess.run(
            [sonde, "sql", "--url", SQL, "--format", "json", statement], capture_output=True, text=True
        )
        assert done.returncode == 0, f"{title}: {done.stderr}"
        assert len(done.stdout.splitlines()) > 2, title


@pytest.mark.usefixtures("demo")
def test_the_pages_are_served() -> None:
    with urllib.request.urlopen(f"http://127.0.0.1:{8050 + OFFSET}/", timeout=10) as answer:
        assert answer.status == 200
