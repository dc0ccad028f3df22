"""The routes under /_test: fill, empty and show the database, and hold runs at gates."""

from typing import Annotated

from fastapi import Body, FastAPI
from offline_model import GATES, gate
from sqlalchemy import JSON, MetaData, Text, cast, create_engine, delete, inspect, null, select, update
from stored_sessions import seed

IN_SCHEMA = {"sqlite": None, "postgresql": "ai"}
"""The schema in which agno creates its tables, for each database."""


class Store:
    """The tables of agno's database, read and emptied over connections of our own."""

    def __init__(self, url):
        self._engine = create_engine(url)
        self._schema = IN_SCHEMA[self._engine.dialect.name]
        self._names, self._tables = [], {}

    def clear(self):
        with self._engine.begin() as connection:
            for name, table in reversed(self._find_tables(connection).items()):
                if not name.endswith("schema_versions"):
                    connection.execute(delete(table))

    def overwrite(self, session_id, columns):
        """Set columns of a session to values that agno itself may never write; None is SQL's NULL, not JSON's."""
        given = {column: null() if value is None else value for column, value in columns.items()}
        with self._engine.begin() as connection:
            table = self._find_tables(connection)["agno_sessions"]
            connection.execute(update(table).where(table.c.session_id == session_id).values(given))

    def rows(self):
        """Return {table: {key: {column: value}}} of every table with sessions or runs; JSON is shown as text."""
        with self._engine.connect() as connection:
            return {
                name: dict(_rows(connection, table))
                for name, table in self._find_tables(connection).items()
                if name.endswith(("_sessions", "agno_runs"))
            }

    def _find_tables(self, connection):
        """Return each table by its name, parents first. Their columns are read again only if there is another table."""
        names = inspect(connection).get_table_names(self._schema)
        if names != self._names:
            metadata = MetaData(self._schema)
            metadata.reflect(connection)
            self._names, self._tables = names, {table.name: table for table in metadata.sorted_tables}
        return self._tables


def _rows(connection, table):
    key = "run_id" if table.name.endswith("_runs") else "session_id"
    columns = [cast(column, Text).label(column.name) if isinstance(column.type, JSON) else column for column in table.c]
    for row in connection.execute(select(*columns)).mappings():
        yield row[key], dict(row)


def make_control(db, other_db, url):
    """Return the app of the control routes. `other_db` is where a seed with `other_table` goes."""
    app = FastAPI()
    store = Store(url)

    @app.post("/_test/seed")
    async def seed_sessions(sessions: Annotated[list, Body()]):
        return [await seed_session(given) for given in sessions]

    async def seed_session(given):
        columns = given.pop("columns", {})
        session_id = await seed(other_db if given.pop("other_table", False) else db, given)
        if given.get("created_at") == 0:  # which agno's own class takes for no time
            columns |= {"created_at": 0, "updated_at": 0}
        if columns:
            store.overwrite(session_id, columns)
        return session_id

    @app.post("/_test/overwrite/{session_id}")
    async def overwrite(session_id: str, values: Annotated[dict, Body()]):
        store.overwrite(session_id, values)

    @app.post("/_test/clear")
    async def clear():
        GATES.clear()
        store.clear()

    @app.post("/_test/rows")
    async def rows():
        return store.rows()

    @app.post("/_test/gates/{name}/entered")
    async def entered(name: str):
        """Wait until a run waits at the gate."""
        await gate(name).entered.wait()

    @app.post("/_test/gates/{name}/release")
    async def release(name: str):
        gate(name).released.set()

    return app
