"""One server process: started in a namespace (or in the root one), known to listen, always ended by its pid.

Readiness is read from /proc/PID/net/tcp, not by connecting: what a test counts is then only its own.
The process dies with the thread that started it (PR_SET_PDEATHSIG), so not even SIGKILL of a test leaves it behind.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from types import TracebackType

from tests.targets.netns import Namespace, die_with_parent

ROOT = Path(__file__).resolve().parents[2]
_LISTEN = "0A"


class TargetError(RuntimeError):
    """A server did not start; the message carries the end of its log."""


def listens(pid: int, port: int) -> bool:
    """Whether some socket in the process's namespace listens on the port."""
    for table in ("tcp", "tcp6"):
        with contextlib.suppress(OSError):
            for line in Path(f"/proc/{pid}/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[3] == _LISTEN and int(words[1].rpartition(":")[2], 16) == port:
                    return True
    return False


class Process:
    """A server in a namespace. Subclasses fill `argv` and give the ports to wait for."""

    #: what asks the server to stop; the impatient way is always SIGKILL.
    stop_signal = signal.SIGTERM

    def __init__(
        self, namespace: Namespace | None, *argv: str, ports: tuple[int, ...] = (), timeout_s: float = 30
    ) -> None:
        self.namespace = namespace
        self.argv = list(argv)
        self.ports = ports
        self.timeout_s = timeout_s
        self.directory = Path(tempfile.mkdtemp(prefix="sonde-target-"))
        self.log = self.directory / "log"
        self.child: subprocess.Popen[bytes] | None = None

    @property
    def address(self) -> str:
        """The address of the host it runs on."""
        return self.namespace.address if self.namespace else "127.0.0.1"

    @property
    def pid(self) -> int:
        """Of the running process."""
        if self.child is None:
            raise TargetError(f"{self.argv[0]} was not started")
        return self.child.pid

    def launch(self) -> None:
        """Starts it without waiting. It dies with the calling thread."""
        inside = self.namespace.command if self.namespace else die_with_parent
        with self.log.open("ab") as log:
            self.child = subprocess.Popen(
                inside(*self.argv),
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                cwd=ROOT,
                env={**os.environ, "PYTHONUNBUFFERED": "1"},
                start_new_session=True,
            )

    @property
    def listening(self) -> bool:
        """Whether all of its ports listen."""
        return all(listens(self.pid, port) for port in self.ports)

    def wait_ready(self) -> None:
        """Waits until its ports listen; raises TargetError with its log otherwise."""
        deadline = time.monotonic() + self.timeout_s
        while not self.listening:
            if self.child is not None and self.child.poll() is not None:
                raise TargetError(f"{self.argv[0]} ended with {self.child.returncode}: {self.tail()}")
            if time.monotonic() > deadline:
                raise TargetError(f"{self.argv[0]} does not listen after {self.timeout_s} s: {self.tail()}")
            time.sleep(0.01)

    def start(self) -> None:
        """Starts it and waits until its ports listen; raises TargetError with its log otherwise."""
        try:
            self.launch()
            self.wait_ready()
        except BaseException:
            self.stop()
            raise

    def tail(self, lines: int = 15) -> str:
        """The end of its log."""
        with contextlib.suppress(OSError):
            return "\n".join(self.log.read_text(errors="replace").splitlines()[-lines:])
        return ""

    def stop(self, patience_s: float = 10) -> None:
        """Ends it and removes its files. Safe to call twice."""
        child = self.child
        if child is not None and child.poll() is None:
            child.send_signal(self.stop_signal)
            try:
                child.wait(patience_s)
            except subprocess.TimeoutExpired:
                child.kill()
                child.wait(5)
        shutil.rmtree(self.directory, ignore_errors=True)

    def __enter__(self) -> Process:
        self.start()
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, tb: TracebackType | None) -> None:
        self.stop()
