"""What this process may do: the capabilities that the agent needs, by name, and what each is for.

Two of them it cannot do without; without the others it does less, and says what.
"""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

_SYS_ADMIN = 21
_EVENTS = "/sys/kernel/tracing/events"


@dataclass(frozen=True, slots=True)
class Capability:
    """One capability: its bit in /proc/self/status, what it is for, and whether nothing works without it."""

    name: str
    bit: int
    why: str
    required: bool


CAPABILITIES = (
    Capability("CAP_BPF", 39, "to load programs and create maps", True),
    Capability("CAP_PERFMON", 38, "to attach to tracepoints and read kernel memory", True),
    Capability("CAP_DAC_READ_SEARCH", 2, "to read tracefs, which is root's", True),
    Capability("CAP_SYS_PTRACE", 19, "to name the services of other users' processes and their sockets", False),
)

#: Debian's kernels take kernel.perf_event_paranoid above 2 for "only CAP_SYS_ADMIN opens perf events", and a tracepoint
#: is attached by one. Seen on Debian's 6.1, where 3 is the default; the kernel's own code stops at 2.
FOR_PERF_EVENTS = Capability(
    "CAP_SYS_ADMIN", _SYS_ADMIN, "to attach to tracepoints where kernel.perf_event_paranoid is above 2 (Debian)", True
)
_PARANOID = Path("/proc/sys/kernel/perf_event_paranoid")


def paranoid() -> int:
    """kernel.perf_event_paranoid; 2, the kernel's own default, where it cannot be read."""
    try:
        return int(_PARANOID.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return 2


def needed(level: int) -> tuple[Capability, ...]:
    """Those that the agent needs where kernel.perf_event_paranoid is `level`."""
    return (*CAPABILITIES, FOR_PERF_EVENTS) if level > 2 else CAPABILITIES


def effective(status: Path = Path("/proc/self/status")) -> int:
    """The effective set as bits."""
    lines = status.read_text(encoding="ascii").splitlines()
    return int(next(line for line in lines if line.startswith("CapEff")).split()[1], 16)


def missing(bits: int, tracefs_readable: bool, level: int = 2) -> list[Capability]:
    """Those of `needed(level)` that are not among `bits`."""
    # CAP_SYS_ADMIN includes what was split off from it in Linux 5.8.
    everything = bool(bits >> _SYS_ADMIN & 1)
    return [
        item
        for item in needed(level)
        if not bits >> item.bit & 1
        and not (everything and item.bit >= 38)
        and not (tracefs_readable and item.name == "CAP_DAC_READ_SEARCH")
    ]


def missing_here() -> list[Capability]:
    """Those that this process lacks."""
    readable = os.geteuid() == 0 or os.access(_EVENTS, os.R_OK | os.X_OK, effective_ids=True)
    return missing(effective(), readable, paranoid())
