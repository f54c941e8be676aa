"""chDB in a process of its own: one process can open one store, and other tests open theirs."""

from __future__ import annotations

import multiprocessing
from pathlib import Path
from typing import Any, NamedTuple

from aggregator.storage.migrations import migrations
from aggregator.storage.templates import Target


class Answer(NamedTuple):
    column_names: tuple[str, ...]
    result_rows: list[tuple[Any, ...]]


def statements() -> list[str]:
    """The real schema, in its order."""
    return [statement for migration in migrations() for statement in migration.rendered(Target())]


def _serve(pipe: Any, path: str) -> None:
    import clickhouse_connect

    client = clickhouse_connect.get_client(interface="chdb", path=path)
    client.command("CREATE DATABASE IF NOT EXISTS sonde")
    client.command("USE sonde")
    for statement in statements():
        client.command(statement)
    pipe.send("ready")
    while (message := pipe.recv()) is not None:
        kind, text, extra = message
        try:
            if kind == "query":
                result = client.query(text, parameters=extra)
                pipe.send(Answer(tuple(result.column_names), [tuple(row) for row in result.result_rows]))
            else:
                names = list(extra[0])
                client.insert(text, [[row[name] for name in names] for row in extra], column_names=names)
                pipe.send(None)
        except Exception as error:
            pipe.send(RuntimeError(f"{error}\n{text}"))


class Engine:
    """A store with Sonde's schema; `query` is what the dashboard's Source asks of a client."""

    def __init__(self, path: Path) -> None:
        context = multiprocessing.get_context("spawn")
        self._pipe, other = context.Pipe()
        self._process = context.Process(target=_serve, args=(other, str(path)), daemon=True)
        self._process.start()
        assert self._pipe.poll(60), "chDB did not open the store"
        assert self._pipe.recv() == "ready"

    def query(self, query: str, parameters: dict[str, Any] | None = None) -> Answer:
        return self._exchange("query", query, parameters or {})

    def insert(self, table: str, rows: list[dict[str, Any]]) -> None:
        self._exchange("insert", table, rows)

    def close(self) -> None:
        self._pipe.send(None)
        self._process.join(10)
        if self._process.is_alive():
            self._process.kill()
            self._process.join(10)

    def _exchange(self, *message: Any) -> Any:
        self._pipe.send(message)
        answer = self._pipe.recv()
        if isinstance(answer, Exception):
            raise answer
        return answer
