"""Settings of `sonde dashboard`: /etc/sonde/dashboard.yml, SONDE_DASHBOARD__*, flags."""

from __future__ import annotations

import ipaddress
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, field_validator

from sonde.config import Settings

PREFIX = "SONDE_DASHBOARD__"
FILE = "/etc/sonde/dashboard.yml"


class DashboardSettings(Settings):
    """What `sonde dashboard` can be told."""

    #: Address and port of the pages.
    listen: str = "127.0.0.1:8050"
    #: ClickHouse's HTTP interface: the aggregator's own, or a server's.
    sql_url: str = "http://127.0.0.1:8123"
    #: User of the SQL endpoint.
    sql_user: str = "default"
    #: Password, or the aggregator's token, of the SQL endpoint.
    sql_token: SecretStr = SecretStr("")
    #: Database of the tables.
    database: str = "sonde"
    #: Host names under which a browser may ask for the pages, besides loopback's and that of `listen`.
    allowed_hosts: tuple[str, ...] = ()
    #: Seconds between two refreshes of a live page.
    refresh_seconds: float = Field(5.0, ge=1, le=3600)
    #: Seconds for which an answer serves every tab that asks the same.
    cache_seconds: float = Field(1.0, ge=0, le=60)
    #: Answers kept at most; the oldest go first.
    cache_entries: int = Field(256, ge=1)
    #: Seconds after which a query is given up.
    query_seconds: int = Field(10, ge=1, le=600)
    #: Queries in flight at once; further ones wait.
    query_concurrency: int = Field(4, ge=1, le=64)
    #: Seconds of silence after which a host is shown as stale.
    stale_seconds: int = Field(30, ge=1)
    #: Seconds that totals may still grow after their time: agents seal, peers are resolved. Shaded in charts.
    settle_seconds: int = Field(20, ge=0)
    #: Rows of a table at most; beyond, the page says that there are more.
    max_rows: int = Field(500, ge=10, le=10_000)
    #: Rows of the slow requests' tables.
    slow_rows: int = Field(100, ge=5, le=1000)

    @field_validator("listen")
    @classmethod
    def _listen_is_an_address(cls, text: str) -> str:
        split_listen(text)
        return text

    @field_validator("sql_url")
    @classmethod
    def _sql_url_is_http(cls, text: str) -> str:
        url = urlsplit(text)
        if url.scheme not in ("http", "https") or not url.hostname:
            raise ValueError(f"{text!r} is not a URL such as http://127.0.0.1:8123")
        return text


def split_listen(text: str) -> tuple[str, int]:
    """Host and port of `127.0.0.1:8050` or `[::1]:8050`.

    Raises:
        ValueError: it is neither; the message shows the form.
    """
    host, _, port = text.rpartition(":")
    host = host.removeprefix("[").removesuffix("]")
    if not host or not port.isdecimal() or int(port) > 65535:
        raise ValueError(f"{text!r} is not an address such as 127.0.0.1:8050")
    return host, int(port)


def is_loopback(host: str) -> bool:
    """Whether an address or name is this machine's own loopback."""
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return host == "localhost"
