"""`make wheelhouse`: everything that `pip` needs to install Sonde on hosts without a network.

    python deploy/setup/wheelhouse.py --out dist/wheelhouse [--python python3.11]

Writes, for the Python it is run with (name and processor are in each file's name):

    sonde-PROGRAM-VERSION-cp311-x86_64.tar   wheels of one program, and requirements.txt with a hash of each
    SHA256SUMS                               of the archives

Invariants: versions are those of constraints.txt; an archive is bit for bit the same for the same wheels; archives of
other Pythons in the folder stay, so that one folder can serve a mixed fleet: run it once with each. Wheels fit the
Python and the processor they were made with. What fails ends the command, and leaves SHA256SUMS as it was.
"""

from __future__ import annotations

import argparse
import hashlib
import io
import json
import os
import platform
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
import urllib.parse
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
NOT_PACKED = ("bench", "deploy", "tests")
PROGRAMS = ("agent", "aggregator", "dashboard")


def run(*argv: str) -> str:
    """Output of a command; what it complains of goes to standard error; ends the program if it fails."""
    # Zip files hold times: a fixed one makes equal wheels of equal trees.
    environment = os.environ | {"SOURCE_DATE_EPOCH": "1700000000"}
    done = subprocess.run(argv, stdout=subprocess.PIPE, text=True, cwd=ROOT, env=environment)
    if done.returncode:
        sys.exit(f"wheelhouse: {' '.join(argv[:6])} ... failed; its last lines are above")
    return done.stdout


def sha256(path: Path) -> str:
    """Hexadecimal digest of a file."""
    digest = hashlib.sha256()
    with path.open("rb") as file:
        while part := file.read(1 << 20):
            digest.update(part)
    return digest.hexdigest()


def copied_tree(place: Path, version: str) -> Path:
    """What a wheel is made of, at `place`: setuptools would leave its build folder in ours, and take old files from it.

    `version` stands in place of the tree's own, unless it is empty.
    """
    for folder in ROOT.iterdir():
        if (folder / "__init__.py").exists() and folder.name not in NOT_PACKED:
            shutil.copytree(folder, place / folder.name, ignore=shutil.ignore_patterns("__pycache__"))
    for name in ("pyproject.toml", "README.md"):
        shutil.copy(ROOT / name, place / name)
    if version:
        for name, pattern in (("pyproject.toml", r'^version = ".*"$'), ("sonde/__init__.py", r'^__version__ = ".*"$')):
            file = place / name
            line = pattern[1:].split(" = ")[0] + f' = "{version}"'
            file.write_text(re.sub(pattern, line, file.read_text(encoding="utf-8"), flags=re.M), encoding="utf-8")
    return place


def wheels_of(python: str, program: str, wheel: Path, wheels: Path) -> list[Path]:
    """The wheels that installing `program` takes, as pip resolves them from the folder alone."""
    report = json.loads(
        run(
            python, "-m", "pip", "install", "--quiet", "--dry-run", "--ignore-installed", "--no-index",
            "--disable-pip-version-check", "--find-links", str(wheels), "--report", "-", f"{wheel}[{program},ca]",
        )
    )  # fmt: skip
    urls = [item["download_info"]["url"] for item in report["install"]]
    return sorted(Path(urllib.parse.unquote(urllib.parse.urlsplit(url).path)) for url in urls)


def requirements(wheels: list[Path]) -> str:
    """Lines for `pip install --require-hashes`."""
    lines = []
    for wheel in wheels:
        name, version = wheel.name.split("-")[:2]
        lines.append(f"{name}=={version} --hash=sha256:{sha256(wheel)}\n")
    return "".join(lines)


def pack(archive: Path, wheels: list[Path]) -> None:
    """One archive, without anything of this machine: no times, no owners."""
    part = archive.with_suffix(".part")
    with tarfile.open(part, "w", format=tarfile.PAX_FORMAT) as out:
        texts = {"requirements.txt": requirements(wheels).encode()}
        for name, text in texts.items():
            item = tarfile.TarInfo(name)
            item.size, item.mode = len(text), 0o644
            out.addfile(item, io.BytesIO(text))
        for wheel in wheels:
            item = tarfile.TarInfo(f"wheels/{wheel.name}")
            item.size, item.mode = wheel.stat().st_size, 0o644
            with wheel.open("rb") as file:
                out.addfile(item, file)
    part.replace(archive)


def main() -> None:
    """Build it."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--out", type=Path, default=ROOT / "dist" / "wheelhouse")
    parser.add_argument("--python", default="/usr/bin/python3", help="the Python that the hosts have")
    parser.add_argument("--version", default="", help="another version number for this build, such as 0.1.1")
    parser.add_argument("--programs", nargs="+", choices=PROGRAMS, default=PROGRAMS)
    given = parser.parse_args()
    out: Path = given.out.resolve()
    out.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory() as made:
        run(given.python, "-m", "venv", f"{made}/venv")
        python, wheels = f"{made}/venv/bin/python", Path(made) / "wheels"
        pip = (python, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check", "--wheel-dir", str(wheels))
        run(*pip, "--no-deps", str(copied_tree(Path(made) / "tree", given.version)))
        wheel = next(wheels.glob("sonde-*.whl"))
        extras = ",".join((*given.programs, "ca"))
        run(*pip, "--find-links", str(wheels), "-c", str(ROOT / "constraints.txt"), f"{wheel}[{extras}]")
        tag = run(python, "-c", "import sys; print('cp%d%d' % sys.version_info[:2])").strip()
        version = wheel.name.split("-")[1]
        for program in given.programs:
            archive = out / f"sonde-{program}-{version}-{tag}-{platform.machine()}.tar"
            pack(archive, wheels_of(python, program, wheel, wheels))
            print(f"{archive.name}: {archive.stat().st_size / 1e6:.0f} MB", file=sys.stderr)
    sums = "".join(f"{sha256(archive)}  {archive.name}\n" for archive in sorted(out.glob("*.tar")))
    (out / "SHA256SUMS").write_text(sums, encoding="ascii")
    print(f"{out}: give it to the playbooks as sonde_wheelhouse", file=sys.stderr)


if __name__ == "__main__":
    main()
