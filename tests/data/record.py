"""Records the golden captures here from real servers: `python tests/data/record.py` (mariadbd, redis-server, nginx).

Each server gets a directory of its own under the system's temporary one, listens on 127.0.0.1, and is stopped by
its process id. A small proxy between client and server writes down the turns: all bytes of one direction, then
all of the other. The passwords, names and values in them are made up here.

    mysql.json, redis.json, http1.json   {"server": version, "turns": [[request, response], ...]}, hexadecimal
    mysql_questions.json                 what each command adds to `Questions`
"""

from __future__ import annotations

import contextlib
import http.client
import json
import shutil
import socket
import struct
import subprocess
import tempfile
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pymysql
import redis

HERE = Path(__file__).parent
LIMIT = 2048


class Proxy:
    """Passes one connection after the other on, and keeps the turns of all."""

    def __init__(self, port: int) -> None:
        self.target, self.turns = port, []
        self.listener = socket.create_server(("127.0.0.1", 0))
        self.port = self.listener.getsockname()[1]
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                client, _ = self.listener.accept()
            except OSError:
                return
            server = socket.create_connection(("127.0.0.1", self.target))
            turns: list[list[bytearray]] = []
            self.turns.append(turns)
            for source, to, side in ((client, server, 0), (server, client, 1)):
                threading.Thread(target=self._pass, args=(source, to, side, turns), daemon=True).start()

    def _pass(self, source: socket.socket, to: socket.socket, side: int, turns: list[list[bytearray]]) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                if not turns or (side == 0 and turns[-1][1]):
                    turns.append([bytearray(), bytearray()])
                turns[-1][side] += data
                to.sendall(data)
        with contextlib.suppress(OSError):
            to.shutdown(socket.SHUT_WR)

    def write(self, name: str, server: str) -> None:
        time.sleep(0.3)
        self.listener.close()
        turns = [[bytes(part).hex() for part in turn] for turns in self.turns for turn in turns if len(turn[1]) < LIMIT]
        rows = ",\n".join(json.dumps(turn) for turn in turns)
        (HERE / name).write_text(f'{{"server": {json.dumps(server)}, "turns": [\n{rows}\n]}}\n')


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return int(listener.getsockname()[1])


@contextlib.contextmanager
def running(command: list[str], port: int, directory: Path) -> Iterator[None]:
    process = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd=directory)
    try:
        for _ in range(200):
            with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.2):
                break
            time.sleep(0.1)
        yield
    finally:
        process.terminate()
        process.wait(30)


def command(connection: pymysql.Connection, code: int, payload: bytes = b"", answer: bool = True) -> bytes:
    """Sends one command packet; reads its first packet."""
    connection._next_seq_id = 0
    connection.write_packet(bytes([code]) + payload)
    if not answer:
        time.sleep(0.1)
        return b""
    return bytes(connection._read_packet()._data)


def rest(connection: pymysql.Connection, ends: int) -> None:
    """Reads packets up to the `ends`-th EOF."""
    while ends:
        packet = bytes(connection._read_packet()._data)
        ends -= packet[0] == 0xFE and len(packet) < 9


def questions(admin: pymysql.Connection) -> int:
    with admin.cursor() as cursor:
        cursor.execute("SHOW GLOBAL STATUS LIKE 'Questions'")
        return int(cursor.fetchone()[1])


