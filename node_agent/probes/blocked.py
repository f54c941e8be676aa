"""Reads that were blocked when the probe `requests` started: /proc tells the kernel program what it has missed.

A thread that waits inside recv() entered it before there was a program to see that. Without its arguments the first
request of each such connection would be missed. /proc/PID/task/TID/syscall has them.
"""

from __future__ import annotations

import os
import platform
from pathlib import Path

import numpy as np

from node_agent.kernel import layout, syscall

#: System call number -> layout of its buffer, and how many of the arguments are (fd, base, length).
_READS = {
    "x86_64": {0: layout.PLAIN, 45: layout.PLAIN, 19: layout.VECTOR, 47: layout.MESSAGE},
    "aarch64": {63: layout.PLAIN, 207: layout.PLAIN, 65: layout.VECTOR, 212: layout.MESSAGE},
}


def blocked_read(text: str) -> tuple[int, int, int, int] | None:
    """(layout, fd, base, length) of a line of /proc/PID/syscall, None if it is no read."""
    fields = text.split()
    if len(fields) < 4 or not fields[0].isdigit():
        return None
    kind = _READS.get(platform.machine(), {}).get(int(fields[0]))
    if kind is None:
        return None
    descriptor, base, length = (int(field, 16) for field in fields[1:4])
    return kind, descriptor, base, length


def _inside(process: Path, namespace: int) -> bool:
    return not namespace or (process / "ns" / "net").stat().st_ino == namespace


def adopt(calls: int, namespace: int, proc: Path = Path("/proc")) -> int:
    """Enter every blocked read on a socket into the map `calls` (its descriptor); how many.

    `namespace` limits it to the processes of a network namespace, by inode; 0: all.
    """
    count = 0
    for process in proc.iterdir():
        if not process.name.isdigit() or int(process.name) == os.getpid():
            continue
        try:
            if _inside(process, namespace):
                count += sum(_adopt_thread(calls, process, thread) for thread in (process / "task").iterdir())
        except OSError:
            continue  # it has ended meanwhile
    return count


def _adopt_thread(calls: int, process: Path, thread: Path) -> int:
    place = thread / "syscall"
    text = place.read_text(encoding="ascii")
    found = blocked_read(text)
    if found is None:
        return 0
    kind, descriptor, base, length = found
    if not os.readlink(process / "fd" / str(descriptor)).startswith("socket:"):
        return 0
    call = np.zeros((), layout.CALL)
    call["layout"], call["fd"], call["base"], call["length"] = kind, descriptor, base, length
    key = (int(process.name) << 32 | int(thread.name)).to_bytes(8, "little")
    syscall.update(calls, key, call.tobytes(), only_new=True)
    if place.read_text(encoding="ascii") != text:  # it went on in between: the program sees the next one itself
        syscall.delete(calls, key)
        return 0
    return 1
