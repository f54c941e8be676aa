"""Load probes: each compiled, loaded and attached in a child process of its own, so that one can fail alone.

What the agent holds of a probe is descriptors: closing them detaches it and frees its maps.
"""

from __future__ import annotations

import array
import json
import os
import re
import socket
import subprocess
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field

from node_agent.kernel import headers, source
from sonde.errors import ProbeError

_TIMEOUT_SECONDS = 300  # 2 s as a rule; a processor that is emulated and shared takes minutes


@dataclass(frozen=True)
class Program:
    """What to build: C file, compile-time limits, and the names user space needs."""

    name: str
    maps: Sequence[str]
    runnable: Sequence[str] = ()
    steps: dict[str, int] = field(default_factory=dict)
    defines: dict[str, int] = field(default_factory=dict)


@dataclass
class Loaded:
    """A probe in the kernel: descriptors of its maps, programs and links."""

    maps: dict[str, int]
    programs: dict[str, int]
    links: dict[str, int]

    def close(self) -> None:
        """Detach and free; safe to call twice."""
        for group in (self.links, self.programs, self.maps):
            for descriptor in group.values():
                os.close(descriptor)
            group.clear()


class Build:
    """A child at work on one probe; `result` waits for it. Several can run at once."""

    def __init__(self, program: Program) -> None:
        self._name = program.name
        tree = headers.tree()
        job = {
            "text": source.inline(f"{program.name}.c"),
            "cflags": [f"-D{name}={value}" for name, value in program.defines.items()],
            "maps": list(program.maps),
            "steps": program.steps,
            "runnable": list(program.runnable),
            "kernel_source": str(tree) if tree else "",
        }
        self._ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
        self._ours.settimeout(_TIMEOUT_SECONDS)
        with theirs:
            self._child = subprocess.Popen(
                [sys.executable, "-m", "node_agent.kernel.compiler", str(theirs.fileno())], pass_fds=[theirs.fileno()]
            )
        text = json.dumps(job).encode()
        try:
            self._ours.sendall(len(text).to_bytes(4, "big") + text)
        except OSError:
            self.cancel()
            raise ProbeError(f"probe {self._name}: the compiler process died; run `sonde doctor`") from None

    def cancel(self) -> None:
        """Stop the child."""
        self._ours.close()
        self._child.kill()
        self._child.wait()

    def result(self) -> Loaded:
        """Descriptors of the probe.

        Raises:
            ProbeError: it did not compile, load or attach; the message holds the reason.
        """
        try:
            size = int.from_bytes(self._receive(4), "big")
            answer = json.loads(self._receive(size))
            if answer["error"]:
                reason = explain(answer["error"], answer["log"])
                raise ProbeError(f"probe {self._name}: {reason}")
            names: list[str] = answer["names"]
            descriptors = array.array("i")
            while len(descriptors) < len(names):
                _, ancillary, _, _ = self._ours.recvmsg(1, socket.CMSG_SPACE(4 * 253))
                if not ancillary:
                    raise OSError("no descriptors")
                for _level, _kind, data in ancillary:
                    descriptors.frombytes(data[: len(data) - len(data) % 4])
            self._ours.sendall(b"x")
        except TimeoutError:
            self._child.kill()
            raise ProbeError(
                f"probe {self._name}: not compiled within {_TIMEOUT_SECONDS} s; is the machine overloaded?"
            ) from None
        except (OSError, ValueError):
            self._child.kill()
            code = self._child.wait()
            raise ProbeError(
                f"probe {self._name}: the compiler process died (exit code {code}); is python3-bpfcc installed?"
            ) from None
        finally:
            self._ours.close()
            self._child.wait()
        loaded = Loaded({}, {}, {})
        groups = {"map": loaded.maps, "program": loaded.programs, "link": loaded.links}
        for name, descriptor in zip(names, descriptors, strict=True):
            # The child lists a descriptor under two names now and then; SCM_RIGHTS gives each its own.
            kind, _, plain = name.partition("/")
            groups[kind][plain] = descriptor
        return loaded

    def _receive(self, size: int) -> bytes:
        data = b""
        while len(data) < size:
            part = self._ours.recv(size - len(data))
            if not part:
                raise OSError("end of stream")
            data += part
        return data


def explain(error: str, log: str) -> str:
    """One line from BCC's exception and its log: the compiler's first error, or the verifier's last word."""
    compiler = re.search(r"^.*error: .*$", log, re.MULTILINE)
    if compiler:
        return compiler.group(0).strip()
    verifier = [line for line in log.splitlines() if line and not line.startswith(("processed", ";"))]
    return f"{error.strip()} ({verifier[-1].strip()})" if verifier else " ".join(error.split())
