"""`sonde doctor`: which probes run here, which do not, why, and what would help.

Every probe is really compiled, loaded and attached, but not started, so nothing is observed.
"""

from __future__ import annotations

import json
import os
import platform
import shutil
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path

from node_agent.config import AgentSettings
from node_agent.kernel import capabilities, headers
from node_agent.probes.registry import PROBES
from sonde.errors import SondeError

_TRACEFS = Path("/sys/kernel/tracing")


@dataclass(frozen=True)
class Finding:
    """One thing that was looked at. `required`: the agent does not do its work without it."""

    name: str
    good: bool
    says: str
    help: str = ""
    required: bool = True


def _capabilities() -> Iterator[Finding]:
    absent = capabilities.missing_here()
    for item in capabilities.needed(capabilities.paranoid()):
        has = item not in absent
        helps = "" if has else f"run as root, or add {item.name} to AmbientCapabilities of the unit"
        says = item.why if has else f"missing; needed {item.why}"
        yield Finding(item.name, has, says, helps, required=item.required)


def _is_folder(path: Path) -> bool:
    try:
        return path.is_dir()
    except PermissionError:  # tracefs is root's: CAP_DAC_READ_SEARCH is what is missing
        return False


def _kernel() -> Iterator[Finding]:
    version = headers.version_code()
    good = version >= (5 << 16) + (12 << 8)
    yield Finding(
        "kernel", good, f"Linux {platform.release()}, {platform.machine()}", "" if good else "needs Linux 5.12 or newer"
    )
    if platform.machine() != "x86_64":
        yield Finding("processor", False, "arm64 is unproven: order of loads", "use x86-64", required=False)
    btf = headers.BTF.exists()
    distribution = Path(f"/lib/modules/{platform.release()}/build").exists()
    says = "found: struct layouts are the running kernel's own" if btf else "missing"
    yield Finding("BTF", btf or distribution, says, "" if btf else f"install linux-headers-{platform.release()}")
    mounted = _is_folder(_TRACEFS / "events")
    helps = "" if mounted else f"mount -t tracefs tracefs {_TRACEFS}; it needs root or CAP_DAC_READ_SEARCH to be read"
    says = f"mounted on {_TRACEFS}" if mounted else "not mounted, or not to be read"
    yield Finding("tracefs", mounted, says, helps)
    if mounted:
        new = (_TRACEFS / "events/sock/sk_data_ready").is_dir()
        hook = "sk_data_ready" if new else "tcp_probe"
        why = "" if new else "; Linux 6.3 and newer have sk_data_ready"
        yield Finding("arrival of data", True, f"marked by {hook}{why}", required=False)
    locked = Path("/sys/kernel/security/lockdown")
    if locked.exists() and "[confidentiality]" in locked.read_text(encoding="ascii"):
        yield Finding("lockdown", False, "confidentiality: probes may not read memory", "boot with lockdown=integrity")


def _tools() -> Iterator[Finding]:
    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")
    yield Finding("bpftool", bool(bpftool), bpftool or "missing", "" if bpftool else "apt install bpftool")
    places = ("/usr/lib/python3/dist-packages/bcc", "/usr/lib/python3/site-packages/bcc")
    place = next((item for item in places if os.path.isdir(item)), "")
    helps = "" if place else "apt install python3-bpfcc (the package bcc of PyPI is something else)"
    yield Finding("BCC", bool(place), place or "not in the usual place", helps, required=False)


def _probes(settings: AgentSettings) -> Iterator[Finding]:
    for name, kind in PROBES.items():
        probe = kind(settings)
        try:
            probe.begin_load()
            probe.finish_load()
        except SondeError as error:
            yield Finding(f"probe {name}", False, str(error), "see the lines above, or send this line to us")
        else:
            programs = len(probe.loaded.programs)
            yield Finding(f"probe {name}", True, f"compiled, loaded and attached: {programs} programs")
        finally:
            probe.close()


def examine(settings: AgentSettings) -> list[Finding]:
    """Everything, in the order in which to mend it."""
    return [*_kernel(), *_capabilities(), *_tools(), *_probes(settings)]


def as_text(findings: list[Finding]) -> str:
    """For people: one line each, and what would help below it."""
    width = max(len(finding.name) for finding in findings)
    lines = []
    for finding in findings:
        mark = "ok  " if finding.good else ("FAIL" if finding.required else "note")
        lines.append(f"{mark}  {finding.name:<{width}}  {finding.says}")
        if finding.help and not finding.good:
            lines.append(f"{'':{width + 8}}-> {finding.help}")
    return "\n".join(lines)


def as_json(findings: list[Finding]) -> str:
    """For programs."""
    return json.dumps([asdict(finding) for finding in findings], indent=2)
