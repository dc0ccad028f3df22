"""The embedded store: a backend with a database of its own, on SQLite or PostgreSQL."""

from dataclasses import dataclass
from typing import TYPE_CHECKING

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
    from ..database.opening import sqlite_database
    from ..database.sqlite_schema import STORE
    from .backend import SqlBackend

    database = sqlite_database(url, STORE, seconds=options.timeout)
    refuse_other_options(url, StoreOptions)
    return SqlBackend(database, options, read_only=context.read_only)


def open_postgresql(url: str, options: StoreOptions, context: OpenContext) -> "SessionBackend":
    """Return the store for a URL `postgresql://USER:PASSWORD@HOST:PORT/DATABASE?…`.

    libpq parses the URL, and reads PGPASSWORD and ~/.pgpass. Raise `Invalid` if the URL is malformed.
    """
    from ..database.opening import postgresql_database
    from ..database.postgres_schema import STORE
    from .backend import SqlBackend

    database = postgresql_database(url, STORE, seconds=options.timeout)
    return SqlBackend(database, options, read_only=context.read_only)


SQLITE = BackendType(StoreOptions, open_sqlite)
POSTGRESQL = BackendType(
    StoreOptions, open_postgresql, LIBPQ, install_hint="the extra: pip install 'mcp-sessions[postgres]'"
)
