"""Small file systems that can be filled, and files that get damaged.

Invariant: a process that called `keep_mounts_private` mounts for itself and its children alone, so the kernel unmounts
with the last of them, however they end. Nobody else has to look for what a killed run left.
"""

from __future__ import annotations

import ctypes
import os
import random
import subprocess
from pathlib import Path

_BYTES = 8 << 20
_PAGE = 4096
_FILLER = "filler"
_CLONE_NEWNS = 0x00020000  # linux/sched.h


def available() -> bool:
    """Whether this process may mount."""
    return os.geteuid() == 0


def keep_mounts_private() -> None:
    """A mount namespace of this process's own, where it may mount at all; see unshare(2). Raises OSError."""
    if not available():
        return
    if ctypes.CDLL(None, use_errno=True).unshare(_CLONE_NEWNS):
        raise OSError(ctypes.get_errno(), "unshare of mounts: run as root with CAP_SYS_ADMIN")
    subprocess.run(["mount", "--make-rprivate", "/"], check=True)


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
