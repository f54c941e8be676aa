"""Each probe has its C file, its module, its kernel test and its line in the registry and the docs."""

from __future__ import annotations

from pathlib import Path

from node_agent.config import AgentSettings
from node_agent.probes.registry import PROBES

_TOP = Path(__file__).resolve().parents[3]


def test_files_and_registry_agree() -> None:
    assert list(PROBES) == sorted(PROBES)
    assert {path.stem for path in (_TOP / "bpf").glob("*.c")} == set(PROBES)
    for name, probe in PROBES.items():
        assert probe.name == name
        assert (_TOP / "node_agent" / "probes" / f"{name}.py").exists()
        assert (_TOP / "tests" / "kernel" / f"test_{name}.py").exists()
    assert set(AgentSettings().probes) == set(PROBES)


def test_protocols_of_the_kernel_are_in_classify() -> None:
    text = (_TOP / "bpf" / "requests.c").read_text(encoding="utf-8")
    for header in (_TOP / "bpf" / "protocols").glob("*.h"):
        assert f'#include "protocols/{header.name}"' in text
        assert f"is_{header.stem}_request(" in text
