"""How fast the embedded store answers, as ratios to bare `sqlite3` statements for the same rows in the same run.

python -m tests.benchmarks.bench_store [--sessions 1000000] [--messages 1000000] [--file PATH]

A file that holds such a store already is used again.
"""

import argparse
import random
import sqlite3
from collections.abc import Awaitable, Callable, Iterable, Mapping
from contextlib import closing
from os import getloadavg
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio

from mcp_sessions.backends import open_backend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.sql.fts5 import Fts5Index
from mcp_sessions.backends.sql.sessions import folded
from mcp_sessions.backends.sql.sqlite import SqliteTransaction
from mcp_sessions.backends.sql.sqlite_schema import migrate, transaction
from mcp_sessions.caller import Caller
from mcp_sessions.models import SessionFilter, SessionPage

ROUNDS = 11
CALLS = 60  # of each variant in a round, in one block
PAGE = 20
USERS = 1000
IN_A_SESSION = 50  # messages, as far as there are that many
RARE = 50_000  # one in so many messages has the rare word
USER = "user7"

COLUMNS = "id, name, type, agent_id, user_id, created_at, updated_at, archived_at, key"
LIST = f"SELECT {COLUMNS} FROM sessions WHERE {{}} ORDER BY updated_at DESC, key DESC LIMIT {PAGE}"
HISTORY = (
    "SELECT number, run, role, created_at, tool_name, tool_calls, attachments, text FROM messages"
    f" WHERE session_key = ? ORDER BY number DESC LIMIT {PAGE}"
)

Call = Callable[[], Awaitable[object]]


def build(path: Path, sessions: int, messages: int) -> None:
    """A store of this size by direct SQL. Raises `SystemExit` if the file holds another one."""
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
        migrate(connection)
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
            (key, f"s{key:07}", name, folded(name), f"agent{key % 20}", user, moment, moment, has, (has + 1) // 2),
        )
        index.put_name(tx, key, user, name)


def _add_messages(connection: sqlite3.Connection, sessions: int, messages: int) -> None:
    """In the newest sessions, their texts of words as frequent as in speech."""
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


def bare(connection: sqlite3.Connection, statement: str, *values: object) -> Call:
    async def call() -> object:
        return connection.execute(statement, values).fetchall()

    return call


async def timed(variants: Mapping[str, Call], *, rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, list[float]]:
    """Seconds a call takes, for each variant and round: in blocks, one variant after the other, in any order."""
    chance = random.Random(1)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for call in variants.values():
        await call()
    for _ in range(rounds):
        for name in chance.sample(list(variants), len(variants)):
            call = variants[name]
            begun = perf_counter()
            for _ in range(calls):
                await call()
            taken[name].append((perf_counter() - begun) / calls)
    return taken


def ratio(taken: Mapping[str, list[float]], one: str, other: str) -> float:
    """The median of the rounds' ratios."""
    return median(ours / theirs for ours, theirs in zip(taken[one], taken[other], strict=True))


