"""The routes under /_test: fill, empty and show the database, and hold runs at gates."""

import sqlite3
from contextlib import closing
from typing import Annotated

from fastapi import Body, FastAPI
from offline_model import GATES, gate
from stored_sessions import seed


class Store:
    """The database's file, behind agno's back."""

    def __init__(self, file):
        self._file = file

    def _connect(self):
        return closing(sqlite3.connect(self._file, isolation_level=None, timeout=10))

    def clear(self):
        with self._connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table in _tables(connection):
                connection.execute(f'DELETE FROM "{table}"')
            connection.execute("COMMIT")

    def rows(self):
        """{table: {key: {column: value}}} of every table with sessions or runs."""
        shown = {}
        with self._connect() as connection:
            connection.row_factory = sqlite3.Row
            for table in _tables(connection):
                if table.endswith(("_sessions", "agno_runs")):
                    found = [dict(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
                    key = "run_id" if table.endswith("_runs") else "session_id"
                    shown[table] = {row[key]: row for row in found}
        return shown


def _tables(connection):
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in found if "schema_versions" not in name]


def make_control(db, other_db, file):
    """An app of its own; `other_db` is where a seed with `other_table` goes."""
    app = FastAPI()
    store = Store(file)

    @app.post("/_test/seed")
    async def seed_sessions(sessions: Annotated[list, Body()]):
        return [await seed(other_db if given.pop("other_table", False) else db, given) for given in sessions]

    @app.post("/_test/clear")
    async def clear():
        GATES.clear()
        store.clear()

    @app.post("/_test/rows")
    async def rows():
        return store.rows()

    @app.post("/_test/gates/{name}/entered")
    async def entered(name: str):
        """Answers when a run waits there."""
        await gate(name).entered.wait()

    @app.post("/_test/gates/{name}/release")
    async def release(name: str):
        gate(name).released.set()

    return app
