"""Record from a made-up source, play it back: times, identities, rounds, names, counters, damaged files."""

import contextlib
import dataclasses
import os
import stat
import time
from pathlib import Path

import numpy as np
import pytest
import zstandard

from node_agent import recording_file
from node_agent.config import load_settings
from node_agent.identity import clock
from node_agent.identity.host import Endpoint
from node_agent.identity.processes import Process
from node_agent.kernel import layout
from node_agent.recording import Recording, record_to, shifted
from node_agent.recording_file import Frame, Reader
from node_agent.source import Capture
from sonde.errors import RecordingError, UsageError
from tests.unit.protocols.turns import OK, query

from .turns import records, shown

SECRET = b"Zq7wSecretX9"
DATA = Path(__file__).parents[2] / "data"


class Source:
    """Gives three captures, one a read."""

    def __init__(self):
        self.probes, self.broken, self.closed = {"requests": None}, {"tls": "no libssl"}, False
        self.reads = 0

    def open(self):
        self.begun = time.monotonic_ns()

    def wait(self, timeout):
        time.sleep(min(timeout, 0.02))

    def read(self, sweep):
        self.reads += 1
        capture = Capture()
        if self.reads <= 3:
            turns = records(2, [(query(f"SELECT '{SECRET.decode()}'"), OK)] * 5)
            turns["turn"]["start"] += self.begun
            capture.turns = {"small_turns": turns, "large_turns": records(2, [], "large_turns")}
            capture.events = np.zeros(2, layout.CONNECTION_EVENT)
            capture.events["time"], capture.events["connection"] = self.begun, 9
            capture.events["pid"], capture.events["comm"] = 7, b"server"
        if sweep:
            capture.waiting = np.zeros(1, layout.REQUEST_CONN)
        return capture

    def process(self, pid, comm):
        return Process("shop", f"name of {pid} {comm}")

    def addresses(self):
        return ["10.1.2.3"]

    def endpoints(self):
        return [Endpoint(bytes(16), 3306, 7)]

    def counters(self):
        yield "requests", {"emitted": 5 * min(self.reads, 3), "lost": 1}

    def close(self):
        self.closed = True


@pytest.fixture
def settings():
    return load_settings({"host_name": "db"})


@pytest.fixture
def recorded(tmp_path, settings):
    source = Source()
    file = tmp_path / "a.sonde"
    assert record_to(str(file), settings, source, 1.2, raw=False) == 15
    assert source.closed
    return file


def played(recording, reads=200):
    turns, events = [], []
    recording.open()
    for _ in range(reads):
        capture = recording.read(sweep=True)
        turns += [capture.turns["small_turns"]] if "small_turns" in capture.turns else []
        events.append(capture.events)
        if recording.ended:
            break
    return np.concatenate(turns) if turns else np.zeros(0, layout.TURNS["small_turns"]), np.concatenate(events)


def test_what_was_recorded_is_played_with_its_names(recorded):
    recording = Recording(str(recorded), fast=True)
    assert (recording.host_name, recording.raw, recording.replay) == ("db", False, True)
    assert list(recording.probes) == ["requests"]
    assert recording.broken == {"tls": "no libssl"}
    turns, events = played(recording)
    assert recording.ended
    assert (len(turns), len(events)) == (15, 6)
    rows, tally = shown(turns)
    assert {row["statement"] for row in rows} == {"SELECT ?"}
    assert tally["unparsed"] == 0
    assert recording.process(7, "server") == Process("shop", "name of 7 server")
    assert recording.process(7, "other") == Process("shop", "name of 7 ")
    assert recording.process(8, "new") == Process("new", "new")
    assert recording.addresses() == ["10.1.2.3"]
    assert recording.endpoints() == [Endpoint(bytes(16), 3306, 7)]
    assert dict(recording.counters()) == {"requests": {"emitted": 15, "lost": 1}}
    assert recording.cost() == {}
    with recording.statistics():
        pass
    assert len(recording.read(sweep=True).events) == 0
    recording.close()


