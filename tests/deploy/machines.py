"""Machines with a systemd and an sshd of their own: systemd-nspawn over one Debian image, in network namespaces.

Invariants:
    - Nothing of this machine's network is changed: the machines see a bridge in a namespace of its own, no way out.
    - Each has an overlay over the shared image, so it starts as new; it is gone after `close`, also after a failure.
    - They share this kernel: an agent inside has to be limited to its machine's network namespace (`inode`).
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import shutil
import signal
import socket
import subprocess
import time
from pathlib import Path
from types import TracebackType

from tests.targets.netns import Namespace

PACKAGES = (
    "systemd", "systemd-sysv", "dbus", "openssh-server", "python3", "sudo", "iproute2", "ca-certificates", "curl",
    "procps", "redis-server", "redis-tools",
)  # fmt: skip
#: What eBPF needs beyond nspawn's defaults. The machine's systemd hands on to units what they ask for.
CAPABILITIES = "CAP_BPF,CAP_PERFMON,CAP_SYSLOG"
SYSTEM_CALLS = "bpf perf_event_open"
USER = "ops"
BOOT_SECONDS = 90


class MachineError(RuntimeError):
    """A machine could not be made or did not boot; the message says what to look at."""


def run(*argv: str, timeout: float = 600) -> str:
    """Output of a command; raises MachineError with its complaint."""
    done = subprocess.run(argv, capture_output=True, text=True, timeout=timeout)
    if done.returncode:
        raise MachineError(f"{' '.join(argv[:4])}: {(done.stderr or done.stdout).strip()[-600:]}")
    return done.stdout


def _sources() -> tuple[str, str]:
    """(mirror, suite) of Debian as this machine's own package sources name them."""
    text = "\n".join(
        path.read_text()
        for path in (Path("/etc/apt/sources.list"), *sorted(Path("/etc/apt/sources.list.d").glob("debian*")))
        if path.exists()
    )
    words = text.split()
    mirror = next((word for word in words if word.startswith("http") and word.rstrip("/").endswith("/debian")), "")
    return mirror or "http://deb.debian.org/debian", "bookworm"


def image(folder: Path) -> Path:
    """The shared image, made once (a minute) and kept in `folder`."""
    if os.geteuid():
        raise MachineError("machines need root")
    for tool in ("debootstrap", "systemd-nspawn", "ssh-keygen"):
        if not shutil.which(tool):
            raise MachineError(f"{tool} is missing: apt-get install debootstrap systemd-container openssh-client")
    mirror, suite = _sources()
    mark = hashlib.sha256(repr((PACKAGES, suite)).encode()).hexdigest()[:12]
    place = folder / f"image-{mark}"
    if (place / ".complete").exists():
        return place
    shutil.rmtree(place, ignore_errors=True)
    folder.mkdir(parents=True, exist_ok=True)
    run("debootstrap", "--variant=minbase", f"--include={','.join(PACKAGES)}", suite, str(place), mirror, timeout=900)
    sources = f"deb {mirror} {suite} main\ndeb {mirror} {suite}-updates main\n"
    (place / "etc/apt/sources.list").write_text(sources)
    run("chroot", str(place), "useradd", "--create-home", "--shell", "/bin/bash", USER)
    sudoers = place / "etc/sudoers.d" / USER
    sudoers.write_text(f"{USER} ALL=(ALL) NOPASSWD: ALL\n")
    sudoers.chmod(0o440)
    for name in ("ssh_host_ecdsa_key", "ssh_host_ed25519_key", "ssh_host_rsa_key"):
        for path in (place / "etc/ssh").glob(f"{name}*"):
            path.unlink()
    (place / "etc/machine-id").write_text("")
    (place / ".complete").touch()
    return place


