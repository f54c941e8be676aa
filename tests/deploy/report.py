"""What the deployment test says: on the terminal as it goes, and as a page without this machine's paths and names."""

from __future__ import annotations

import datetime
import re
import time
from pathlib import Path

from sonde import __version__

_RECAP = re.compile(r"^(\S+)\s+: ok=(\d+)\s+changed=(\d+)\s+unreachable=(\d+)\s+failed=(\d+)", re.M)


def recap(output: str) -> dict[str, dict[str, int]]:
    """Host -> ok, changed, unreachable, failed of a play's output."""
    names = ("ok", "changed", "unreachable", "failed")
    return {row[0]: dict(zip(names, map(int, row[1:]), strict=True)) for row in _RECAP.findall(output)}


class Report:
    """Lines of Markdown; `replace` maps what must not stand in it to what stands there instead."""

    def __init__(self, replace: dict[str, str]) -> None:
        self._replace = replace
        self._lines: list[str] = []
        self._began = time.monotonic()

    def _add(self, line: str) -> None:
        for hidden, shown in self._replace.items():
            line = line.replace(hidden, shown)
        self._lines.append(line)
        print(f"[{time.monotonic() - self._began:5.0f} s] {line}", flush=True)

    def step(self, title: str) -> None:
        """A new part."""
        self._lines.append("")
        self._add(f"## {title}")
        self._lines.append("")

    def seen(self, text: str) -> None:
        """One thing that held."""
        self._add(f"- {text}")

    def quote(self, text: str) -> None:
        """Words of a program, as they came."""
        self._lines.append("")
        for line in text.strip().splitlines():
            self._add(f"      {line.rstrip()}")
        self._lines.append("")

    def write(self, path: Path) -> None:
        """The page."""
        today = datetime.datetime.now(datetime.timezone.utc).date()
        seconds = time.monotonic() - self._began
        head = (
            "# A deployment, as it went\n\n"
            f"`make test-deploy`, {today}, Sonde {__version__}, {seconds / 60:.0f} minutes. Three machines with their\n"
            "own systemd and sshd (systemd-nspawn over Debian 12, one kernel), `ansible-playbook` over SSH from a\n"
            "fourth place. This page is the test's output; operations.md says how the playbooks are used.\n"
        )
        text = re.sub(r"\n{3,}", "\n\n", "\n".join(self._lines))
        path.write_text(head + text.rstrip() + "\n", encoding="utf-8")
