"""The three hosts and the servers on them."""

from __future__ import annotations

import contextlib
import sys
from collections.abc import Iterator
from pathlib import Path

from tests.targets.api import Api
from tests.targets.mariadb import MariaDB
from tests.targets.netns import Network
from tests.targets.nginx import Nginx
from tests.targets.process import Process
from tests.targets.redis import Redis

LABEL = "sonde-demo"


class Load(Process):
    """The client on web."""

    def __init__(self, network: Network) -> None:
        super().__init__(network["web"], sys.executable, "-m", "deploy.demo.load", network["web"].address, "80")


@contextlib.contextmanager
def network() -> Iterator[Network]:
    """web, app and db on a bridge."""
    with Network("web", "app", "db", label=LABEL) as made:
        yield made


@contextlib.contextmanager
def servers(made: Network, cache: Path) -> Iterator[list[Process]]:
    """MariaDB and Redis on db, the API on app, nginx on web: all of them listen."""
    with contextlib.ExitStack() as stack:
        database, store = MariaDB(made["db"], cache=cache), Redis(made["db"])
        for server in (database, store):
            stack.callback(server.stop)
            server.launch()
        for server in (store, database):
            server.wait_ready()
        sql, cached = f"{database.address}:{database.port}", f"{store.address}:{store.port}"
        api = Api(made["app"], mariadb=sql, redis=cached, name="api")
        stack.callback(api.stop)
        api.start()
        nginx = Nginx(made["web"], upstream=f"{api.address}:{api.port}")
        stack.callback(nginx.stop)
        nginx.start()
        yield [database, store, api, nginx]
