"""What `--check` of agent and aggregator share: findings, and looks that change nothing."""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import click

from sonde.errors import ConfigError, SondeError, UsageError
from sonde.tls import Tls, TlsFiles

Of = TypeVar("Of")


@dataclass(frozen=True)
class Finding:
    """One line: what was looked at, whether it is good, what was found."""

    name: str
    good: bool
    text: str

    def __str__(self) -> str:
        return f"{'ok  ' if self.good else 'FAIL'}  {self.name}: {self.text}"


def findings(looks: Sequence[tuple[str, Callable[[Of], str]]], settings: Of) -> Iterator[Finding]:
    """A finding of every look, each as soon as it is known; what a look raises is its fault in words."""
    yield Finding("configuration", True, "valid")
    for name, look in looks:
        try:
            yield Finding(name, True, look(settings))
        except SondeError as error:
            yield Finding(name, False, str(error))
        except OSError as error:
            yield Finding(name, False, f"{error.filename or ''} {error.strerror}".strip())


def report(load: Callable[[], Of], look: Callable[[Of], Iterator[Finding]]) -> None:
    """Print every finding of what `load` gives; exits with 1 if one is not good."""
    try:
        settings = load()
    except ConfigError as error:
        click.echo(str(Finding("configuration", False, str(error))))
        raise SystemExit(1) from None
    good = True
    for finding in look(settings):
        click.echo(str(finding))
        good = good and finding.good
    if not good:
        raise SystemExit(1)


def nearest(path: Path) -> Path:
    """`path`, or the nearest folder above it that exists."""
    while not path.exists():
        path = path.parent
    return path


def writable_folder(path: Path) -> str:
    """Where `path` is, or would be created.

    Raises:
        UsageError: it cannot be written.
    """
    there = nearest(path)
    if not there.is_dir():
        raise UsageError(f"{there} is no folder; choose another path")
    if not os.access(there, os.W_OK | os.X_OK):
        raise UsageError(f"{there} cannot be written by this user; change its owner")
    return f"{path} can be written" if there == path else f"{path} will be created in {there}"


def free_port(listen: str, host: str, port: int) -> str:
    """That `host` is an address of this machine and nobody listens at its `port`.

    Raises:
        UsageError: one of them is not so.
    """
    try:
        found = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM, flags=socket.AI_PASSIVE)
    except OSError as error:
        raise UsageError(f"{listen}: {error.strerror}; this machine has no such address") from None
    family, kind, protocol, _, address = found[0]
    with socket.socket(family, kind, protocol) as one:
        one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind(address)
            one.listen(1)
        except OSError as error:
            raise UsageError(f"{listen} cannot be bound: {error.strerror}; is it running already?") from None
    return f"{listen} is free"


def good_certificate(tls: Tls) -> str:
    """That the files of `tls` belong together and are not expired.

    Raises:
        SondeError: they do not, or are.
    """
    from sonde.certificates import now

    loaded = TlsFiles(tls).load()
    days = (loaded.expires_s - now().timestamp()) / 86_400
    if days <= 0:
        raise UsageError(f"{tls.certificate} expired {-days:.1f} days ago; `sonde ca renew`, then copy it here")
    return f"{tls.certificate} of {loaded.identity.name}, good for {days:.0f} days"
