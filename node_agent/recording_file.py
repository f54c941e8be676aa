r"""The file of a recording: a line that names the format, a JSON header, then frames in one zstd stream.

    b"SONDE RECORDING 1\n"   u32 length   JSON header
    zstd stream of frames:   u32 length   u32 length   JSON index   bytes of the arrays the index names

Integers are little-endian. An array is its records' bytes, transposed (all first bytes, then all second ones, ...),
which compresses two times better. Invariants: no length is believed beyond its limit; the last frame says that it is
the last, so a file that was cut off is refused; the header names the layout of every array, and records of another
layout are refused, never reinterpreted. The file appears under its name when it is complete, with its final mode.
"""

from __future__ import annotations

import hashlib
import json
import os
import struct
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO

import numpy as np
import numpy.typing as npt
import zstandard

from node_agent.kernel import layout
from node_agent.masking import packed
from sonde.errors import RecordingError

Array = npt.NDArray[Any]

VERSION = 1
_MAGIC, _LINE = b"SONDE RECORDING ", 32
_HEADER_BYTES, _INDEX_BYTES, _FRAME_BYTES = 1 << 20, 16 << 20, 256 << 20
_LEVEL = 12
_WINDOW_LOG = 23
_HEADER: dict[str, Any] = {
    "host": str, "raw": bool, "seconds": (int, float), "unix_offset_ns": int, "addresses": list, "layouts": dict,
    "sonde": str, "probes": list, "broken": dict,
}  # fmt: skip
_LENGTHS = struct.Struct("<II")

LAYOUTS: dict[str, np.dtype[Any]] = {
    **layout.TURNS,
    "events": layout.CONNECTION_EVENT,
    "waiting": packed(layout.REQUEST_CONN),
}


def fingerprint(dtype: np.dtype[Any]) -> str:
    """What tells one layout of records from another."""
    return hashlib.sha256(repr(np.lib.format.dtype_to_descr(dtype)).encode()).hexdigest()[:16]


@dataclass
class Frame:
    """What was read in about a second; times are monotonic ns of the recorded host."""

    time: int
    arrays: dict[str, Array] = field(default_factory=dict)
    processes: list[tuple[int, str, str, str]] = field(default_factory=list)  # pid, thread's name, service, comm
    endpoints: list[tuple[str, int, int]] | None = None  # address as 32 hex digits, port, pid
    counters: dict[str, dict[str, int]] | None = None  # probe -> totals since it was loaded
    last: bool = False


class Writer:
    """Writes a recording; the file is there once `finish` was called."""

    def __init__(self, path: Path, header: dict[str, Any], mode: int) -> None:
        self._path, self._part = path, path.with_name(path.name + ".part")
        try:
            self._part.unlink(missing_ok=True)
            descriptor = os.open(self._part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW, 0o600)
            os.fchmod(descriptor, mode)
        except OSError as error:
            raise _cannot_write(path, error) from None
        self._file = os.fdopen(descriptor, "wb")
        layouts = {name: fingerprint(dtype) for name, dtype in LAYOUTS.items()}
        text = json.dumps({**header, "layouts": layouts}).encode()
        self._file.write(_MAGIC + str(VERSION).encode() + b"\n" + len(text).to_bytes(4, "little") + text)
        parameters = zstandard.ZstdCompressionParameters.from_level(_LEVEL, window_log=_WINDOW_LOG)
        self._stream = zstandard.ZstdCompressor(compression_params=parameters).stream_writer(self._file, closefd=False)

    def write(self, frame: Frame) -> None:
        """Append a frame.

        Raises:
            RecordingError: the disk is full, or anything else of the system's.
        """
        index = {name: value for name, value in vars(frame).items() if name != "arrays"}
        index["arrays"] = {name: len(records) for name, records in frame.arrays.items()}
        text = json.dumps(index).encode()
        body = b"".join(_transposed(records) for records in frame.arrays.values())
        try:
            self._stream.write(_LENGTHS.pack(len(text), len(body)) + text + body)
            self._stream.flush(zstandard.FLUSH_BLOCK)
            self._file.flush()
        except OSError as error:
            raise _cannot_write(self._path, error) from None

    def finish(self) -> None:
        """Close the file and give it its name."""
        try:
            self._stream.flush(zstandard.FLUSH_FRAME)
            self._file.close()
            os.replace(self._part, self._path)
        except OSError as error:
            raise _cannot_write(self._path, error) from None

    def __enter__(self) -> Writer:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        if not self._file.closed:
            self._file.close()
        self._part.unlink(missing_ok=True)


def _cannot_write(path: Path, error: OSError) -> RecordingError:
    return RecordingError(f"{path}: cannot be written: {error.strerror}; choose another place")


