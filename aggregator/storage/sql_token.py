"""The token of the SQL port: from a setting, or from a file of mode 0640 that is made when it is missing."""

from __future__ import annotations

import os
import secrets
from pathlib import Path

from aggregator.config import Sql
from aggregator.web import split_address
from sonde.errors import UsageError

_LOCAL = ("127.0.0.1", "::1", "localhost")
_MODE = 0o640


def token(settings: Sql) -> str:
    """The token that clients must send; '' if none is asked for.

    Raises:
        UsageError: the port is reachable from other hosts without a token, or its file is readable by everyone.
    """
    if settings.token.get_secret_value():
        return settings.token.get_secret_value()
    if settings.token_file:
        return _from_file(Path(settings.token_file))
    if split_address(settings.listen)[0] not in _LOCAL:
        raise UsageError(
            f"sql.listen {settings.listen} is reachable from other hosts: set sql.token_file "
            "(it is made, mode 0640, if it does not exist)"
        )
    return ""


def tokens(settings: Sql) -> dict[str, str]:
    """Token -> its tenant, '' for the one that shows all rows; none if no token is asked for.

    Raises:
        UsageError: as `token`; or there are tenants and no token for all rows, or two have the same.
    """
    everything = token(settings)
    if settings.tenants and not everything:
        raise UsageError("sql.tenants needs sql.token_file: without it everyone on this machine sees all rows")
    found = {everything: ""} if everything else {}
    for tenant, path in settings.tenants.items():
        one = _from_file(Path(path))
        if one in found:
            raise UsageError(f"sql.tenants: {tenant} has the token of another; give it a file of its own")
        found[one] = tenant
    return found


def _from_file(path: Path) -> str:
    try:
        try:
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, _MODE)
        except FileExistsError:
            if path.stat().st_mode & 0o007:
                raise UsageError(f"token file {path} is open to everyone; chmod 0640 it") from None
        else:
            with os.fdopen(descriptor, "w", encoding="ascii") as file:
                os.fchmod(file.fileno(), _MODE)
                file.write(secrets.token_urlsafe(32) + "\n")
        text = path.read_text(encoding="utf-8").strip()
    except OSError as error:
        raise UsageError(f"token file {path}: {error.strerror}") from None
    if not text:
        raise UsageError(f"token file {path} is empty; remove it to have a new one made")
    return text
