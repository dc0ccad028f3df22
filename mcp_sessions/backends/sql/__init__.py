"""The embedded store: a backend with a database of its own, on SQLite or PostgreSQL."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

from ...errors import Invalid
from ...sqlite_url import path_of
from ..backend_type import BackendType, OpenContext
from ..environment import LIBPQ
from ..options import KEEP_DELETED, BackendOptions, refuse_other_options

if TYPE_CHECKING:  # so that the command line can read the options without loading pydantic
    from ..base import SessionBackend


@dataclass(frozen=True, kw_only=True)
class StoreOptions(BackendOptions):
    """The options of a store."""

    keep_deleted: int = KEEP_DELETED.field()


def open_sqlite(url: str, options: StoreOptions, context: OpenContext) -> "SessionBackend":
    """Return the store for a URL `sqlite:///PATH`. An absolute path has a fourth slash.

    `sqlite:///:memory:` is a store in memory, for tests. Raise `Invalid` if the URL has another form.
    """
    from ..database.sqlite import SqliteDatabase  # here, so that a program on PostgreSQL never loads a SQLite library
    from ..database.telemetry import TracingDatabase
    from .backend import SqlBackend

    path = path_of(url)
    if not path or "\0" in path:
        raise Invalid("a SQLite URL has the form sqlite:///PATH, with a fourth slash for an absolute path")
    refuse_other_options(url, StoreOptions)
    try:
        database = SqliteDatabase(path, busy_seconds=options.timeout)
    except RuntimeError as error:  # raised by `Path.expanduser`
        raise Invalid("the SQLite path begins with ~ and a user name that this machine does not know") from error
    return SqlBackend(TracingDatabase(database, "sqlite"), options, read_only=context.read_only)


def open_postgresql(url: str, options: StoreOptions, context: OpenContext) -> "SessionBackend":
    """Return the store for a URL `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?…`.

    libpq parses the URL, and reads PGPASSWORD and ~/.pgpass. Raise `Invalid` if the URL is malformed.
    """
    from ..database.postgres import PostgresDatabase
    from ..database.telemetry import TracingDatabase
    from .backend import SqlBackend

    database = PostgresDatabase(url, seconds=options.timeout)
    return SqlBackend(TracingDatabase(database, "postgresql"), options, read_only=context.read_only)


SQLITE = BackendType(StoreOptions, open_sqlite)
POSTGRESQL = BackendType(
    StoreOptions, open_postgresql, LIBPQ, install_hint="the extra: pip install 'mcp-sessions[postgres]'"
)