def _transposed(records: Array) -> bytes:
    return np.ascontiguousarray(records).view(np.uint8).reshape(len(records), records.dtype.itemsize).T.tobytes()


def _whole(number: Any, below: int) -> int:
    if not isinstance(number, int) or not 0 <= number < below:
        raise ValueError
    return number


class Reader:
    """Reads a recording; every fault of the file is a RecordingError of one line."""

    def __init__(self, path: Path) -> None:
        """Read and check the header."""
        self._path = path
        with self._opened() as file:
            self.header, self._begin = self._read_header(file)
        for name, dtype in LAYOUTS.items():
            if self.header["layouts"].get(name) != fingerprint(dtype):
                raise self._error(
                    f"its records ({name}) have another layout than this version's; replay it with the version that "
                    f"recorded it, {self.header['sonde']!s:.40}"
                )

    def _error(self, what: str) -> RecordingError:
        return RecordingError(f"{self._path}: {what}")

    def _opened(self) -> BinaryIO:
        try:
            return self._path.open("rb")
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}; give the path of a recording") from None

    def _read_header(self, file: BinaryIO) -> tuple[dict[str, Any], int]:
        try:
            line = file.readline(_LINE)
            if not line.startswith(_MAGIC) or not line.endswith(b"\n"):
                raise self._error("is no recording; `sonde record FILE` makes one")
            if line[len(_MAGIC) : -1] != str(VERSION).encode():
                raise self._error(f"has format {line[len(_MAGIC) : -1]!r}; this version reads format {VERSION}")
            size = int.from_bytes(file.read(4), "little")
            if size > _HEADER_BYTES:
                raise self._error("has a header that is too long; it is damaged, record again")
            header = json.loads(file.read(size))
            if not isinstance(header, dict) or not all(
                isinstance(header.get(key), kind) for key, kind in _HEADER.items()
            ):
                raise ValueError
        except OSError as error:
            raise self._error(f"cannot be read: {error.strerror}; give the path of a recording") from None
        except ValueError:
            raise self._error("has a damaged header; record again") from None
        return header, file.tell()

    def frames(self) -> Iterator[Frame]:
        """Every frame, in order.

        Raises:
            RecordingError: the file is cut off or damaged from here on.
        """
        with self._opened() as file:
            file.seek(self._begin)
            decompressor = zstandard.ZstdDecompressor(max_window_size=1 << _WINDOW_LOG)
            try:
                with decompressor.stream_reader(file, read_across_frames=False) as stream:
                    last = False
                    while not last:
                        frame = self._frame(stream)
                        last = frame.last
                        yield frame
            except (zstandard.ZstdError, OSError, ValueError, TypeError, LookupError, AttributeError, ArithmeticError):
                raise self._error("is damaged; record again") from None

    def _read(self, stream: Any, size: int) -> bytes:
        data = bytearray()
        while len(data) < size:
            part = stream.read(min(size - len(data), 1 << 20))
            if not part:
                raise self._error("ends in the middle: it was cut off; record again")
            data += part
        return bytes(data)

    def _frame(self, stream: Any) -> Frame:
        index_bytes, body_bytes = _LENGTHS.unpack(self._read(stream, _LENGTHS.size))
        if index_bytes > _INDEX_BYTES or body_bytes > _FRAME_BYTES:
            raise ValueError
        index = json.loads(self._read(stream, index_bytes))
        body = memoryview(self._read(stream, body_bytes))
        arrays, at = {}, 0
        for name, count in index["arrays"].items():
            dtype = LAYOUTS[name]
            size = count * dtype.itemsize
            if not isinstance(count, int) or count < 0 or at + size > body_bytes:
                raise ValueError
            octets = np.frombuffer(body[at : at + size], dtype=np.uint8).reshape(dtype.itemsize, count)
            arrays[name] = np.ascontiguousarray(octets.T).reshape(-1).view(dtype)
            at += size
        endpoints, counters = index["endpoints"], index["counters"]
        return Frame(
            time=_whole(index["time"], 1 << 62),
            arrays=arrays,
            processes=[
                (_whole(pid, 1 << 32), str(name), str(service), str(comm))
                for pid, name, service, comm in index["processes"]
            ],
            endpoints=None
            if endpoints is None
            else [
                (bytes.fromhex(address).hex().zfill(32), _whole(port, 1 << 16), _whole(pid, 1 << 32))
                for address, port, pid in endpoints
            ],
            counters=None
            if counters is None
            else {
                probe: {name: _whole(n, 1 << 62) for name, n in totals.items()} for probe, totals in counters.items()
            },
            last=bool(index["last"]),
        )
