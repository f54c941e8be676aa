"""Which capabilities are missing, by name, and that the agent says so instead of failing later."""

from __future__ import annotations

import pytest

from node_agent.config import AgentSettings
from node_agent.kernel import capabilities
from node_agent.source import KernelSource
from sonde.errors import KernelError

BITS = {item.name: 1 << item.bit for item in capabilities.CAPABILITIES}
ALL = sum(BITS.values())
SYS_ADMIN = 1 << 21


@pytest.mark.parametrize("name", BITS)
def test_each_one_is_missed_by_name(name: str) -> None:
    absent = capabilities.missing(ALL & ~BITS[name], tracefs_readable=False)
    assert [item.name for item in absent] == [name]


def test_sys_admin_stands_for_the_two_that_were_split_off() -> None:
    bits = SYS_ADMIN | BITS["CAP_DAC_READ_SEARCH"] | BITS["CAP_SYS_PTRACE"]
    assert capabilities.missing(bits, tracefs_readable=False) == []


@pytest.mark.parametrize(("level", "absent"), [(2, []), (3, ["CAP_SYS_ADMIN"])])
def test_debians_kernel_keeps_perf_events_for_sys_admin(level: int, absent: list[str]) -> None:
    assert [item.name for item in capabilities.missing(ALL, tracefs_readable=False, level=level)] == absent
    assert capabilities.missing(ALL | SYS_ADMIN, tracefs_readable=False, level=level) == []


def test_a_readable_tracefs_needs_no_capability() -> None:
    assert capabilities.missing(ALL & ~BITS["CAP_DAC_READ_SEARCH"], tracefs_readable=True) == []


def test_the_agent_names_what_is_missing(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(capabilities, "effective", lambda: ALL & ~BITS["CAP_BPF"])
    monkeypatch.setattr(capabilities, "paranoid", lambda: 2)
    with pytest.raises(KernelError, match=r"^missing: CAP_BPF \(to load programs.*AmbientCapabilities"):
        KernelSource(AgentSettings(spool={"path": ""})).open()