async def deep_cursor(backend: SessionBackend, sessions: int) -> str:
    """The cursor of a page behind 90 % of the sessions."""
    cursor = ""
    for _ in range(sessions * 9 // 10 // 100):
        cursor = (await backend.list_sessions(SessionFilter(), limit=100, cursor=cursor)).next_cursor
    return cursor


async def list_variants(backend: SessionBackend, connection: sqlite3.Connection, sessions: int) -> dict[str, Call]:
    """First and deep pages of everybody's and one user's sessions, through the store and bare."""
    cursor, user = await deep_cursor(backend, sessions), backend.for_caller(Caller(user_id=USER))
    behind = connection.execute(
        "SELECT updated_at, key FROM sessions ORDER BY updated_at DESC, key DESC LIMIT 1 OFFSET ?",
        (sessions * 9 // 10 // 100 * 100 - 1,),
    ).fetchone()
    pages: dict[str, tuple[Callable[[], Awaitable[SessionPage]], str, tuple[object, ...]]] = {
        "first": (lambda: backend.list_sessions(SessionFilter(), limit=PAGE), "place = 0", ()),
        "deep": (
            lambda: backend.list_sessions(SessionFilter(), limit=PAGE, cursor=cursor),
            "place = 0 AND (updated_at, key) < (?, ?)",
            behind,
        ),
        "one user's": (lambda: user.list_sessions(SessionFilter(), limit=PAGE), "user_id = ? AND place = 0", (USER,)),
    }
    variants: dict[str, Call] = {}
    for name, (ours, condition, values) in pages.items():
        rows = connection.execute(LIST.format(condition), values).fetchall()
        assert [session.id for session in (await ours()).sessions] == [row[0] for row in rows]
        variants |= {name: ours, f"{name}, bare": bare(connection, LIST.format(condition), *values)}
    return variants


def one_session_variants(backend: SessionBackend, connection: sqlite3.Connection, sessions: int) -> dict[str, Call]:
    newest = f"s{sessions:07}"
    return {
        "get": lambda: backend.get_session(newest),
        "get, bare": bare(connection, "SELECT * FROM sessions WHERE id = ?", newest),
        "history": lambda: backend.get_session_history(newest, limit=PAGE),
        "history, bare": bare(connection, HISTORY, sessions),
        "runs": lambda: backend.get_session_runs(newest, limit=PAGE),
        "runs, bare": bare(connection, HISTORY.replace(f"{PAGE}", f"{2 * PAGE}"), sessions),
    }


def search_variants(backend: SessionBackend) -> dict[str, Call]:
    user, nobody = (backend.for_caller(Caller(user_id=name)) for name in (USER, "nobody"))
    queries = {
        "a rare word": "zyzzyva",
        "a common word": "w1",
        "two words": "w30 w40",
        "two rare together": "w9000 w9001",
        "a prefix": "w12*",
        "a prefix of most words": "w1*",
        "Chinese": "北京",
        "nothing there": "absent",
    }
    everybody = {f"search {name}": _search(backend, query) for name, query in queries.items()}
    return everybody | {
        "search one user, a common word": _search(user, "w1"),
        "search a user without hits, a common word": _search(nobody, "w1"),
        "search a user without hits, a prefix": _search(nobody, "w12*"),
    }


def _search(backend: SessionBackend, query: str) -> Call:
    return lambda: backend.search_sessions(query)


async def measure(path: Path, sessions: int, messages: int) -> None:
    async with open_backend(f"sqlite:///{path}") as backend:
        with closing(sqlite3.connect(path, isolation_level=None)) as connection:
            lists = await timed(await list_variants(backend, connection, sessions))
            singles = await timed(one_session_variants(backend, connection, sessions))
        searches = await timed(search_variants(backend), calls=10)
    print(f"{sessions:,} sessions, {messages:,} messages, SQLite {sqlite3.sqlite_version}, load {getloadavg()[0]:.1f}")
    print("\nmedian of the rounds, ms a call, and of their ratios to the bare statement")
    _table(lists, ("first", "deep", "one user's"))
    _table(singles, ("get", "history", "runs"))
    print(f"deep ÷ first {ratio(lists, 'deep', 'first'):.2f} (goal ≤ 1.2); list ÷ bare ≤ 3.0 is the goal")
    print("\nms a search takes: median and worst round")
    for name, taken in searches.items():
        print(f"{name:45} {median(taken) * 1000:8.2f} {max(taken) * 1000:8.2f}")


def _table(taken: Mapping[str, list[float]], names: Iterable[str]) -> None:
    for name in names:
        ours, theirs = median(taken[name]) * 1000, median(taken[f"{name}, bare"]) * 1000
        print(f"{name:20} {ours:8.3f} {theirs:8.3f} {ratio(taken, name, f'{name}, bare'):6.2f} ×")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = asked.file or Path(folder) / "sessions.db"
        begun = perf_counter()
        build(path, asked.sessions, asked.messages)
        print(f"built in {perf_counter() - begun:.0f} s")
        anyio.run(measure, path, asked.sessions, asked.messages)


if __name__ == "__main__":
    main()
