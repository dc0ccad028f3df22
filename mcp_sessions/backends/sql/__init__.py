"""The embedded store: a backend with a database of its own, on SQLite or PostgreSQL."""

from ...errors import Invalid
from ...sqlite_url import path_of
from ..base import Options
from ..database.telemetry import TracingDatabase
from .backend import SqlBackend


def open_sqlite(url: str, options: Options) -> SqlBackend:
    """Return the store for a URL `sqlite:///PATH`. An absolute path has a fourth slash.

    `sqlite:///:memory:` is a store in memory, for tests. Raise `Invalid` if the URL has another form.
    """
    from ..database.sqlite import (
        SqliteDatabase,
    )  # imported here so that a program on PostgreSQL never loads a SQLite library

    path = path_of(url)
    if not path or "?" in path or "\0" in path:
        raise Invalid("a SQLite URL has the form sqlite:///PATH, with a fourth slash for an absolute path")
    try:
        database = SqliteDatabase(path, busy_seconds=options.timeout)
    except RuntimeError as error:  # raised by `Path.expanduser`
        raise Invalid("the SQLite path begins with ~ and a user name that this machine does not know") from error
    return SqlBackend(TracingDatabase(database, "sqlite"), keep_deleted=options.keep_deleted)


def open_postgresql(url: str, options: Options) -> SqlBackend:
    """Return the store for a URL `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?…`.

    libpq parses the URL, and reads PGPASSWORD and ~/.pgpass. Raise `Invalid` if the URL is malformed.
    """
    from ..database.postgres import PostgresDatabase

    database = PostgresDatabase(url, seconds=options.timeout)
    return SqlBackend(TracingDatabase(database, "postgresql"), keep_deleted=options.keep_deleted)
