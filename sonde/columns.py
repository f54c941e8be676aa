"""Columns on the wire: NumPy arrays as byte planes.

A column of n unsigned 64-bit values is one byte k, then k planes of n bytes; plane i holds byte i
(little-endian) of every value; top planes that would be all zero are left out. zstd sees long runs of
similar bytes, and both directions are a transposition: no loop over values.

Invariants: `decode(encode(a), len(a))` equals `a`; bytes that no encoder produced raise WireError, never
anything else, and never allocate more than 8 bytes a row.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from sonde.errors import WireError

U64 = npt.NDArray[np.uint64]
_MAX_PLANES = 8


def encode(values: npt.ArrayLike) -> bytes:
    """Planes of `values`, shape (n,), any non-negative integer dtype."""
    column = np.ascontiguousarray(values, dtype="<u8")
    if column.size == 0:
        return b"\0"
    planes = (int(column.max()).bit_length() + 7) // 8
    return bytes([planes]) + column.view(np.uint8).reshape(-1, 8)[:, :planes].T.tobytes()


def decode(data: bytes, rows: int) -> U64:
    """Values of a plane column, shape (rows,), dtype uint64.

    Raises:
        WireError: the length does not fit `rows`.
    """
    if not data:
        raise WireError("column is missing; send every column of a section")
    planes = data[0]
    if planes > _MAX_PLANES or len(data) != 1 + planes * rows:
        raise WireError(f"column of {len(data)} bytes with {planes} planes does not hold {rows} rows")
    out = np.zeros((rows, _MAX_PLANES), dtype=np.uint8)
    if planes:
        out[:, :planes] = np.frombuffer(data, dtype=np.uint8, offset=1).reshape(planes, rows).T
    return out.view("<u8").reshape(rows).astype(np.uint64, copy=False)


def encode_delta(values: npt.ArrayLike) -> bytes:
    """Planes of the zigzag of neighbours' differences (modulo 2^64), the first from 0."""
    column = np.ascontiguousarray(values, dtype=np.uint64)
    difference = np.diff(column, prepend=np.uint64(0)).view(np.int64)
    return encode(((difference << 1) ^ (difference >> 63)).view(np.uint64))


def decode_delta(data: bytes, rows: int) -> U64:
    """Inverse of `encode_delta`; shape (rows,), dtype uint64.

    Raises:
        WireError: the length does not fit `rows`.
    """
    zigzag = decode(data, rows)
    difference = (zigzag >> np.uint64(1)) ^ (np.uint64(0) - (zigzag & np.uint64(1)))
    return np.cumsum(difference, dtype=np.uint64)


def encode_addresses(addresses: npt.NDArray[np.uint8]) -> bytes:
    """IPv6 addresses, shape (n, 16), network order, as 16 bytes a row."""
    return np.ascontiguousarray(addresses, dtype=np.uint8).tobytes()


def decode_addresses(data: bytes, rows: int) -> npt.NDArray[np.uint8]:
    """Inverse of `encode_addresses`, shape (rows, 16).

    Raises:
        WireError: the length does not fit `rows`.
    """
    if len(data) != 16 * rows:
        raise WireError(f"address column of {len(data)} bytes does not hold {rows} rows")
    return np.frombuffer(data, dtype=np.uint8).reshape(rows, 16)
