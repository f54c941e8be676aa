"""Child process that compiles, loads and attaches one probe, then hands its file descriptors to the agent.

BCC brings LLVM: 140 MB that the agent would keep for as long as it lives, and code that can crash it. So it runs
here, once a probe; maps, programs and links stay alive through the descriptors that the agent receives over a Unix
socket, and this process ends.

Run as `python -m node_agent.kernel.compiler FD`; reads a JSON job from that socket, answers with a JSON line and the
descriptors. Job: text, cflags, maps (names), steps ({program: index in the map "steps"}), runnable (programs that
user space runs by itself), kernel_source.
"""

from __future__ import annotations

import array
import json
import os
import re
import socket
import sys
import tempfile
from pathlib import Path
from typing import Any

_DISTRIBUTION = "/usr/lib/python3/dist-packages"
_CHUNK = 200  # SCM_MAX_FD is 253


def _import_bcc() -> Any:
    try:
        import bcc
    except ImportError:
        sys.path.append(_DISTRIBUTION)  # a virtual environment does not see the distribution's packages
        import bcc
    if not hasattr(bcc, "BPF"):
        raise ImportError("the module bcc is not the BPF Compiler Collection; remove the package bcc from PyPI")
    return bcc


def _newer_helpers(kernel_source: str) -> list[str]:
    """Flags that define the helpers which BCC's own header names and the running kernel does not have yet.

    Their value is never used: a program that called one would not load.
    """
    mapped = Path("/proc/self/maps").read_text(encoding="utf-8").splitlines()
    library = next(line.split()[-1] for line in mapped if "/libbcc.so" in line)
    named = set(re.findall(rb"\(void ?\*\) ?(BPF_FUNC_\w+)", Path(library).read_bytes()))
    known = set(re.findall(rb"\bBPF_FUNC_\w+", Path(kernel_source, "include", "vmlinux.h").read_bytes()))
    return [f"-D{name.decode()}=0" for name in sorted(named - known)]


def _build(job: dict[str, Any]) -> tuple[dict[str, int], Any]:
    if job["kernel_source"]:
        os.environ["BCC_KERNEL_SOURCE"] = job["kernel_source"]
    bcc = _import_bcc()
    import ctypes

    flags = ["-Wno-macro-redefined", "-Wno-unused-function", *job["cflags"]]
    if job["kernel_source"]:
        flags += _newer_helpers(job["kernel_source"])
    program = bcc.BPF(text=job["text"], cflags=flags)
    descriptors: dict[str, int] = {}
    for name in job["maps"]:
        descriptors[f"map/{name}"] = program[name].map_fd
    for name, index in job["steps"].items():
        function = program.load_func(name, bcc.BPF.TRACEPOINT)
        program["steps"][ctypes.c_int(index)] = ctypes.c_int(function.fd)
        descriptors[f"program/{name}"] = function.fd
    for name in job["runnable"]:
        descriptors[f"program/{name}"] = program.load_func(name, bcc.BPF.RAW_TRACEPOINT).fd
    for name, function in program.funcs.items():
        descriptors.setdefault(f"program/{name.decode()}", function.fd)
    for name, descriptor in program.tracepoint_fds.items():
        descriptors[f"link/{name.decode()}"] = descriptor
    for name, descriptor in program.raw_tracepoint_fds.items():
        descriptors[f"link/{name.decode()}"] = descriptor
    return descriptors, program


def main() -> None:
    """Do one job."""
    channel = socket.socket(fileno=int(sys.argv[1]))
    size = int.from_bytes(channel.recv(4, socket.MSG_WAITALL), "big")
    job = json.loads(channel.recv(size, socket.MSG_WAITALL))
    # BCC writes the compiler's and the verifier's complaints to standard error: they belong into the answer.
    with tempfile.TemporaryFile() as log:
        standard_error = os.dup(2)
        os.dup2(log.fileno(), 2)
        descriptors: dict[str, int] = {}
        error = ""
        try:
            descriptors, _keep = _build(job)  # its destructor would detach
        except Exception as failure:  # whatever BCC raises: the agent has to go on
            error = str(failure) or type(failure).__name__
        os.dup2(standard_error, 2)
        log.seek(0)
        complaints = log.read()[-20000:].decode(errors="replace")
    names = list(descriptors)
    answer = json.dumps({"error": error, "log": complaints, "names": names}).encode()
    channel.sendall(len(answer).to_bytes(4, "big") + answer)
    for start in range(0, len(names), _CHUNK):
        part = array.array("i", [descriptors[name] for name in names[start : start + _CHUNK]])
        channel.sendmsg([b"x"], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, part)])
    channel.recv(1)  # until the agent has them
    os._exit(0)  # BCC's own clean-up would detach


if __name__ == "__main__":
    main()
