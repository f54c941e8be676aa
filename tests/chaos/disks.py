"""Small file systems that can be filled, and files that get damaged.

Invariants: what is mounted is below the folder of one run and is unmounted by `close`; a killed run's mounts are found
by their place (`remove_leftovers`).
"""

from __future__ import annotations

import os
import random
import subprocess
from pathlib import Path

_BYTES = 8 << 20
_PAGE = 4096
_FILLER = "filler"


def available() -> bool:
    """Whether this process may mount."""
    return os.geteuid() == 0


class Disk:
    """A tmpfs of 8 MiB."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        subprocess.run(
            ["mount", "-t", "tmpfs", "-o", f"size={_BYTES},mode=700", "sonde-chaos", str(folder)], check=True
        )

    def fill(self) -> None:
        """No byte is left."""
        with (self.folder / _FILLER).open("wb", buffering=0) as filler:
            for size in (1 << 20, _PAGE):
                try:
                    while filler.write(b"x" * size) == size:
                        pass
                except OSError:
                    continue

    def empty(self) -> None:
        """As before."""
        (self.folder / _FILLER).unlink(missing_ok=True)

    def close(self) -> None:
        """Unmount, whoever still uses it."""
        subprocess.run(["umount", "--lazy", str(self.folder)], check=True)


def remove_leftovers(folder: Path) -> None:
    """Unmount what a killed run left below `folder`."""
    for line in Path("/proc/self/mounts").read_text(encoding="utf-8").splitlines():
        source, place, *_ = line.split()
        if source == "sonde-chaos" and Path(place).is_relative_to(folder.resolve()):
            subprocess.run(["umount", "--lazy", place], check=False)


def corrupt_last_page(path: Path, rng: random.Random) -> bool:
    """Other bytes on the last 4 KiB of the file; whether there was one."""
    if not path.exists() or not path.stat().st_size:
        return False
    size = path.stat().st_size
    begin = max(size - 1, 0) // _PAGE * _PAGE
    with path.open("r+b") as file:
        file.seek(begin)
        file.write(rng.randbytes(size - begin))
    return True
