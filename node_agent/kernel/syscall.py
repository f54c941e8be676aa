"""The few bpf(2) commands that the agent needs, over ctypes: maps by NumPy buffers, and running a program once."""

from __future__ import annotations

import ctypes
import errno
import os
import platform
import struct
from typing import Any

import numpy as np
import numpy.typing as npt

from node_agent.kernel import statistics
from sonde.errors import KernelError

_NUMBER = {"x86_64": 321, "aarch64": 280}
_LOOKUP, _UPDATE, _DELETE, _TEST_RUN, _INFO, _LOOKUP_BATCH = 1, 2, 3, 10, 15, 24
_ATTRIBUTE_BYTES = 144

_libc = ctypes.CDLL(None, use_errno=True)


def _bpf(command: int, attribute: ctypes.Array[ctypes.c_char]) -> int:
    result: int = _libc.syscall(_NUMBER[platform.machine()], command, attribute, _ATTRIBUTE_BYTES)
    return result


def _attribute(layout: str, *values: int) -> ctypes.Array[ctypes.c_char]:
    attribute = ctypes.create_string_buffer(_ATTRIBUTE_BYTES)
    struct.pack_into("=" + layout, attribute, 0, *values)
    return attribute


def _failed(what: str) -> KernelError:
    code = ctypes.get_errno()
    return KernelError(f"{what} failed: {os.strerror(code)}; `sonde doctor` says which capability is missing")


def update(descriptor: int, key: bytes, value: bytes, only_new: bool = False) -> None:
    """Set one map entry; with `only_new` an entry that is there stays as it is.

    Raises:
        KernelError: the kernel refuses.
    """
    key_buffer, value_buffer = (
        ctypes.create_string_buffer(key, len(key)),
        ctypes.create_string_buffer(value, len(value)),
    )
    attribute = _attribute(
        "IIQQQ", descriptor, 0, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), only_new
    )
    if _bpf(_UPDATE, attribute) and not (only_new and ctypes.get_errno() == errno.EEXIST):
        raise _failed("updating a BPF map")


def delete(descriptor: int, key: bytes) -> None:
    """Remove one map entry, if it is there."""
    key_buffer = ctypes.create_string_buffer(key, len(key))
    _bpf(_DELETE, _attribute("IIQ", descriptor, 0, ctypes.addressof(key_buffer)))


def lookup(descriptor: int, key: bytes, value_bytes: int) -> bytes | None:
    """Value of one map entry (all processors' for a per-CPU map), None if it is not there."""
    key_buffer, value_buffer = ctypes.create_string_buffer(key, len(key)), ctypes.create_string_buffer(value_bytes)
    attribute = _attribute("IIQQQ", descriptor, 0, ctypes.addressof(key_buffer), ctypes.addressof(value_buffer), 0)
    if _bpf(_LOOKUP, attribute):
        if ctypes.get_errno() == errno.ENOENT:
            return None
        raise _failed("reading a BPF map")
    return value_buffer.raw


def entries(
    descriptor: int, key_bytes: int, value: np.dtype[Any], at_once: int = 4096
) -> tuple[npt.NDArray[np.uint8], npt.NDArray[Any]]:
    """All entries of a hash map: keys (n, key_bytes) uint8 and values (n,) of dtype `value`.

    Entries that come or go meanwhile may be missed, none is torn by the walk itself.

    Raises:
        KernelError: the kernel refuses, or is older than 5.6.
    """
    keys: list[npt.NDArray[np.uint8]] = []
    values: list[npt.NDArray[Any]] = []
    cursor = ctypes.create_string_buffer(max(key_bytes, 8))
    first = True
    while True:
        key_block = np.zeros((at_once, key_bytes), dtype=np.uint8)
        value_block = np.zeros(at_once, dtype=value)
        attribute = _attribute(
            "QQQQIIQQ",
            0 if first else ctypes.addressof(cursor),
            ctypes.addressof(cursor),
            key_block.ctypes.data,
            value_block.ctypes.data,
            at_once,
            descriptor,
            0,
            0,
        )
        result = _bpf(_LOOKUP_BATCH, attribute)
        code = ctypes.get_errno()
        if result and code == errno.ENOSPC:  # one bucket holds more than we asked for
            at_once *= 2
            continue
        if result and code != errno.ENOENT:
            raise _failed("walking a BPF map")
        found = struct.unpack_from("=I", attribute, 32)[0]
        keys.append(key_block[:found])
        values.append(value_block[:found])
        if result:
            return np.concatenate(keys), np.concatenate(values)
        first = False


def run(descriptor: int, argument: int) -> int:
    """Run a raw tracepoint program once with `argument` as its first one; its return value.

    Raises:
        KernelError: the kernel refuses, or is older than 5.10.
    """
    context = (ctypes.c_uint64 * 1)(argument)
    attribute = _attribute("IIIIQQIIIIQQII", descriptor, *[0] * 7, 8, 0, ctypes.addressof(context), 0, 0, 0)
    if _bpf(_TEST_RUN, attribute):
        raise _failed("running a BPF program")
    return int(struct.unpack_from("=I", attribute, 4)[0])


def program_cost(descriptor: int) -> tuple[int, int]:
    """(ns, runs) that a program has taken while statistics were on."""
    info = ctypes.create_string_buffer(256)
    attribute = _attribute("IIQ", descriptor, len(info), ctypes.addressof(info))
    if _bpf(_INFO, attribute):
        raise _failed("asking for a BPF program's statistics")
    # struct bpf_prog_info: run_time_ns and run_cnt at 192 and 200.
    nanoseconds, runs = struct.unpack_from("=QQ", info, 192)
    return nanoseconds, runs


def enable_statistics() -> int:
    """Descriptor that keeps the kernel's run-time statistics on until it is closed; the helper's, without the right.

    Raises:
        KernelError: the kernel refuses, or is older than 5.8.
    """
    try:
        return statistics.enable()
    except OSError as refused:
        try:
            return statistics.ask()
        except OSError:
            raise KernelError(
                f"switching BPF statistics on failed: {refused.strerror}; it takes CAP_SYS_ADMIN, or the unit "
                "sonde-agent-statistics.socket"
            ) from None