def mysql_commands(connection: pymysql.Connection, admin: pymysql.Connection) -> dict[str, int]:
    """What one of each command adds to `Questions`."""
    steps = {}

    def step(name: str, act: object) -> None:
        before = questions(admin)
        act()  # type: ignore[operator]
        time.sleep(0.2)  # QUIT is counted when the server gets to it
        steps[name] = questions(admin) - before - 1

    def prepare() -> None:
        answer = command(connection, 22, b"SELECT name FROM people WHERE id = ? AND name <> 'Xsecret'")
        prepare.statement = answer[1:5]  # type: ignore[attr-defined]
        rest(connection, 2)

    def execute() -> None:
        bound = b"\0\x01\x03\x00" + struct.pack("<I", 1)
        command(connection, 23, prepare.statement + b"\x00\x01\x00\x00\x00" + bound)  # type: ignore[attr-defined]
        rest(connection, 2)

    def query(text: str) -> object:
        def act() -> None:
            with connection.cursor() as cursor, contextlib.suppress(pymysql.Error):
                cursor.execute(text)

        return act

    step("QUERY", query("SELECT 1"))
    step("QUERY with an error", query("SELECT * FROM missing"))
    step("QUERY with a syntax error", query("SELEC 'secret'"))
    step("QUERY of two statements", query("SELECT 1; SELECT 2"))
    step("QUERY of CALL (one INSERT, one SELECT inside)", query("CALL twice(1)"))
    step("PING", lambda: command(connection, 14))
    step("INIT_DB", lambda: command(connection, 2, b"shop"))
    step("STATISTICS", lambda: command(connection, 9))
    step("PROCESS_INFO", lambda: (command(connection, 10), rest(connection, 2)))
    step("FIELD_LIST", lambda: (command(connection, 4, b"people\0"), rest(connection, 1)))
    step("SET_OPTION", lambda: command(connection, 27, b"\0\0"))
    step("PREPARE", prepare)
    step("EXECUTE", execute)
    step("RESET", lambda: command(connection, 26, prepare.statement))  # type: ignore[attr-defined]
    step("SEND_LONG_DATA", lambda: command(connection, 24, prepare.statement + b"\0\0x", answer=False))  # type: ignore[attr-defined]
    step("CLOSE", lambda: command(connection, 25, prepare.statement, answer=False))  # type: ignore[attr-defined]
    step("RESET_CONNECTION", lambda: command(connection, 31))
    step("DEBUG", lambda: command(connection, 13))
    ping = ["mysqladmin", "--no-defaults", "-h127.0.0.1", f"-P{admin.port}", "-uroot", "-pmade-up", "ping"]
    step("login, PING and QUIT of mysqladmin", lambda: subprocess.run(ping, check=True, stdout=subprocess.DEVNULL))
    step("QUIT", lambda: command(connection, 1, answer=False))
    return steps


