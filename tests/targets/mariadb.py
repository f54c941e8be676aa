"""MariaDB with a data directory of its own, small buffers, root without a password, over TCP.

The empty data directory is made once per clone by mariadb-install-db (about a second) and copied.
"""

from __future__ import annotations

import contextlib
import fcntl
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.targets.netns import Namespace
from tests.targets.process import ROOT, Process, TargetError

_SMALL = (
    "--innodb-log-file-size=4M",
    "--innodb-buffer-pool-size=16M",
    "--innodb-flush-log-at-trx-commit=0",
    "--innodb-doublewrite=0",
)


def template(cache: Path | None = None) -> Path:
    """An empty data directory to copy, made on first use below `cache` (default: the clone's .sonde/cache)."""
    base = cache or ROOT / ".sonde" / "cache" / "mariadb"
    base.mkdir(parents=True, exist_ok=True)
    with (base / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        ready = base / "data"
        if not (ready / "mysql").is_dir():
            making = base / "making"
            shutil.rmtree(making, ignore_errors=True)
            argv = ["mariadb-install-db", "--no-defaults", "--user=root", f"--datadir={making}", *_SMALL]
            argv += ["--auth-root-authentication-method=normal", "--skip-test-db", "--skip-name-resolve"]
            done = subprocess.run(argv, capture_output=True, text=True, timeout=120)
            if done.returncode:
                raise TargetError(f"mariadb-install-db failed: {(done.stderr + done.stdout).strip()[-1500:]}")
            making.rename(ready)
    return ready


class MariaDB(Process):
    """A server on `port` with the database `shop` and its table `items` (id, name), 100 rows."""

    namespace: Namespace

    def __init__(self, namespace: Namespace, port: int = 3306, cache: Path | None = None) -> None:
        super().__init__(namespace, ports=(port,), timeout_s=60)
        self.port = port
        self._asker: Any = None
        data = self.directory / "data"
        shutil.copytree(template(cache), data)
        first = self.directory / "first.sql"
        values = ", ".join(f"({number}, 'item {number}')" for number in range(1, 101))
        first.write_text(
            # The grants' own tables are loaded after init-file's statements only when flushed.
            "CREATE DATABASE IF NOT EXISTS shop;\n"
            "CREATE TABLE IF NOT EXISTS shop.items (id INT PRIMARY KEY, name VARCHAR(100));\n"
            f"REPLACE INTO shop.items VALUES {values};\n"
            "CREATE OR REPLACE USER 'root'@'%' IDENTIFIED BY '';\n"
            "GRANT ALL ON *.* TO 'root'@'%' WITH GRANT OPTION;\n"
        )
        self.argv = [
            "mariadbd",
            "--no-defaults",
            "--user=root",
            f"--datadir={data}",
            f"--port={port}",
            "--bind-address=*",
            f"--socket={self.directory}/socket",
            f"--pid-file={self.directory}/pid",
            f"--tmpdir={self.directory}",
            f"--init-file={first}",
            "--skip-name-resolve",
            "--skip-log-bin",
            "--performance-schema=OFF",
            "--key-buffer-size=1M",
            "--aria-pagecache-buffer-size=8M",
            "--max-allowed-packet=64M",
            *_SMALL,
        ]

    @contextlib.contextmanager
    def client(self, namespace: Namespace | None = None, **options: Any) -> Iterator[Any]:
        """A pymysql connection from `namespace` (default: the server's own host). Connecting costs one question."""
        import pymysql  # type: ignore[import-untyped]

        with (namespace or self.namespace).entered():
            made = pymysql.connect(
                host=self.address, port=self.port, user="root", database="shop", autocommit=True, **options
            )
        try:
            yield made
        finally:
            made.close()

    def questions(self) -> int:
        """The server's counter less what asking for it costs; over a Unix socket that stays open."""
        import pymysql

        if self._asker is None:
            self._asker = pymysql.connect(unix_socket=str(self.directory / "socket"), user="root")
        with self._asker.cursor() as cursor:
            cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
            total = int(cursor.fetchone()[1])
            cursor.execute("SHOW SESSION STATUS LIKE 'Questions'")
            own = int(cursor.fetchone()[1])
        # The second SHOW was not in the total yet.
        return total - (own - 1)

    def stop(self, patience_s: float = 10) -> None:
        """Ends it and removes its files."""
        if self._asker is not None:
            self._asker.close()
            self._asker = None
        super().stop(patience_s)
