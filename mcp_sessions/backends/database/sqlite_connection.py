"""How a connection to a SQLite file is opened."""

import sqlite3

from .schemas import SqliteSchema


def connect(database: str, schema: SqliteSchema, busy_seconds: float, *, is_uri: bool) -> sqlite3.Connection:
    """Open a connection that any thread may use, one at a time. It enforces foreign keys.

    `database` is a path, or a URI if `is_uri`. Statements wait up to `busy_seconds` for the locks of other connections.
    """
    connection = sqlite3.connect(
        database,
        busy_seconds,
        isolation_level=None,  # transactions are begun and ended by statements
        check_same_thread=False,
        cached_statements=schema.cached_statements,
        uri=is_uri,
    )
    try:
        connection.execute("PRAGMA foreign_keys = ON")
        connection.execute(f"PRAGMA synchronous = {schema.synchronous}")  # may have to wait for a lock
    except BaseException:
        connection.close()
        raise
    return connection
