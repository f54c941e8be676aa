"""The API worker and the raw socket servers as processes."""

from __future__ import annotations

import sys

from tests.targets.netns import Namespace
from tests.targets.process import Process


class Api(Process):
    """`http_worker` on `port`; databases as "address:port" or none."""

    def __init__(
        self, namespace: Namespace, port: int = 8000, mariadb: str = "", redis: str = "", name: str = ""
    ) -> None:
        super().__init__(namespace, ports=(port,))
        self.port = port
        self.argv = [sys.executable, "-m", "tests.targets.http_worker", f"--port={port}", f"--mariadb={mariadb}"]
        self.argv += [f"--redis={redis}", f"--name={name}"]


class Raw(Process):
    """`raw` in one of its modes on `port`, in a process of its own."""

    def __init__(self, namespace: Namespace, mode: str, port: int = 8000, **options: float) -> None:
        super().__init__(namespace, ports=(port,))
        self.port = port
        self.argv = [sys.executable, "-m", "tests.targets.raw", mode, f"--port={port}"]
        self.argv += [f"--{name.replace('_', '-')}={amount}" for name, amount in options.items()]