def record_mysql(directory: Path) -> None:
    data, port = directory / "mysql", free_port()
    data.mkdir()
    subprocess.run(
        [
            "mariadb-install-db",
            "--no-defaults",
            f"--datadir={data}",
            "--user=root",
            "--auth-root-authentication-method=normal",
        ],
        check=True,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    server = ["mariadbd", "--no-defaults", "--user=root", f"--datadir={data}", f"--socket={data}/s", f"--port={port}"]
    with running([*server, "--bind-address=127.0.0.1", "--skip-log-bin", "--innodb-buffer-pool-size=16M"], port, data):
        setup = pymysql.connect(unix_socket=f"{data}/s", user="root", autocommit=True)
        with setup.cursor() as cursor:
            cursor.execute("SET PASSWORD FOR root@localhost = PASSWORD('made-up')")
            cursor.execute("CREATE DATABASE shop")
            cursor.execute("CREATE TABLE shop.people (id INT PRIMARY KEY, name VARCHAR(200))")
            cursor.execute("INSERT INTO shop.people VALUES (1, 'Ann'), (2, 'Bob')")
            cursor.execute(
                "CREATE PROCEDURE shop.twice(n INT) BEGIN REPLACE shop.people VALUES (9, 'x'); SELECT n; END"
            )
        admin = pymysql.connect(host="127.0.0.1", port=port, user="root", password="made-up", autocommit=None)
        proxy = Proxy(port)
        to = {"host": "127.0.0.1", "port": proxy.port, "user": "root", "password": "made-up", "database": "shop"}
        flag = pymysql.constants.CLIENT.MULTI_STATEMENTS
        steps = mysql_commands(pymysql.connect(**to, autocommit=None, client_flag=flag), admin)
        connection = pymysql.connect(**to)
        with connection.cursor() as cursor:
            for text in (
                "SELECT name FROM people WHERE id IN (1, 2, 3) AND name <> 'it\\'s Xsecret'",
                "INSERT INTO `shop`.`people` (id, name) VALUES (11, 'Xsecret'), (12, \"Xsecret\")",
                "INSERT INTO people VALUES (1, 'Xsecret')",
                "SELECT REPEAT('x', 900) AS wide",
                "SELECT id FROM people WHERE name = (SELECT name FROM people WHERE id < 3 AND 5 = 5)",
                "SET sql_mode = 'NO_BACKSLASH_ESCAPES'",
                "SELECT 'a\\', 'Xsecret' -- 'Xsecret",
            ):
                with contextlib.suppress(pymysql.Error):
                    cursor.execute(text)
        connection.close()
        version = setup.server_version
        proxy.write("mysql.json", version)
        (HERE / "mysql_questions.json").write_text(json.dumps({"server": version, "adds": steps}, indent=1) + "\n")


def record_redis(directory: Path) -> None:
    data, port = directory / "redis", free_port()
    data.mkdir()
    with running(["redis-server", "--port", str(port), "--save", "", "--bind", "127.0.0.1"], port, data):
        version = redis.Redis(port=port).info("server")["redis_version"]
        proxy = Proxy(port)
        for protocol in (2, 3):
            client = redis.Redis(port=proxy.port, protocol=protocol, retry=None)
            client.set("user:1001:name", "Xsecret")
            client.get("user:1001:name")
            client.get("user:1001:missing")
            client.incr("visits")
            client.mset({"a:1": "Xsecret", "a:2": "Xsecret"})
            client.hset("h:550e8400-e29b-41d4-a716-446655440000", mapping={"field": "Xsecret"})
            client.hgetall("h:550e8400-e29b-41d4-a716-446655440000")
            client.rpush("list:7", *range(40))
            client.lrange("list:7", 0, -1)
            client.config_get("maxmemory")
            for wrong in (
                ("INCR", "user:1001:name"),
                ("HGET", "visits", "f"),
                ("NOSUCH", "Xsecret"),
                ("AUTH", "Xsecret"),
            ):
                with contextlib.suppress(redis.RedisError):
                    client.execute_command(*wrong)
            client.eval("return {1, 'two', {3, false}}", 0)
            pipeline = client.pipeline(transaction=True)
            pipeline.set("p:1", "Xsecret").get("p:1").incr("visits").execute()
            client.close()
        plain = socket.create_connection(("127.0.0.1", proxy.port))
        plain.sendall(b"PING\r\n")
        plain.recv(100)
        plain.close()
        proxy.write("redis.json", version)


def record_http1(directory: Path) -> None:
    data, port = directory / "nginx", free_port()
    (data / "www" / "items").mkdir(parents=True)
    (data / "www" / "index.html").write_text("hello\n" * 20)
    (data / "nginx.conf").write_text(
        f"daemon off; pid {data}/pid; error_log {data}/e; events {{}} http {{ access_log {data}/a; "
        f"client_body_temp_path {data}/b; proxy_temp_path {data}/p; fastcgi_temp_path {data}/f; uwsgi_temp_path "
        f"{data}/u; scgi_temp_path {data}/s; server {{ listen 127.0.0.1:{port}; root {data}/www; "
        f"location /empty {{ return 204; }} location /broken {{ return 500; }} location /moved {{ return 301 /; }} "
        f"location /upload {{ return 200 'thanks'; }} location /ssi {{ ssi on; ssi_types *; alias {data}/www/; }} }} }}"
    )
    with running(["nginx", "-p", str(data), "-c", str(data / "nginx.conf")], port, data):
        version = subprocess.run(["nginx", "-v"], capture_output=True, text=True).stderr.strip()
        proxy = Proxy(port)
        client = http.client.HTTPConnection("127.0.0.1", proxy.port)
        for method, target, body in (
            ("GET", "/", None),
            ("HEAD", "/", None),
            ("GET", "/items/4711?token=Xsecret&page=2", None),
            ("GET", "/empty", None),
            ("GET", "/broken", None),
            ("GET", "/moved", None),
            ("PUT", "/upload", "Xsecret" * 9),
            ("GET", "/ssi/index.html", None),
            ("DELETE", "/items/550e8400-e29b-41d4-a716-446655440000", None),
        ):
            client.request(method, target, body)
            client.getresponse().read()
        client.close()
        raw = socket.create_connection(("127.0.0.1", proxy.port))
        raw.sendall(b"GET / HTTP/1.1\r\nHost: a\r\n\r\nGET /items/12 HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n")
        while raw.recv(4096):
            pass
        raw.close()
        proxy.write("http1.json", version)


if __name__ == "__main__":
    temporary = Path(tempfile.mkdtemp(prefix="sonde-record-"))
    temporary.chmod(0o755)
    try:
        record_mysql(temporary)
        record_redis(temporary)
        record_http1(temporary)
    finally:
        shutil.rmtree(temporary)
