"""`sonde ca`: the certificates of a fleet. The library is imported when a command runs, so that --help needs none."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from sonde.errors import CertificateError, UsageError

if TYPE_CHECKING:
    from sonde.ca_folder import Folder

_DIRECTORY = click.option(
    "--dir", "directory", type=click.Path(file_okay=False, path_type=Path), default=Path("/etc/sonde/ca"),
    show_default=True, help="The authority's folder.",
)  # fmt: skip
_DAYS = click.option(
    "--days", type=click.IntRange(1, 3650), default=365, show_default=True, help="How long the certificate is good."
)
_FILE = click.Path(dir_okay=False, path_type=Path)


def _subject_options(command: Callable[..., None]) -> Callable[..., None]:
    options = [
        click.option("--kind", type=click.Choice(["agent", "aggregator"]), default="agent", show_default=True),
        click.option(
            "--host", "hosts", multiple=True, metavar="NAME|ADDRESS",
            help="DNS name or address that agents call the aggregator by; repeat it for several.",
        ),
        click.option("--tenant", default="", help="Whose host it is, for the SQL port's row filter; agents only."),
    ]  # fmt: skip
    for option in reversed(options):
        command = option(command)
    return command


def _folder(directory: Path) -> Folder:
    try:
        from sonde.ca_folder import Folder
    except ModuleNotFoundError as error:
        raise UsageError(f"sonde ca needs the package {error.name}: pip install 'sonde[ca]'") from None
    return Folder(directory)


def _subject(kind: str, name: str, hosts: tuple[str, ...], tenant: str) -> Any:
    from sonde.ca import Subject

    if kind == "aggregator" and not hosts:
        raise UsageError(
            "an aggregator needs the names that agents call it by: --host sonde.example.org, --host 10.0.0.1"
        )
    return Subject(kind, name, hosts, tenant)


@click.group()
def ca() -> None:
    """Make the certificates with which agents and aggregators know each other."""


@ca.command()
@_DIRECTORY
@click.option("--name", default="Sonde CA", show_default=True, help="Name of the authority.")
@click.option("--days", type=click.IntRange(1, 36500), default=3650, show_default=True, help="How long it is good.")
def init(directory: Path, name: str, days: int) -> None:
    """Make an authority: DIR/ca.crt to hand out, DIR/ca.key to keep secret."""
    folder = _folder(directory)
    folder.create(name, days)
    click.echo(f"{folder.certificate}: hand it to every agent and aggregator; keep {folder.key} secret and backed up")


@ca.command()
@click.argument("name")
@_DIRECTORY
@_subject_options
@_DAYS
def issue(name: str, directory: Path, kind: str, hosts: tuple[str, ...], tenant: str, days: int) -> None:
    """Make key and certificate of NAME, an agent's host_name or an aggregator.

    Both stay in DIR/issued; copy them to the host. `request` and `sign` do the same without moving a key.
    """
    folder = _folder(directory)
    path = folder.issue(_subject(kind, name, hosts, tenant), days)
    click.echo(f"{path} and {path.with_suffix('.key')}: copy both to the host of {name}, with {folder.certificate}")


@ca.command()
@click.argument("name")
@click.option("--key", type=_FILE, required=True, help="File of the private key; made, mode 0600, if it is missing.")
@click.option("--out", type=_FILE, required=True, help="File of the request; replaced if it exists.")
def request(name: str, key: Path, out: Path) -> None:
    """Make a key, and a request (CSR) that `sonde ca sign` turns into a certificate. Run it on the host itself."""
    _folder(key.parent)
    from sonde import ca as authority
    from sonde import ca_folder, certificates

    authority.check_name(name)
    if not key.exists():
        ca_folder.write(key, authority.key_pem(authority.new_key()), ca_folder.KEY_MODE)
    elif certificates.is_open_to_others(key):
        raise CertificateError(
            f"{key} is open to every user of this machine: chmod 0600 it, or remove it for a new one"
        )
    made = authority.request(name, authority.load_key(certificates.read(key), key))
    ca_folder.write(out, made, ca_folder.CERTIFICATE_MODE, replace=True)
    click.echo(f"{out}: sign it where the authority is, `sonde ca sign {out.name} --name {name}`")


@ca.command()
@click.argument("file", type=_FILE)
@click.option("--name", required=True, help="Whom it is for: the agent's host_name, or an aggregator.")
@click.option("--out", type=_FILE, help="Copy of the certificate; replaced if it exists.")
@_DIRECTORY
@_subject_options
@_DAYS
def sign(
    file: Path,
    name: str,
    out: Path | None,
    directory: Path,
    kind: str,
    hosts: tuple[str, ...],
    tenant: str,
    days: int,
) -> None:
    """Sign the request in FILE. Only its key is taken from it: names and tenant are what you say here."""
    folder = _folder(directory)
    from sonde import ca_folder, certificates

    path = folder.sign(_subject(kind, name, hosts, tenant), certificates.read(file), file, days)
    if out is not None:
        ca_folder.write(out, certificates.read(path), ca_folder.CERTIFICATE_MODE, replace=True)
    click.echo(f"{out or path}: copy it to the host of {name}, with {folder.certificate}")


@ca.command()
@click.argument("names", nargs=-1)
@_DIRECTORY
@click.option("--within-days", type=click.IntRange(0, 36500), default=30, show_default=True,
              help="Renew what expires within so many days; 36500 renews all.")  # fmt: skip
@_DAYS
@click.option("--new-key", is_flag=True, help="A new key as well, where the key is in DIR.")
@click.option("--authority", is_flag=True, help="The authority itself, same key: hand DIR/ca.crt out again.")
def renew(names: tuple[str, ...], directory: Path, within_days: int, days: int, new_key: bool, authority: bool) -> None:
    """Renew certificates that expire soon: all, or those of NAMES. Prints one line for each that was renewed."""
    folder = _folder(directory)
    from sonde import ca_folder
    from sonde.ca import subject_of

    own = folder.authority().certificate
    if authority:
        if names or new_key:
            raise UsageError("--authority renews the authority alone; for a new key of it make another one with init")
        if ca_folder.expires_within(own, within_days):
            made = folder.renew_authority(max(days, (own.not_valid_after_utc - own.not_valid_before_utc).days))
            click.echo(f"{folder.certificate}: good until {made.not_valid_after_utc:%Y-%m-%d}; hand it out again")
        return
    known = [(path, old, subject_of(old)) for path, old in folder.all()]
    missing = set(names) - {subject.name for _, _, subject in known}
    if missing:
        raise UsageError(f"{sorted(missing)[0]} has no certificate in {folder.issued}; `sonde ca issue` makes one")
    for path, old, subject in known:
        if (not names or subject.name in names) and ca_folder.expires_within(old, within_days):
            made = folder.renew(path, days, new_key)
            click.echo(f"{path}: good until {made.not_valid_after_utc:%Y-%m-%d}; copy it to the host of {subject.name}")