class Machine:
    """One booted machine named `name` inside the namespace `space`."""

    def __init__(self, name: str, space: Namespace, image_folder: Path, folder: Path) -> None:
        self.name, self.space, self.address = name, space, space.address
        self._folder = folder / name
        self.root = self._folder / "root"
        self._stack = contextlib.ExitStack()
        upper, work = self._folder / "upper", self._folder / "work"
        for path in (upper, work, self.root):
            path.mkdir(parents=True)
        layers = f"lowerdir={image_folder},upperdir={upper},workdir={work}"
        run("mount", "-t", "overlay", "overlay", "-o", layers, str(self.root))
        self._stack.callback(self._drop)
        self._child: subprocess.Popen[bytes] | None = None

    def prepare(self, public_key: str, hosts: dict[str, str], proxy: str) -> str:
        """Name, addresses, the controller's key, the way to packages; returns its own host key's line."""
        (self.root / "etc/hostname").write_text(f"{self.name}\n")
        lines = [f"{address} {name}" for name, address in {"localhost": "127.0.0.1", **hosts}.items()]
        (self.root / "etc/hosts").write_text("\n".join(lines) + "\n")
        home = self.root / "home" / USER / ".ssh"
        home.mkdir(mode=0o700)
        (home / "authorized_keys").write_text(public_key)
        run("chroot", str(self.root), "chown", "-R", f"{USER}:", f"/home/{USER}/.ssh")
        (self.root / "etc/apt/apt.conf.d/90proxy").write_text(f'Acquire::http::Proxy "{proxy}";\n')
        key = self.root / "etc/ssh/ssh_host_ed25519_key"
        run("ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key))
        return f"{self.address} {(key.parent / 'ssh_host_ed25519_key.pub').read_text().rsplit(' ', 1)[0]}"

    def boot(self) -> None:
        """Start it, and wait until its sshd answers."""
        argv = [
            "systemd-nspawn", "--quiet", "--boot", f"--directory={self.root}", f"--machine={self.space.name}",
            "--register=no", "--keep-unit", f"--network-namespace-path={self.space.path}", "--console=passive",
            "--resolv-conf=off", "--timezone=off", "--link-journal=no",
            f"--capability={CAPABILITIES}", f"--system-call-filter={SYSTEM_CALLS}",
            "--bind-ro=/sys/kernel/tracing",
        ]  # fmt: skip
        log = (self._folder / "console.log").open("wb")
        environment = os.environ | {"SYSTEMD_NSPAWN_UNIFIED_HIERARCHY": "1"}
        with log:
            self._child = subprocess.Popen(
                argv, stdin=subprocess.DEVNULL, stdout=log, stderr=log, env=environment, start_new_session=True
            )
        self._stack.callback(self._halt)
        deadline = time.monotonic() + BOOT_SECONDS
        while True:
            try:
                self.space.connect(self.address, 22, timeout=2).close()
                return
            except OSError as error:
                if time.monotonic() > deadline or self._child.poll() is not None:
                    tail = (self._folder / "console.log").read_text(errors="replace")[-800:]
                    raise MachineError(f"{self.name} did not boot ({error}); its console ends with: {tail}") from None
            time.sleep(0.5)

    def halt(self) -> None:
        """As if its power were cut, kindly: sshd no longer answers."""
        self._halt()

    def _halt(self) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        child.send_signal(signal.SIGTERM)  # nspawn passes on an orderly power-off
        try:
            child.wait(40)
        except subprocess.TimeoutExpired:
            child.kill()
            child.wait()

    def _drop(self) -> None:
        run("umount", "--recursive", "--lazy", str(self.root))
        shutil.rmtree(self._folder, ignore_errors=True)
        with contextlib.suppress(OSError):
            Path("/run/systemd/nspawn/propagate", self.space.name).rmdir()

    def __enter__(self) -> Machine:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self._stack.close()


def listen_in(space: Namespace, address: str) -> socket.socket:
    """A listening socket inside a namespace, on a port of the kernel's choice."""
    made = space.tcp()
    made.bind((address, 0))
    made.listen(64)
    return made
