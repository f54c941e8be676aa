"""From bpf/*.c to a loaded probe, as far as no kernel is needed: includes, headers, error messages."""

from __future__ import annotations

import re
import subprocess
import sys
from pathlib import Path

import pytest

from node_agent.kernel import headers, layout, loader, source
from node_agent.probes.registry import PROBES
from sonde.errors import KernelError, ProbeError
from tests.targets.process import ROOT


@pytest.mark.parametrize("probe", PROBES)
def test_no_include_of_ours_is_left_and_each_file_comes_once(probe: str) -> None:
    text = source.inline(f"{probe}.c")
    assert '#include "' not in text
    begins = re.findall(r'^#line 1 "(.*)"$', text, re.MULTILINE)
    assert len(begins) == len(set(begins))
    assert {f"bpf/{probe}.c", "bpf/common/kernel.h"} <= set(begins)


@pytest.mark.parametrize("probe", PROBES)
def test_line_numbers_name_the_right_line(probe: str) -> None:
    place, number = "", 0
    for line in source.inline(f"{probe}.c").splitlines():
        if match := re.match(r'#line (\d+) "(.*)"', line):
            number, place = int(match.group(1)) - 1, match.group(2)
            continue
        number += 1
        lines = (ROOT / place).read_text().splitlines()
        assert lines[number - 1] == line if number <= len(lines) else not line


def test_missing_file_says_what_to_do() -> None:
    with pytest.raises(ProbeError, match=r"bpf/nothing\.c is missing from this installation"):
        source.inline("nothing.c")


def test_each_probe_has_its_c_file_its_module_and_its_kernel_test() -> None:
    files = {path.stem for path in (ROOT / "bpf").glob("*.c")}
    assert files == set(PROBES)
    assert list(PROBES) == sorted(PROBES)
    for name, probe in PROBES.items():
        assert probe.name == name
        assert (ROOT / "node_agent" / "probes" / f"{name}.py").exists()
        assert (ROOT / "tests" / "kernel" / f"test_{name}.py").exists()


@pytest.mark.parametrize(
    ("error", "log", "told"),
    [
        (
            "Failed to compile BPF module <text>",
            "warning: x\nbpf/requests.c:12:3: error: use of undeclared identifier 'y'\n1 error generated.\n",
            "bpf/requests.c:12:3: error: use of undeclared identifier 'y'",
        ),
        (
            "Failed to load BPF program b'f': Permission denied",
            "; u64 x = 1\n0: (b7) r0 = 0\nR1 invalid mem access 'scalar'\nprocessed 12 insns (limit 1000000)\n",
            "Failed to load BPF program b'f': Permission denied (R1 invalid mem access 'scalar')",
        ),
        ("no module\n named bcc", "", "no module named bcc"),
    ],
)
def test_explain_is_one_line(error: str, log: str, told: str) -> None:
    assert loader.explain(error, log) == told


def test_compiler_that_dies_is_a_probe_error(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loader.headers, "tree", lambda: None)
    real = subprocess.Popen
    monkeypatch.setattr(
        loader.subprocess, "Popen", lambda _, **options: real([sys.executable, "-c", "exit(7)"], **options)
    )
    with pytest.raises(ProbeError, match="the compiler process died"):
        loader.Build(loader.Program("requests", maps=())).result()


def test_without_btf_there_is_no_tree(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr(headers, "BTF", tmp_path / "missing")
    assert headers.tree(tmp_path) is None


def test_tree_is_made_once_and_again_for_another_kernel(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    btf = tmp_path / "btf"
    btf.write_bytes(b"one")
    calls = []

    def dump(argv: list[str], **_: object) -> subprocess.CompletedProcess[str]:
        calls.append(argv)
        return subprocess.CompletedProcess(argv, 0, "struct sock;\n", "")

    monkeypatch.setattr(headers, "BTF", btf)
    monkeypatch.setattr(headers.shutil, "which", lambda *_, **__: "/usr/sbin/bpftool")
    monkeypatch.setattr(headers.subprocess, "run", dump)
    place = headers.tree(tmp_path / "cache")
    assert place is not None
    assert headers.tree(tmp_path / "cache") == place
    assert len(calls) == 1
    assert (place / "include" / "vmlinux.h").read_text() == "struct sock;\n"
    assert "CONFIG_BPF_SYSCALL" in (place / "include" / "linux" / "kconfig.h").read_text()
    btf.write_bytes(b"two")
    assert headers.tree(tmp_path / "cache") != place
    assert not [path for path in (tmp_path / "cache").iterdir() if not path.name.endswith("-1")]


def test_missing_bpftool_and_failing_bpftool_say_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    btf = tmp_path / "btf"
    btf.write_bytes(b"one")
    monkeypatch.setattr(headers, "BTF", btf)
    monkeypatch.setattr(headers.shutil, "which", lambda *_, **__: None)
    with pytest.raises(KernelError, match="install the package bpftool"):
        headers.tree(tmp_path)
    monkeypatch.setattr(headers.shutil, "which", lambda *_, **__: "/bin/false")
    with pytest.raises(KernelError, match="bpftool cannot dump"):
        headers.tree(tmp_path)


@pytest.mark.parametrize(
    ("release", "code"), [("6.1.0-18-amd64", 0x060100), ("5.15.300", 0x050FFF), ("6.18", 0x061200)]
)
def test_version_code(monkeypatch: pytest.MonkeyPatch, release: str, code: int) -> None:
    monkeypatch.setattr(headers.platform, "release", lambda: release)
    assert headers.version_code() == code


def test_small_records_are_beginnings_of_large_ones() -> None:
    for name, record in layout.TURNS.items():
        assert record.names is not None
        assert record.names[:3] == ("turn", "response", "request"), name
        assert record.itemsize % 8 == 0, name