def test_endpoints_and_names_are_known_before_the_first_frame(recorded):
    assert Recording(str(recorded)).endpoints()


def decompressed(file):
    content = file.read_bytes()
    size = int.from_bytes(content[content.index(b"\n") + 1 :][:4], "little")
    start = content.index(b"\n") + 5
    return content[start : start + size] + zstandard.ZstdDecompressor().decompressobj().decompress(
        content[start + size :]
    )


def test_no_secret_is_in_the_file(recorded):
    plain = decompressed(recorded)
    assert len(plain) > 15 * 300
    whole = [frame.arrays for frame in Reader(recorded).frames()]
    assert all(SECRET not in array.tobytes() for arrays in whole for array in arrays.values())
    assert SECRET not in plain
    assert SECRET not in recorded.read_bytes()


def test_raw_keeps_payloads_and_is_for_the_owner_alone(tmp_path, settings):
    file = tmp_path / "raw.sonde"
    file.write_text("was here")
    file.chmod(0o666)
    before = os.umask(0)
    try:
        record_to(str(file), settings, Source(), 0.1, raw=True)
    finally:
        os.umask(before)
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    assert Recording(str(file)).raw
    texts = [
        frame.arrays["small_turns"]["request"].tobytes()
        for frame in Reader(file).frames()
        if "small_turns" in frame.arrays
    ]
    assert SECRET in b"".join(texts)
    assert b"LEFTOVER" not in b"".join(texts)


def test_masked_file_is_not_for_everybody(recorded):
    assert stat.S_IMODE(recorded.stat().st_mode) == 0o640
    assert os.listdir(recorded.parent) == [recorded.name]


def test_a_link_in_place_of_the_file_is_replaced_not_followed(tmp_path, settings):
    other = tmp_path / "other"
    other.write_text("precious")
    (tmp_path / "a.sonde").symlink_to(other)
    (tmp_path / "a.sonde.part").symlink_to(other)
    record_to(str(tmp_path / "a.sonde"), settings, Source(), 0.05, raw=False)
    assert other.read_text() == "precious"
    assert not (tmp_path / "a.sonde").is_symlink()


def test_a_recording_that_fails_leaves_no_file(tmp_path, settings):
    source = Source()
    source.endpoints = lambda: 1 / 0
    with pytest.raises(ZeroDivisionError):
        record_to(str(tmp_path / "a.sonde"), settings, source, 1, raw=False)
    assert os.listdir(tmp_path) == []
    assert source.closed


def test_place_that_cannot_be_written_is_one_line(tmp_path, settings):
    with pytest.raises(RecordingError, match=r"^[^\n]*cannot be written[^\n]*$"):
        record_to(str(tmp_path / "no" / "a.sonde"), settings, Source(), 1, raw=False)


def test_ctrl_c_ends_a_recording_that_can_be_played(tmp_path, settings):
    import signal

    source = Source()
    source.wait = lambda _: signal.raise_signal(signal.SIGINT) if source.reads == 3 else time.sleep(0.01)
    begin = time.monotonic()
    assert record_to(str(tmp_path / "a.sonde"), settings, source, 60, raw=False) == 15
    assert time.monotonic() - begin < 5
    assert len(played(Recording(str(tmp_path / "a.sonde"), fast=True))[0]) == 15


def test_a_recording_begins_now_and_keeps_its_pace(recorded):
    recording = Recording(str(recorded))
    now = time.monotonic_ns()
    recording.open()
    turns = []
    while not recording.ended and time.monotonic_ns() < now + 10e9:
        recording.wait(0.2)
        turns += recording.read(sweep=False).turns.get("small_turns", np.zeros(0)).tolist()
    assert 1.0e9 < time.monotonic_ns() - now < 5e9
    assert len(turns) == 15


