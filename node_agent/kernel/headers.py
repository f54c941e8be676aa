"""A small kernel source tree for BCC, made from the running kernel's BTF; no kernel headers are needed.

The tree holds one real file, vmlinux.h dumped by bpftool, and empty or tiny stand-ins for what BCC includes. It is
kept in a cache folder under a name made of the kernel release and a hash of its BTF, so it is made once a kernel.
Where there is no BTF, BCC falls back to the distribution's headers (linux-headers-$(uname -r)).
"""

from __future__ import annotations

import hashlib
import os
import platform
import re
import shutil
import subprocess
import tempfile
from pathlib import Path

from sonde.errors import KernelError

BTF = Path("/sys/kernel/btf/vmlinux")

_ARCHITECTURES = {"x86_64": ("CONFIG_X86_64 1", "CONFIG_X86 1"), "aarch64": ("CONFIG_ARM64 1",)}

_STAND_INS = {
    "linux/log2.h": "#define roundup_pow_of_two(n) (1UL << (64 - __builtin_clzl((n) - 1)))\n",
    "asm/page.h": "#define PAGE_SIZE 4096\n",
    **dict.fromkeys(
        (
            "linux/compiler.h", "linux/fs.h", "linux/ptrace.h", "linux/sched.h", "linux/socket.h", "linux/types.h",
            "linux/workqueue.h", "net/inet_sock.h", "net/sock.h", "uapi/linux/bpf.h", "uapi/linux/bpf_common.h",
            "uapi/linux/if_packet.h", "uapi/linux/ptrace.h", "uapi/linux/types.h",
        ),
        "",
    ),
}  # fmt: skip


def version_code() -> int:
    """LINUX_VERSION_CODE of the running kernel."""
    numbers = [int(part) for part in re.findall(r"\d+", platform.release())[:3]] + [0, 0]
    return (numbers[0] << 16) + (numbers[1] << 8) + min(numbers[2], 255)


def _kconfig() -> str:
    try:
        architecture = _ARCHITECTURES[platform.machine()]
    except KeyError:
        raise KernelError(f"no support for {platform.machine()}; x86_64 works, aarch64 is unproven") from None
    defines = ("CONFIG_BPF_SYSCALL 1", "CONFIG_64BIT 1", *architecture, "BPF_NO_PRESERVE_ACCESS_INDEX")
    return (
        "".join(f"#define {item}\n" for item in defines)
        + '#include "vmlinux.h"\n'
        + "#define _UAPI__LINUX_BPF_H__\n#define __LINUX_BPF_H__\n"
        + "#define __always_inline inline __attribute__((always_inline))\n"
    )


def cache_folder() -> Path:
    """Where trees are kept: /var/cache/sonde, or the user's cache when that cannot be written."""
    system = Path("/var/cache/sonde")
    try:
        system.mkdir(parents=True, exist_ok=True)
    except OSError:
        pass
    else:
        if os.access(system, os.W_OK):
            return system
    return Path(os.environ.get("XDG_CACHE_HOME", Path.home() / ".cache")) / "sonde"


def tree(cache: Path | None = None) -> Path | None:
    """Folder for BCC_KERNEL_SOURCE, made if it is not there yet; None without BTF.

    Raises:
        KernelError: bpftool is missing or fails.
    """
    if not BTF.exists():
        return None
    digest = hashlib.blake2b(BTF.read_bytes(), digest_size=8).hexdigest()
    place = (cache or cache_folder()) / f"kernel-{platform.release()}-{digest}-1"
    if place.exists():
        return place
    bpftool = shutil.which("bpftool") or shutil.which("bpftool", path="/usr/sbin:/sbin")
    if bpftool is None:
        raise KernelError("bpftool is missing; install the package bpftool (Ubuntu: linux-tools-generic)")
    dump = subprocess.run(
        [bpftool, "btf", "dump", "file", str(BTF), "format", "c"], capture_output=True, text=True, check=False
    )
    if dump.returncode:
        raise KernelError(f"bpftool cannot dump the kernel's BTF: {dump.stderr.strip()[:200]}")
    place.parent.mkdir(parents=True, exist_ok=True)
    build = Path(tempfile.mkdtemp(prefix="kernel-", dir=place.parent))
    try:
        files = {
            "linux/kconfig.h": _kconfig(),
            "vmlinux.h": dump.stdout,
            "linux/version.h": "#define KERNEL_VERSION(a, b, c) (((a) << 16) + ((b) << 8) + (c))\n"
            f"#define LINUX_VERSION_CODE {version_code()}\n",
            **_STAND_INS,
        }
        for name, text in files.items():
            target = build / "include" / name
            target.parent.mkdir(parents=True, exist_ok=True)
            target.write_text(text, encoding="utf-8")
        try:
            build.rename(place)
        except OSError:  # another agent was faster
            if not place.exists():
                raise
    finally:
        shutil.rmtree(build, ignore_errors=True)
    return place
