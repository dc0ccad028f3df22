"""The migration of a SQLite file to the newest version of its schema, and the schema of the store."""

import sqlite3
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import Unavailable
from .schemas import SqliteSchema

APPLICATION_ID = 0x6D637073  # "mcps": marks a file as a session store, so that no other SQLite file is ever changed

MIGRATIONS = (  # the version is the number of migrations that were applied
    """
    CREATE TABLE sessions (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        id TEXT NOT NULL UNIQUE,
        name TEXT NOT NULL,
        folded_name TEXT NOT NULL,       -- for finding a part of it in any case
        type TEXT NOT NULL,
        agent_id TEXT NOT NULL,
        user_id TEXT NOT NULL,
        place INTEGER NOT NULL,          -- 0 listed, 1 archived, 2 deleted
        created_at INTEGER NOT NULL,     -- every time: microseconds since 1970, UTC
        updated_at INTEGER NOT NULL,
        archived_at INTEGER,
        purge_at INTEGER,                -- of a deleted one: until when it can be restored
        version INTEGER NOT NULL,
        message_count INTEGER NOT NULL,
        run_count INTEGER NOT NULL,
        summary TEXT NOT NULL,
        metadata TEXT NOT NULL,
        state TEXT NOT NULL
    );
    CREATE INDEX sessions_updated ON sessions (place, updated_at, key);
    CREATE INDEX sessions_created ON sessions (place, created_at, key);
    CREATE INDEX sessions_user_updated ON sessions (user_id, place, updated_at, key);
    CREATE INDEX sessions_user_created ON sessions (user_id, place, created_at, key);
    CREATE INDEX sessions_agent_updated ON sessions (agent_id, place, updated_at, key);
    CREATE INDEX sessions_purge ON sessions (purge_at) WHERE purge_at IS NOT NULL;
    CREATE TABLE messages (
        key INTEGER PRIMARY KEY AUTOINCREMENT,
        session_key INTEGER NOT NULL REFERENCES sessions (key) ON DELETE CASCADE,
        number INTEGER NOT NULL,         -- 1, 2, 3 … within its session
        run INTEGER NOT NULL,            -- never falls as number rises
        role TEXT NOT NULL,
        created_at INTEGER NOT NULL,
        tool_name TEXT NOT NULL,
        tool_calls TEXT NOT NULL,
        attachments TEXT NOT NULL,
        text TEXT NOT NULL
    );
    CREATE UNIQUE INDEX messages_number ON messages (session_key, number);
    CREATE INDEX messages_run ON messages (session_key, run);
    CREATE TABLE purged_ids (id TEXT PRIMARY KEY) WITHOUT ROWID;
    CREATE VIRTUAL TABLE name_index USING fts5 (
        owner, words, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    );
    CREATE VIRTUAL TABLE message_index USING fts5 (
        owner, words, prefix = '2 3', tokenize = "unicode61 remove_diacritics 2 categories 'L* N* Co M*'"
    );
    """,
)


STORE = SqliteSchema("session store", APPLICATION_ID, MIGRATIONS)


def migrate(connection: sqlite3.Connection, schema: SqliteSchema) -> None:
    """Migrate a file to the newest version, in one transaction. Several processes may do so at the same time.

    Raise `Unavailable`, without changing the file, if it is newer than this program or of another kind.
    """
    with transaction(connection, "BEGIN"):
        if schema_version(connection, schema) == len(schema.migrations):
            return
    with transaction(connection, "BEGIN IMMEDIATE"):
        for step in schema.migrations[schema_version(connection, schema) :]:
            for statement in step.split(";\n"):
                connection.execute(statement)
        connection.execute(f"PRAGMA application_id = {schema.application_id}")
        connection.execute(f"PRAGMA user_version = {len(schema.migrations)}")


def require_file(path: str) -> None:
    """Raise `Unavailable` if there is no file."""
    try:
        Path(path).stat()
    except (FileNotFoundError, NotADirectoryError) as error:
        raise Unavailable(
            "the file does not exist. Name one with a session store; an absolute path has four slashes, "
            "as in sqlite:////srv/sessions.db."
        ) from error
    except OSError:
        pass  # SQLite's own error will be more precise


def require_current_schema(connection: sqlite3.Connection, schema: SqliteSchema) -> None:
    """Raise `Unavailable` unless a file has the newest version of the schema."""
    with transaction(connection, "BEGIN"):
        version, application = schema_version(connection, schema), _pragma(connection, "application_id")
    if not application:
        raise Unavailable(f"this file is empty. Name one with a {schema.kind}.")
    if version < len(schema.migrations):
        raise Unavailable(
            f"an older mcp-sessions made this store (version {version}; this program uses {len(schema.migrations)}). "
            "Start this mcp-sessions on it once, which migrates it."
        )


@contextmanager
def transaction(connection: sqlite3.Connection, begin: str) -> Generator[None]:
    """Run a transaction: commit at the end, or roll back on an exception unless SQLite did so already."""
    connection.execute(begin)
    try:
        yield
        connection.execute("COMMIT")
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def schema_version(connection: sqlite3.Connection, schema: SqliteSchema) -> int:
    """Return the version of a file's schema, 0 if the file is empty.

    Call this inside a transaction, so that its queries see the same state. Raise `Unavailable` if the file is newer
    than this program or of another kind.
    """
    version, application = _pragma(connection, "user_version"), _pragma(connection, "application_id")
    is_empty = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0] == 0
    if application == schema.application_id:
        if version > len(schema.migrations):
            raise Unavailable(
                f"a newer mcp-sessions made this store (version {version}; this program supports "
                f"{len(schema.migrations)}); the file was not changed. Upgrade mcp-sessions."
            )
        if is_empty != (version == 0) or version < 0:
            raise Unavailable(
                f"the store's file is marked as a {schema.kind} but isn't one, so another program changed it; "
                "mcp-sessions did not change it. Restore it from a copy or name another file."
            )
        return version
    if version or application or not is_empty:
        raise Unavailable(f"the SQLite file is not a {schema.kind}; it was not changed. Name another file.")
    return 0


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])
