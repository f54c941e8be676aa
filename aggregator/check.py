"""`sonde aggregator --check`: whether an aggregator with these settings could start here; nothing is changed.

One finding a line. Nothing is created, bound for longer than a moment, or written: the schema of an embedded store is
read from a copy of one small table, since opening the store itself would start merges, and not go beside a running
aggregator.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from pathlib import Path

from aggregator.config import AggregatorSettings
from aggregator.program import journal_folder
from aggregator.storage import client, migrations, offline
from aggregator.web import split_address
from sonde import checks
from sonde.errors import StoreError, UsageError

_DISK_BYTES = 1 << 30


def check(settings: AggregatorSettings) -> Iterator[checks.Finding]:
    """Every finding, each as soon as it is known; none raises."""
    looks = (
        ("store", _store), ("schema", _schema), ("disk", _disk), ("journal", _journal),
        ("grpc.listen", lambda of: _port(of.grpc.listen)), ("api.listen", lambda of: _port(of.api.listen)),
        ("sql.listen", _sql_port), ("certificates", _certificates), ("sql token", _token),
    )  # fmt: skip
    return checks.findings(looks, settings)


def _url(settings: AggregatorSettings) -> client.StoreUrl:
    return client.parse(settings.storage.url)


def _store(settings: AggregatorSettings) -> str:
    url = _url(settings)
    if not url.embedded:
        return f"ClickHouse {offline.server_version(url)} answers"
    said = checks.writable_folder(Path(url.path))
    checks.writable_folder(Path(url.path + ".incoming"))
    client.check_unlocked(url.path)
    return said


def _schema(settings: AggregatorSettings) -> str:
    url = _url(settings)
    applied = offline.applied(url) if url.embedded else offline.applied_at_server(url)
    files = migrations.migrations()
    missing = [one.name for one in files if one.number not in applied]
    changed = [one.name for one in files if applied.get(one.number, one.checksum) != one.checksum]
    newer = sorted(set(applied) - {one.number for one in files})
    if newer:
        raise StoreError(f"the store has schema file {newer[-1]}, which this release does not know; run a newer one")
    if changed:
        raise StoreError(f"{changed[0]} is not what was applied; restore the file of this release")
    if missing:
        return f"{len(missing)} of {len(files)} files will be applied at the start, from {missing[0]} on"
    return f"all {len(files)} files are applied"


def _disk(settings: AggregatorSettings) -> str:
    url = _url(settings)
    if not url.embedded:
        return "the server's"
    folder = checks.nearest(Path(url.path))
    usage = shutil.disk_usage(folder)
    said = f"{usage.free / 1e9:.1f} of {usage.total / 1e9:.1f} GB free at {folder}"
    if usage.free < _DISK_BYTES:
        raise StoreError(f"{said}; make room, or move storage.url")
    return said


def _journal(settings: AggregatorSettings) -> str:
    if not _url(settings).embedded:
        return "none: each batch is an insert of its own"
    folder = journal_folder(settings)
    said = checks.writable_folder(folder)
    if folder.is_dir():
        blocks = sum(1 for one in folder.iterdir() if one.suffix == ".block")
        said += f", {blocks} blocks to be inserted again" if blocks else ""
    return said


def _port(listen: str) -> str:
    return checks.free_port(listen, *split_address(listen))


def _sql_port(settings: AggregatorSettings) -> str:
    return _port(settings.sql.listen) if _url(settings).embedded else "the server's own"


def _certificates(settings: AggregatorSettings) -> str:
    tls = settings.grpc.tls
    if not tls.on:
        host = split_address(settings.grpc.listen)[0]
        if host not in ("127.0.0.1", "localhost", "::1") and not settings.grpc.insecure:
            raise UsageError("grpc.listen is reachable from other hosts without grpc.tls; see `sonde ca`")
        return "none: agents deliver in plain text"
    return checks.good_certificate(tls)


def _token(settings: AggregatorSettings) -> str:
    if settings.sql.token.get_secret_value():
        return "set"
    if not settings.sql.token_file:
        if _url(settings).embedded and split_address(settings.sql.listen)[0] not in ("127.0.0.1", "localhost", "::1"):
            raise UsageError("sql.listen is reachable from other hosts: set sql.token_file")
        return "none is asked for"
    path = Path(settings.sql.token_file)
    if not path.exists():
        return f"{path} will be created in {checks.nearest(path)}"
    if path.stat().st_mode & 0o007:
        raise UsageError(f"{path} is open to everyone; chmod 0640 it")
    if not os.access(path, os.R_OK):
        raise UsageError(f"{path} cannot be read by this user; change its owner")
    return f"{path} can be read"
