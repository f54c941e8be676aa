"""The `sonde` command as a user runs it, and statements that only a test may run."""

from __future__ import annotations

import http.client
import os
import subprocess
import sys

from tests.support.aggregators import ROOT


def sonde(*arguments: str, **environment: str) -> subprocess.CompletedProcess[str]:
    """Exit code and what it printed."""
    return subprocess.run(
        [sys.executable, "-m", "sonde", *arguments],
        cwd=ROOT,
        env=os.environ | environment,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def change(server: int, statement: str) -> None:
    """Any statement at the stand-in for a ClickHouse server."""
    connection = http.client.HTTPConnection("127.0.0.1", server, timeout=30)
    try:
        connection.request("POST", "/?database=sonde", body=statement.encode())
        answer = connection.getresponse()
        assert answer.status == 200, answer.read()
    finally:
        connection.close()
