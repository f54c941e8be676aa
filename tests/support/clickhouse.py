"""A stand-in for a ClickHouse server, for tests only: its HTTP interface over chDB, inserts and DDL allowed.

`python -m tests.support.clickhouse PORT PATH` serves until it is killed. It is enough for clickhouse-connect's ordinary
client: queries in the URL or the body, settings and param_* in the URL, inserts with the rows as the body. POST /fault
makes the next insert answer 500 after its rows are stored, as a connection that breaks before the answer does.
It knows no users and must only listen on loopback.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import threading
import time
import uuid
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from aggregator.storage.sql_settings import TRANSPORT
from tests.support.aggregators import ROOT, free_port

_INSERT = re.compile(r"\s*INSERT\s+INTO\s+(.*?)\s+FORMAT\s+(\w+)\s*$", re.IGNORECASE | re.DOTALL)
_START_S = 60


class Server:
    """The process; `port` is its HTTP port."""

    def __init__(self, folder: Path) -> None:
        self.port = free_port()
        command = [sys.executable, "-m", "tests.support.clickhouse", str(self.port), str(folder / "server")]
        self._process = subprocess.Popen(command, cwd=ROOT, env=os.environ | {"TZ": "UTC"})

    def wait(self) -> Server:
        """Until it answers."""
        import http.client

        for _ in range(_START_S * 20):
            assert self._process.poll() is None, "the stand-in ended"
            connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=5)
            try:
                connection.request("GET", "/ping")
                if connection.getresponse().status == 200:
                    return self
            except OSError:
                time.sleep(0.05)
            finally:
                connection.close()
        raise AssertionError("the stand-in does not answer")

    def stop(self) -> None:
        """End it."""
        self._process.terminate()
        self._process.wait(30)


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    path_of_store = ""
    fault = threading.Event()

    def log_message(self, *_: Any) -> None:
        pass

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        if self.headers.get("Transfer-Encoding", "").lower() == "chunked":
            body = b""
            while size := int(self.rfile.readline().split(b";")[0], 16):
                body += self.rfile.read(size)
                self.rfile.readline()
            self.rfile.readline()
        else:
            body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        self._serve(body)

    def _serve(self, body: bytes) -> None:
        url = urlsplit(self.path)
        if url.path == "/fault":
            self.fault.set()
        if url.path != "/":
            return self._answer(200, b"Ok.\n")
        given = dict(parse_qsl(url.query, keep_blank_values=True))
        try:
            return self._answer(200, self._run(given, body))
        except RuntimeError as error:
            text = str(error)
            code = re.search(r"Code: (\d+)", text)
            return self._answer(500, text.encode(), code[1] if code else "1001")

    def _run(self, given: dict[str, str], body: bytes) -> bytes:
        import chdb

        query = given.get("query", "")
        insert = _INSERT.match(query)
        if not insert:
            query = "\n".join(part for part in (query, body.decode()) if part.strip())
        handle = chdb.connect(self.path_of_store)
        try:
            if given.get("database"):
                handle.query(f"USE {given['database']}", "TabSeparated")
            settings = {
                name: value
                for name, value in given.items()
                if name not in TRANSPORT and not name.startswith("param_") and name != "default_format"
            }
            if settings:
                words = (f"{name} = '{value}'" for name, value in settings.items())
                handle.query("SET " + ", ".join(words), "TabSeparated")
            parameters = {name[6:]: value for name, value in given.items() if name.startswith("param_")}
            if not insert:
                form = given.get("default_format") or self.headers.get("X-ClickHouse-Format") or "TabSeparated"
                return bytes(handle.query(query, form, params=parameters).bytes())
            with tempfile.NamedTemporaryFile(suffix=".rows") as rows:
                rows.write(body)
                rows.flush()
                handle.query(f"INSERT INTO {insert[1]} FROM INFILE '{rows.name}' FORMAT {insert[2]}", "TabSeparated")
            if self.fault.is_set():
                self.fault.clear()
                raise RuntimeError("Code: 999. the answer was lost, as the test asked")
            return b""
        finally:
            handle.close()

    def _answer(self, status: int, body: bytes, code: str = "") -> None:
        self.send_response(status)
        headers = {"X-ClickHouse-Query-Id": str(uuid.uuid4()), "X-ClickHouse-Timezone": "UTC",
                   "X-ClickHouse-Summary": "{}", "Content-Type": "application/octet-stream"}  # fmt: skip
        if code:
            headers["X-ClickHouse-Exception-Code"] = code
        for name, value in headers.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)


def _main(port: str, path: str) -> None:
    import chdb

    keep = chdb.connect(path)  # the engine stays open while handles come and go
    _Handler.path_of_store = path
    server = ThreadingHTTPServer(("127.0.0.1", int(port)), _Handler)
    server.daemon_threads = True
    try:
        server.serve_forever()
    finally:
        keep.close()


if __name__ == "__main__":
    _main(*sys.argv[1:])
