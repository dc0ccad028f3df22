"""The embedded store: one semantics on SQLite and, by the same statements, on PostgreSQL."""

import os
from urllib.parse import unquote_to_bytes

from ...errors import Invalid
from ..base import Options
from ..database.telemetry import TracedDatabase
from .backend import SqlBackend


def open_sqlite(url: str, options: Options) -> SqlBackend:
    """`sqlite:///PATH`: relative as it stands, absolute with a fourth slash, `sqlite:///:memory:` for tests.

    Raises `Invalid` for another form.
    """
    from ..database.sqlite import SqliteDatabase  # a program on PostgreSQL never loads a SQLite library

    # As bytes, so that a path is the same in every locale: a file system has bytes, whatever they are called there.
    path = os.fsdecode(unquote_to_bytes(url.removeprefix("sqlite:///")))
    if not url.startswith("sqlite:///") or not path or "?" in path or "\0" in path:
        raise Invalid("a SQLite backend is written sqlite:///PATH, with a fourth slash for an absolute path")
    try:
        database = SqliteDatabase(path, busy_seconds=options.timeout)
    except RuntimeError as error:  # of `Path.expanduser`
        raise Invalid("the SQLite backend's path begins with ~ and a user that this machine has not") from error
    return SqlBackend(TracedDatabase(database, "sqlite"), keep_deleted=options.keep_deleted)


def open_postgresql(url: str, options: Options) -> SqlBackend:
    """`postgresql://USER:PASSWORD@HOST:PORT/DATABASE?…`: as libpq reads it, with PGPASSWORD and ~/.pgpass.

    Raises `Invalid` for another form.
    """
    from ..database.postgres import PostgresDatabase

    database = PostgresDatabase(url, seconds=options.timeout)
    return SqlBackend(TracedDatabase(database, "postgresql"), keep_deleted=options.keep_deleted)
