"""Runs the benchmarks and prints one table each; exit code 1 if a limit that has been promised is passed."""

from __future__ import annotations

import os
import signal
import sys
import time
from pathlib import Path

import click

from bench import agent, pipeline
from bench.figures import Figure, say, table
from tests.targets import netns


def _processor() -> str:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.partition(":")[2].strip()
    return "unknown processor"


def _machine() -> str:
    load = os.getloadavg()[0]
    day, processors = time.strftime("%Y-%m-%d"), os.cpu_count()
    return f"{day}, Linux {os.uname().release}, {processors} x {_processor()}, load {load:.1f}"


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.argument("which", nargs=-1, type=click.Choice(["agent", "pipeline"]))
@click.option("--quick", is_flag=True, help="Fewer and shorter runs: a look, not a figure.")
@click.option(
    "--part", "parts", multiple=True, type=click.Choice(pipeline.PARTS), help="Of the pipeline, only this; repeatable."
)
def main(which: tuple[str, ...], quick: bool, parts: tuple[str, ...]) -> None:
    """What Sonde costs, as figures and ratios within one run; without arguments, all. `agent` needs root and eBPF."""
    which = which or ("agent", "pipeline")
    if "agent" in which and (reason := netns.available()):
        raise click.ClickException(f"{reason}. Run: sudo make bench")
    # What every row costs is to be measured, at any rate: no agent may give up some.
    os.environ |= {"SONDE_AGENT__BUDGET__CPU_PERCENT": "10000", "SONDE_AGENT__BUDGET__DETACH_PERCENT": "0"}
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))  # everything that was started is stopped
    begin, figures = time.monotonic(), list[Figure]()
    print(_machine())
    for name in which:
        some = agent.run(quick) if name == "agent" else pipeline.run(quick, parts or pipeline.PARTS)
        table(some)
        figures += some
    say(f"took {time.monotonic() - begin:.0f} s")
    sys.exit(any(figure.failed for figure in figures))


if __name__ == "__main__":
    main()
