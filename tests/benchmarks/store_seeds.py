"""Embedded stores of any size, by direct SQL, for benchmarks."""

import random
import sqlite3
from contextlib import closing
from pathlib import Path

from mcp_sessions.backends.database.fts5 import Fts5Index
from mcp_sessions.backends.database.sqlite import SqliteTransaction
from mcp_sessions.backends.database.sqlite_schema import STORE, migrate, transaction
from mcp_sessions.backends.sql.sessions import fold_name

USERS = 1000
IN_A_SESSION = 50  # messages, as far as there are that many
RARE = 50_000  # one in so many messages has the rare word


def session_id(key: int) -> str:
    return f"s{key:07}"


def build(path: Path, sessions: int, messages: int) -> None:
    """Build a store of this size by direct SQL. Raise `SystemExit` if the file holds another one."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        if connection.execute("PRAGMA user_version").fetchone()[0]:
            held = [
                connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0] for table in ("sessions", "messages")
            ]
            if held != [sessions, messages]:
                raise SystemExit(f"{path} holds {held[0]:,} sessions and {held[1]:,} messages. Name another --file.")
            return
        connection.execute("PRAGMA synchronous = OFF")
        connection.execute("PRAGMA cache_size = -500000")
        migrate(connection, STORE)
        with transaction(connection, "BEGIN"):
            _add_sessions(connection, sessions, messages)
            _add_messages(connection, sessions, messages)


def _add_sessions(connection: sqlite3.Connection, sessions: int, messages: int) -> None:
    tx, index = SqliteTransaction(connection), Fts5Index()
    for key in range(1, sessions + 1):
        user, name = f"user{key % USERS}", f"{'Trip to Rome' if key % 3 else 'Quarterly report'} {key}"
        moment = 1_700_000_000_000_000 + key // 3 * 1_000_000  # some share a time, so that pages begin among them
        has = max(0, min(IN_A_SESSION, messages - (sessions - key) * IN_A_SESSION))
        connection.execute(
            "INSERT INTO sessions VALUES"
            " (?, ?, ?, ?, 'agent', ?, ?, 0, ?, ?, NULL, NULL, 1, ?, ?, '', '{}', '{\"step\":1}')",
            (
                key,
                session_id(key),
                name,
                fold_name(name),
                f"agent{key % 20}",
                user,
                moment,
                moment,
                has,
                (has + 1) // 2,
            ),
        )
        index.put_name(tx, key, user, name)


def _add_messages(connection: sqlite3.Connection, sessions: int, messages: int) -> None:
    """Add messages to the newest sessions. Words are as frequent in their texts as in speech."""
    tx, index, chance = SqliteTransaction(connection), Fts5Index(), random.Random(1)
    vocabulary = [f"w{number}" for number in range(20_000)]
    weights = [1 / (number + 10) for number in range(20_000)]
    said = chance.choices(vocabulary, weights, k=400_000)
    first = sessions - -(-messages // IN_A_SESSION) + 1
    for key in range(1, messages + 1):
        session, number = divmod(key - 1, IN_A_SESSION)
        start = chance.randrange(len(said) - 20)
        extra = (["zyzzyva"] if key % RARE == 1 else []) + (["我们去北京旅游"] if key % 100 == 1 else [])
        text = " ".join([*said[start : start + 20], *extra])
        connection.execute(
            "INSERT INTO messages VALUES (?, ?, ?, ?, ?, ?, '', '', '', ?)",
            (
                key,
                first + session,
                number + 1,
                number // 2 + 1,
                ("user", "assistant")[number % 2],
                1_700_000_000_000_000 + key,
                text,
            ),
        )
        index.put_messages(tx, f"user{(first + session) % USERS}", [(key, text)])
