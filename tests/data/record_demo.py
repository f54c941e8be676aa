"""Records the demo's hosts: `python tests/data/record_demo.py [seconds]` writes demo-web, demo-app and demo-db.sonde.

What `make demo` replays where the kernel refuses eBPF. Needs root, eBPF and the demo's servers; like the demo it
removes what it makes. All three recordings get the same number of seconds, so that their loops stay in step. To be
run again whenever the kernel's records change (a test says so).
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

from deploy.demo import hosts, parts, workdir
from tests.targets import netns

HERE = Path(__file__).parent
_PATIENCE_S = 60


def _attached(log: Path) -> bool:
    return log.exists() and b"recording as" in log.read_bytes()


def main() -> None:
    seconds = int(sys.argv[1]) if len(sys.argv) > 1 else 20
    workdir.mount_tracefs()
    with contextlib.ExitStack() as stack:
        folder = stack.enter_context(workdir.workdir(40_000, False, os.getpid()))
        network = stack.enter_context(hosts.network())
        stack.enter_context(hosts.servers(network, workdir.CACHE / "mariadb"))
        recorders = []
        for host in network:
            log = folder.logs / f"{host}.log"
            command = [
                *(parts.SONDE, "record", str(HERE / f"demo-{host}.sonde"), "--seconds", str(seconds)),
                *("--host-name", host, "--scope-netns", str(network[host].inode)),
            ]
            with log.open("wb") as out:
                recorders.append(subprocess.Popen(netns.die_with_parent(*command), stdout=out, stderr=out))
        logs = [folder.logs / f"{host}.log" for host in network]
        deadline = time.monotonic() + _PATIENCE_S
        while not all(map(_attached, logs)) and time.monotonic() < deadline:
            time.sleep(0.02)
        load = hosts.Load(network)
        stack.callback(load.stop)
        load.start()
        for recorder, log in zip(recorders, logs, strict=True):
            code = recorder.wait(seconds + _PATIENCE_S)
            print(log.read_text(), end="")
            if code:
                sys.exit(code)
        for host in network:
            path = HERE / f"demo-{host}.sonde"
            path.chmod(0o644)
            print(f"{path}: {path.stat().st_size} bytes")


if __name__ == "__main__":
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(1))
    main()
