"""Runs all of it: `python -m tests.deploy [--out FILE]`. Needs root, a network for packages, a quarter of an hour."""

from __future__ import annotations

import argparse
import platform
import subprocess
import sys
from pathlib import Path

from tests.deploy import steps
from tests.deploy.fleet import CACHE, ROOT, Fleet
from tests.deploy.machines import MachineError
from tests.deploy.report import Report
from tests.targets import netns


def wheels() -> None:
    """The tree as two releases, of another number each."""
    for version in (steps.OLD, steps.NEW):
        argv = [
            "/usr/bin/python3",
            "deploy/setup/wheelhouse.py",
            "--out",
            str(CACHE / "wheelhouse"),
            "--version",
            version,
        ]
        subprocess.run(argv, cwd=ROOT, check=True)


def main() -> None:
    """Exit code 0 if every step held."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=ROOT / "docs" / "deploy-test.md", help="the page to write")
    parser.add_argument("--keep-wheels", action="store_true", help="use the wheels of the run before")
    parser.add_argument("--lock", type=Path, help="file to lock while agents run, where others test on this kernel too")
    given = parser.parse_args()
    netns.remove_leftovers("sonde-d")
    if not given.keep_wheels:
        wheels()
    try:
        with Fleet() as fleet:
            report = Report(
                {
                    platform.release(): "KERNEL",
                    str(fleet.folder): "...",
                    str(ROOT): ".",
                    str(Path(sys.executable).parent) + "/": "",
                }
            )
            report.step("The fleet")
            report.seen(f"{', '.join(fleet.machines)} booted: {fleet.ssh('web', 'systemctl --version | head -n 1')}.")
            steps.failures(fleet, report)
            steps.unreachable(fleet, report)
            steps.aggregator(fleet, report)
            if given.lock:
                fleet.hold(given.lock)
            steps.first_deployment(fleet, report)
            steps.second_run(fleet, report)
            steps.requests(fleet, report)
            steps.security(fleet, report)
            steps.rollbacks(fleet, report)
            steps.certificates(fleet, report)
            steps.upgrade(fleet, report)
            steps.removal(fleet, report)
            report.write(given.out)
    except (AssertionError, MachineError) as error:
        sys.exit(f"test-deploy: {error}")


if __name__ == "__main__":
    main()
