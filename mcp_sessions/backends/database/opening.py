"""Functions that return the database that a URL names."""

from ...errors import Invalid
from ...sqlite_url import path_of
from .database import Database
from .schemas import PostgresSchema, SqliteSchema


def sqlite_database(url: str, schema: SqliteSchema, *, seconds: float) -> Database:
    """Return the database for a URL `sqlite:///PATH`. Raise `Invalid` if the URL has another form."""
    from .sqlite import SqliteDatabase  # here, so that a program on PostgreSQL never loads a SQLite library
    from .telemetry import TracingDatabase

    path = path_of(url)
    if not path or "\0" in path:
        raise Invalid("a SQLite URL has the form sqlite:///PATH, with a fourth slash for an absolute path")
    try:
        database = SqliteDatabase(path, busy_seconds=seconds, schema=schema)
    except RuntimeError as error:  # raised by `Path.expanduser`
        raise Invalid("the SQLite path begins with ~ and a user name that this machine does not know") from error
    return TracingDatabase(database, "sqlite")


def postgresql_database(url: str, schema: PostgresSchema, *, seconds: float) -> Database:
    """Return the database for a URL `postgresql://…`, which libpq parses. Raise `Invalid` if the URL is malformed."""
    from .postgres import PostgresDatabase
    from .telemetry import TracingDatabase

    return TracingDatabase(PostgresDatabase(url, seconds=seconds, schema=schema), "postgresql")