def test_with_fast_the_recording_ends_now(recorded):
    recording = Recording(str(recorded), fast=True)
    now = time.monotonic_ns()
    _, events = played(recording)
    length = recording._last - recording._first
    assert ((events["time"] >= now - length - 1e9) & (events["time"] < now)).all()


def test_times_are_shifted_and_zero_stays_zero():
    turns = records(2, [(query("SELECT 1"), OK)], "large_turns")
    events = np.zeros(1, layout.CONNECTION_EVENT)
    events["opened"] = 5
    out = shifted(Frame(100, {"large_turns": turns, "events": events}), 1000, 0)
    assert out.time == 1100
    for name in ("start", "request_first", "request_end", "response_start", "response_first", "response_end"):
        assert out.arrays["large_turns"]["turn"][name][0] == turns["turn"][name][0] + 1000
    assert (
        out.arrays["large_turns"]["marks"]["responses"]["enter"][0, 0]
        == turns["marks"]["responses"]["enter"][0, 0] + 1000
    )
    assert not out.arrays["large_turns"]["marks"]["arrivals"]["time"].any()
    assert (out.arrays["events"]["opened"][0], out.arrays["events"]["closed"][0]) == (1005, 0)
    for name in ("gap", "offset", "request_bytes"):
        assert out.arrays["large_turns"]["turn"][name][0] == turns["turn"][name][0]
    assert turns["turn"]["start"][0] == 10_000


def test_rounds_have_identities_of_their_own_alike_in_all_recordings():
    ids = np.array([0, 1, 2, 2**63], dtype=np.uint64)
    turns, events = np.zeros(4, layout.TURNS["small_turns"]), np.zeros(4, layout.CONNECTION_EVENT)
    waiting = np.zeros(4, recording_file.LAYOUTS["waiting"])
    turns["turn"]["connection_id"] = events["connection_id"] = waiting["connection_id"] = ids
    seen = set()
    for number in (-1, 0, 1, 2):
        out = shifted(Frame(1, {"small_turns": turns, "events": events, "waiting": waiting}), 0, number).arrays
        mixed = out["small_turns"]["turn"]["connection_id"]
        assert mixed[0] == 0
        assert (mixed == out["events"]["connection_id"]).all()
        assert (mixed == out["waiting"]["connection_id"]).all()
        seen |= set(mixed[1:].tolist())
        if number == 0:
            assert (mixed == ids).all()
    assert len(seen) == 12


def test_a_loop_is_bound_to_the_clock_and_starts_in_the_middle(recorded, monkeypatch):
    unix = int(Reader(recorded).header["unix_offset_ns"])
    plain = Recording(str(recorded), loop=True)
    # Such a moment that the first frames of the third round are over.
    now = plain._first + unix + 2 * plain._period_ns + 1_100_000_000
    monkeypatch.setattr(clock, "offset_ns", lambda: now - time.monotonic_ns())
    rounds = []
    for _ in range(2):  # however late it starts
        recording = Recording(str(recorded), loop=True)
        recording.open()
        capture = recording.read(sweep=False)
        assert "small_turns" not in capture.turns
        assert len(capture.events) == 6
        assert capture.events["connection"][0] not in (0, 9)
        rounds.append(capture.events["connection"][0])
        assert dict(recording.counters())["requests"].get("emitted", 0) == 0
        assert not recording.ended
    assert rounds[0] == rounds[1]


def test_recordings_made_together_have_the_same_period():
    periods = {Recording(str(path), loop=True)._period_ns for path in sorted(DATA.glob("demo-*.sonde"))}
    assert len(periods) == 1


@pytest.mark.parametrize("host", ["web", "app", "db"])
def test_shipped_recordings_have_this_versions_layout_and_are_masked(host):
    path = DATA / f"demo-{host}.sonde"
    assert path.stat().st_size < 150_000
    recording = Recording(str(path))
    assert (recording.host_name, recording.raw) == (host, False)
    requests = b"".join(
        frame.arrays[ring]["request"].tobytes()
        for frame in Reader(path).frames() for ring in layout.TURNS if ring in frame.arrays
    )  # fmt: skip
    assert len(requests) > 100_000
    assert b"item%20" not in requests
    for ring in layout.TURNS:
        for frame in Reader(path).frames():
            if ring in frame.arrays:
                assert shown(frame.arrays[ring], ring)[1]["unparsed"] == 0


