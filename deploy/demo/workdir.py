"""Where the demo keeps its files, and how what a killed demo left is found.

Everything of one run is below .sonde/demo[-OFFSET] (store and logs, removed at its end unless asked to keep) and
one directory of the temporary directory that carries the demo's pid. Only .sonde/cache outlives it: MariaDB's empty
data directory, and the note that this kernel, in this boot, runs the probes.
"""

from __future__ import annotations

import contextlib
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from deploy.demo import parts
from deploy.demo.hosts import LABEL
from tests.targets import netns
from tests.targets.process import ROOT

#: what is replayed where the kernel refuses: one file, or one a host.
RECORDINGS = ROOT / "tests" / "data"
RECORDING_NAMES = "demo*.sonde"
CACHE = ROOT / ".sonde" / "cache"
_TRACEFS = Path("/sys/kernel/tracing")


@dataclass(frozen=True)
class Workdir:
    """The run's directories."""

    store: Path
    logs: Path


@contextlib.contextmanager
def workdir(offset: int, keep: bool, own_pid: int) -> Iterator[Workdir]:
    """Empty directories; the temporary one becomes the servers'. Removes all but what is to be kept."""
    base = ROOT / ".sonde" / (f"demo-{offset}" if offset else "demo")
    temporary = Path(tempfile.gettempdir()) / f"{LABEL}-{own_pid}"
    before = tempfile.tempdir
    shutil.rmtree(base, ignore_errors=True)
    made = Workdir(base / "store", base / "logs")
    made.logs.mkdir(parents=True)
    CACHE.mkdir(parents=True, exist_ok=True)
    temporary.mkdir()
    # nginx's workers are another user and have to reach their files.
    temporary.chmod(0o755)
    tempfile.tempdir = str(temporary)
    try:
        yield made
    finally:
        tempfile.tempdir = before
        shutil.rmtree(temporary, ignore_errors=True)
        if not keep:
            shutil.rmtree(base, ignore_errors=True)


def remove_leftovers() -> list[str]:
    """Removes namespaces, with their processes, and files of demos that no longer live; returns what it removed."""
    gone = netns.remove_leftovers(LABEL)
    for path in Path(tempfile.gettempdir()).glob(f"{LABEL}-*"):
        pid = path.name[len(LABEL) + 1 :]
        if pid.isdigit() and not Path(f"/proc/{pid}").exists():
            shutil.rmtree(path, ignore_errors=True)
            gone.append(str(path))
    return gone


def recordings() -> list[Path]:
    """The recordings shipped with the project."""
    return sorted(RECORDINGS.glob(RECORDING_NAMES))


def mount_tracefs() -> None:
    """Tracepoints need it; some machines do not mount it at start."""
    if not (_TRACEFS / "events").exists():
        subprocess.run(["mount", "-t", "tracefs", "tracefs", str(_TRACEFS)], capture_output=True, check=False)


def kernel_refuses() -> str:
    """What `sonde doctor` says if the probes do not run here, else an empty string. Asked once a boot."""
    boot = Path("/proc/sys/kernel/random/boot_id").read_text() + Path("/proc/version").read_text()
    note = CACHE / "doctor-ok"
    if note.exists() and note.read_text() == boot:
        return ""
    done = subprocess.run([parts.SONDE, "doctor"], capture_output=True, text=True, timeout=120)
    if done.returncode == 0:
        note.write_text(boot)
        return ""
    return (done.stdout + done.stderr).strip() or f"sonde doctor ended with {done.returncode}"
