"""What a schema is. It has a list of migrations, none of which ever changes; its version is how many were applied."""

from typing import NamedTuple


class SqliteSchema(NamedTuple):
    """The tables of a SQLite file. `kind` says what such a file is, as in "not a session store".

    `application_id` marks such files, so that no other SQLite file is ever changed. `synchronous` is the value of
    SQLite's pragma: `FULL`, or `NORMAL` for what can be made anew after a power loss. `cached_statements` is how many
    prepared statements a connection keeps. Each keeps the values that it was last given.
    """

    kind: str
    application_id: int
    migrations: tuple[str, ...]
    synchronous: str = "FULL"
    cached_statements: int = 128  # as is usual in Python


class PostgresSchema(NamedTuple):
    """The tables in a PostgreSQL schema of this name. `kind` says what they are, as in "not a session store"."""

    kind: str
    name: str
    migrations: tuple[str, ...]