# --- files that are no recordings -----------------------------------------------------------------------------------


def refused(path):
    with pytest.raises(RecordingError) as caught:
        Recording(str(path))
    message = str(caught.value)
    assert message.startswith(str(path))
    assert "\n" not in message
    return message


def test_missing_and_foreign_files_are_refused_in_one_line(tmp_path):
    assert "No such file" in refused(tmp_path / "none")
    assert "Is a directory" in refused(tmp_path)
    for content in (b"", b"hello", b"\x93NUMPY\x01\x00" * 20, bytes(100), b"SONDE RECORDING 1"):
        (tmp_path / "a").write_bytes(content)
        assert "no recording" in refused(tmp_path / "a")


def test_every_truncation_is_refused(recorded, tmp_path):
    content = recorded.read_bytes()
    for size in [*range(0, len(content) - 1, 41), len(content) - 4, len(content) - 9]:
        (tmp_path / "cut").write_bytes(content[:size])
        assert any(word in refused(tmp_path / "cut") for word in ("cut off", "damaged", "no recording"))


def test_flipped_bits_are_refused_or_harmless(recorded, tmp_path):
    content = recorded.read_bytes()
    for place in range(0, len(content), 37):
        broken = bytearray(content)
        broken[place] ^= 0x55
        (tmp_path / "flipped").write_bytes(broken)
        with contextlib.suppress(RecordingError):
            played(Recording(str(tmp_path / "flipped"), fast=True))


def test_other_versions_and_layouts_are_refused(recorded, tmp_path, monkeypatch):
    content = recorded.read_bytes()
    (tmp_path / "new").write_bytes(content.replace(b"RECORDING 1\n", b"RECORDING 2\n", 1))
    assert "format" in refused(tmp_path / "new")
    changed = np.dtype([*layout.TURNS["small_turns"].descr[:1], ("response", "u1", 60), ("request", "u1", 128)])
    monkeypatch.setitem(recording_file.LAYOUTS, "small_turns", changed)
    assert "another layout" in refused(recorded)


@pytest.mark.parametrize("what", ["count", "length", "name", "endless"])
def test_lengths_in_the_file_are_not_believed(tmp_path, settings, monkeypatch, what):
    write = recording_file.Writer.write

    def lie(self, frame):
        if what == "length":
            self._stream.write((1 << 30).to_bytes(4, "little") * 2)
        elif what == "endless":
            self._stream.write(recording_file._LENGTHS.pack(2, 255 << 20) + b"{}")
        else:

            class Long(np.ndarray):
                def __len__(self):
                    return 1 << 40

            array = np.zeros(1, layout.CONNECTION_EVENT)
            monkeypatch.setattr(recording_file, "_transposed", lambda _: b"")
            arrays = {"events": array.view(Long)} if what == "count" else {"surprise": array}
            write(self, dataclasses.replace(frame, arrays=arrays))

    monkeypatch.setattr(recording_file.Writer, "write", lie)
    record_to(str(tmp_path / "lie"), settings, Source(), 0.05, raw=False)
    refused(tmp_path / "lie")


def test_raw_without_a_yes_is_refused_before_anything_is_loaded(tmp_path):
    from click.testing import CliRunner

    from node_agent.commands import record

    result = CliRunner().invoke(record, [str(tmp_path / "a"), "--raw"])
    assert isinstance(result.exception, UsageError)
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("number", [float("inf"), -1, 1 << 62, "7", None, 1.5])
def test_numbers_in_the_file_are_not_believed(number):
    with pytest.raises(ValueError, match=r"^$"):
        recording_file._whole(number, 1 << 62)
