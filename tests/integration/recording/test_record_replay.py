"""`sonde record` and `sonde replay` with a real kernel, real servers and a real aggregator."""

import signal
import subprocess
import sys
import time
from pathlib import Path

import pytest

from deploy.demo import workdir
from node_agent.recording_file import Reader
from tests.conftest import skip_or_fail
from tests.support.aggregators import Aggregator
from tests.targets import netns
from tests.targets.netns import Network
from tests.targets.redis import Redis

SONDE = [sys.executable, "-m", "sonde"]
DATA = Path(__file__).parents[2] / "data"
COMMANDS = 107
SECRET = "Zq7wSecretX9"


@pytest.fixture
def aggregator(tmp_path):
    started = Aggregator(tmp_path).start()
    yield started
    started.stop()


def replay(aggregator, *files, arguments=("--fast",)):
    players = [
        subprocess.Popen(
            [*SONDE, "replay", str(file), *arguments, "--aggregator", f"127.0.0.1:{aggregator.grpc}"],
            stderr=subprocess.PIPE, text=True,
        )
        for file in files
    ]  # fmt: skip
    answers = [player.communicate(timeout=120)[1] for player in players]
    assert [player.returncode for player in players] == [0] * len(files), answers
    return answers


def kernel_or_skip():
    if reason := netns.available():
        skip_or_fail(reason)
    workdir.mount_tracefs()
    workdir.CACHE.mkdir(parents=True, exist_ok=True)
    if reason := workdir.kernel_refuses():
        skip_or_fail(reason)


def recorder(file, namespace, *arguments):
    started = subprocess.Popen(
        [*SONDE, "record", str(file), "--host-name", "store", "--scope-netns", str(namespace.inode), *arguments],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert started.stderr is not None
    for line in started.stderr:
        if "recording as" in line:
            return started
    raise AssertionError(f"the recorder ended with {started.wait()}")


def test_recorded_commands_are_replayed_exactly_and_without_their_values(tmp_path, aggregator):
    kernel_or_skip()
    file = tmp_path / "store.sonde"
    with Network("store") as network, Redis(network["store"]) as server:
        recording = recorder(file, network["store"], "--seconds", "60")
        with server.client() as client:
            for number in range(COMMANDS):
                client.set(f"user:{number}:name", f"{SECRET}{number}")
        time.sleep(1)
        recording.send_signal(signal.SIGINT)
        output, _ = recording.communicate(timeout=30)
    assert recording.returncode == 0
    assert f"{2 * COMMANDS} turns" in output
    frames = [array.tobytes() for frame in Reader(file).frames() for array in frame.arrays.values()]
    assert SECRET.encode() not in b"".join(frames)
    replay(aggregator, file)
    rows = aggregator.query(
        "SELECT role, service, operation, statement, status, count(), uniqExact(exchange_id) "
        "FROM sonde.requests GROUP BY ALL ORDER BY role FORMAT TabSeparated"
    )
    assert rows == [
        [role, rows[number][1], "SET", "SET user:*:name ?", "ok", str(COMMANDS), str(COMMANDS)]
        for number, role in enumerate(("client", "server"))
    ]
    assert rows[1][1] == "redis-server"
    assert aggregator.query("SELECT count() FROM sonde.exchanges FORMAT TabSeparated") == [[str(COMMANDS)]]
    assert aggregator.query("SELECT host, replay FROM sonde.hosts FINAL FORMAT TabSeparated") == [["store", "1"]]


def test_raw_recordings_warn_when_they_are_replayed(tmp_path, aggregator):
    kernel_or_skip()
    file = tmp_path / "store.sonde"
    with Network("store") as network, Redis(network["store"]) as server:
        recording = recorder(file, network["store"], "--seconds", "2", "--raw", "--yes-payloads")
        with server.client() as client:
            client.set("a", SECRET)
        output, _ = recording.communicate(timeout=30)
    assert "with payloads" in output
    assert file.stat().st_mode & 0o777 == 0o600
    frames = [array.tobytes() for frame in Reader(file).frames() for array in frame.arrays.values()]
    assert SECRET.encode() in b"".join(frames)
    (complaint,) = replay(aggregator, file)
    assert "warning" in complaint
    assert "payloads" in complaint


def test_shipped_recordings_join_at_both_ends(aggregator):
    replay(aggregator, *sorted(DATA.glob("demo-*.sonde")))
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ends = aggregator.query(
            "SELECT countIf(role = 'client'), countIf(role = 'server'), uniqExact(exchange_id) "
            "FROM sonde.requests FORMAT TabSeparated"
        )[0]
        if ends[0] == ends[1] == ends[2]:
            break
        time.sleep(0.5)
    assert int(ends[0]) > 1000
    assert ends[0] == ends[1] == ends[2]
    joined = aggregator.query("SELECT count(), countIf(network_ns < 0) FROM sonde.exchanges FORMAT TabSeparated")[0]
    assert joined == [ends[0], "0"]
    slow = aggregator.query(
        "SELECT median(duration_ns) FROM sonde.requests WHERE host = 'db' AND statement LIKE 'SELECT SLEEP%' "
        "FORMAT TabSeparated"
    )
    assert 200e6 < float(slow[0][0]) < 204e6


def test_a_file_that_is_no_recording_fails_with_one_line(tmp_path):
    (tmp_path / "a").write_text("hello")
    done = subprocess.run([*SONDE, "replay", str(tmp_path / "a")], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    assert "no recording" in done.stderr
    assert "Traceback" not in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
