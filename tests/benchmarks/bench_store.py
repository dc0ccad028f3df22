"""How fast the embedded store answers, beside the best statements by hand for the same rows, in the same run.

python -m tests.benchmarks.bench_store [--sessions 1000000] [--messages 1000000] [--file PATH]

By hand is what an asynchronous program would write: quick reads on its loop, searches and changes on a thread, a dict
for each row with its times decoded, and the store's own durability. A file that holds such a store is used again.
"""

import argparse
import random
import sqlite3
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import closing
from datetime import UTC, datetime
from functools import partial
from hashlib import blake2b
from itertools import count
from math import ceil
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.models import SessionFilter, SessionPage
from tests.benchmarks.clients import OURS, SDK, StdioServer, line, median_call
from tests.benchmarks.measuring import Figure, in_turns, print_table, ratios
from tests.benchmarks.store_seeds import build, session_id
from tests.support.stdio_client import call

ROUNDS = 11
CALLS = 60  # of each variant in a round, in one block
PAGE = 20
HITS = 10
USER = "user7"
SEARCH_MILLISECONDS = 5  # that 99 of 100 searches are to take at most

COLUMNS = "id, name, type, agent_id, user_id, created_at, updated_at, archived_at, key"
LIST = f"SELECT {COLUMNS} FROM sessions WHERE {{}} ORDER BY updated_at DESC, key DESC LIMIT {PAGE}"
HISTORY = (
    "SELECT number, run, role, created_at, tool_name, tool_calls, attachments, text FROM messages"
    f" WHERE session_key = ? ORDER BY number DESC LIMIT {PAGE}"
)
SEARCH = (
    "SELECT s.id, s.name, m.number, m.role, m.created_at, m.text FROM message_index f"
    " JOIN messages m ON m.key = f.rowid JOIN sessions s ON s.key = m.session_key"
    f" WHERE message_index MATCH ? ORDER BY f.rowid DESC LIMIT {HITS + 1}"
)
SEARCH_NAMES = (
    "SELECT s.id, s.name, s.created_at FROM name_index f JOIN sessions s ON s.key = f.rowid"
    f" WHERE name_index MATCH ? ORDER BY f.rowid DESC LIMIT {HITS + 1}"
)
RENAME = (
    "BEGIN IMMEDIATE",
    "SELECT * FROM sessions WHERE key = :key",
    "DELETE FROM name_index WHERE rowid = :key",
    "INSERT INTO name_index (rowid, owner, words) SELECT :key, :owner, :name",
    "UPDATE sessions SET name = :name, folded_name = lower(:name), version = version + 1, updated_at = updated_at + 1"
    " WHERE key = :key",
    "COMMIT",
)
QUERIES = {
    "a rare word": "zyzzyva",
    "a common word": "w1",
    "two words": "w30 w40",
    "a prefix": "w12*",
    "Chinese": "北京",
}

Call = Callable[[], Awaitable[object]]


def bare(connection: sqlite3.Connection, statement: str, *values: object) -> Call:
    async def call() -> object:
        return rows(connection, statement, *values)

    return call


def rows(connection: sqlite3.Connection, statement: str, *values: object) -> list[dict[str, object]]:
    cursor = connection.execute(statement, values)
    names = [name for name, *_ in cursor.description]
    found = [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]
    for row in found:
        row |= {
            name: datetime.fromtimestamp(float(str(row[name])) / 1e6, UTC)
            for name in names
            if name.endswith("_at") and row[name]
        }
    return found


async def timed(variants: Mapping[str, Call], *, rounds: int = ROUNDS, calls: int = CALLS) -> dict[str, list[float]]:
    """Return the seconds per call for each variant and round. Variants run one after the other, in any order."""
    chance = random.Random(1)
    taken: dict[str, list[float]] = {name: [] for name in variants}
    for warm_up in variants.values():
        await warm_up()
    for _ in range(rounds):
        for name in chance.sample(list(variants), len(variants)):
            variant = variants[name]
            begun = perf_counter()
            for _ in range(calls):
                await variant()
            taken[name].append((perf_counter() - begun) / calls)
    return taken


async def deep_cursor(backend: SessionBackend, sessions: int) -> str:
    """Return the cursor of a page behind 90 % of the sessions."""
    cursor = ""
    for _ in range(sessions * 9 // 10 // 100):
        cursor = (await backend.list_sessions(SessionFilter(), limit=100, cursor=cursor)).next_cursor
    return cursor


async def list_variants(backend: SessionBackend, connection: sqlite3.Connection, sessions: int) -> dict[str, Call]:
    """Return lists of first and deep pages of everybody's and one user's sessions, by the store and by plain SQL."""
    cursor, user = await deep_cursor(backend, sessions), backend.for_caller(Caller(user_id=USER))
    behind = connection.execute(
        "SELECT updated_at, key FROM sessions ORDER BY updated_at DESC, key DESC LIMIT 1 OFFSET ?",
        (sessions * 9 // 10 // 100 * 100 - 1,),
    ).fetchone()
    pages: dict[str, tuple[Callable[[], Awaitable[SessionPage]], str, tuple[object, ...]]] = {
        "list": (lambda: backend.list_sessions(SessionFilter(), limit=PAGE), "place = 0", ()),
        "list, deep": (
            lambda: backend.list_sessions(SessionFilter(), limit=PAGE, cursor=cursor),
            "place = 0 AND (updated_at, key) < (?, ?)",
            behind,
        ),
        "list, one user's": (
            lambda: user.list_sessions(SessionFilter(), limit=PAGE),
            "user_id = ? AND place = 0",
            (USER,),
        ),
    }
    variants: dict[str, Call] = {}
    for name, (ours, condition, values) in pages.items():
        listed = rows(connection, LIST.format(condition), *values)
        assert [session.id for session in (await ours()).sessions] == [row["id"] for row in listed]
        variants |= {name: ours, by_hand(name): bare(connection, LIST.format(condition), *values)}
    return variants


def by_hand(name: str) -> str:
    return f"{name}, by hand"


def one_session_variants(backend: SessionBackend, connection: sqlite3.Connection, sessions: int) -> dict[str, Call]:
    newest = session_id(sessions)
    return {
        "get": lambda: backend.get_session(newest),
        by_hand("get"): bare(connection, "SELECT * FROM sessions WHERE id = ?", newest),
        "history": lambda: backend.get_session_history(newest, limit=PAGE),
        by_hand("history"): bare(connection, HISTORY, sessions),
    }


def rename_variants(backend: SessionBackend, connection: sqlite3.Connection, sessions: int) -> dict[str, Call]:
    """Return renames. Each call renames another session, from the oldest on, so that no call waits for another."""
    ours, theirs = count(1, 2), count(2, 2)

    def rename() -> None:
        values = {"key": next(theirs) % sessions + 1, "name": "A new name", "owner": ""}
        for statement in RENAME:
            connection.execute(statement, values).fetchall()

    return {
        "rename": lambda: backend.rename_session(session_id(next(ours) % sessions + 1), "A new name"),
        by_hand("rename"): lambda: anyio.to_thread.run_sync(rename),
    }


def search_variants(backend: SessionBackend, connection: sqlite3.Connection) -> dict[str, Call]:
    """Return searches for all users, and for a common word of a user without hits, by the store and by plain SQL."""

    def found(query: str, user: str = "") -> Call:
        owner = f"owner : u{blake2b(user.encode(), digest_size=8).hexdigest()} AND " if user else ""
        expression = f"{owner}words : ({' AND '.join(map(_phrase, query.split()))})"

        def search() -> object:
            return rows(connection, SEARCH_NAMES, expression) + rows(connection, SEARCH, expression)

        return lambda: anyio.to_thread.run_sync(search)

    nobody = backend.for_caller(Caller(user_id="nobody"))
    variants: dict[str, Call] = {}
    for name, query in QUERIES.items():
        variants |= {f"search {name}": _search(backend, query), by_hand(f"search {name}"): found(query)}
    name = "search a common word, a user without hits"
    return variants | {name: _search(nobody, "w1"), by_hand(name): found("w1", "nobody")}


def _phrase(word: str) -> str:
    """Return a phrase as the index has it: Chinese character by character."""
    bare = word.removesuffix("*")
    return f'"{bare if bare.isascii() else " ".join(bare)}"' + word[len(bare) :]


def _search(backend: SessionBackend, query: str) -> Call:
    return lambda: backend.search_sessions(query, limit=HITS)


async def measure(path: Path, sessions: int) -> list[Figure]:
    async with open_backend(f"sqlite:///{path}") as backend:
        with closing(sqlite3.connect(path, isolation_level=None, check_same_thread=False)) as connection:
            connection.execute("PRAGMA synchronous = FULL")
            searches = search_variants(backend, connection)
            taken = await timed(await list_variants(backend, connection, sessions))
            taken |= await timed(one_session_variants(backend, connection, sessions))
            taken |= await timed(searches, calls=20)
            single = {name: await each(search) for name, search in searches.items() if by_hand("") not in name}
            taken |= await timed(rename_variants(backend, connection, sessions), calls=20)
    figures = [
        Figure(f"{name} ÷ by hand", ratios(taken, name, by_hand(name)), 2.0) for name in taken if by_hand(name) in taken
    ]
    slowest = [sorted(times)[ceil(len(times) * 0.99) - 1] * 1000 for times in single.values()]
    return [
        *figures,
        Figure("list, deep ÷ first", ratios(taken, "list, deep", "list"), 1.2),
        Figure("the slowest kind of search, p99 in ms", [max(slowest)], SEARCH_MILLISECONDS),
    ]


def calls_of(folder: Path, path: Path) -> list[Figure]:
    """Measure `list_sessions` and the SDK's empty tool over stdio."""
    asked = line(call(1, "list_sessions", limit=PAGE))
    with (
        StdioServer(folder, [*OURS, "--backend", f"sqlite:///{path}"]) as ours,
        StdioServer(folder, SDK) as hello,
    ):
        taken = in_turns(
            {
                "ours": partial(median_call, ours, asked, 1_000),
                "empty": partial(median_call, hello, line(call(1, "hello")), 50),
            },
            rounds=ROUNDS,
            calls=CALLS,
        )
    return [Figure(f"list_sessions of {PAGE} over stdio ÷ the SDK's empty tool", ratios(taken, "ours", "empty"), 1.25)]


async def each(search: Call, calls: int = 200) -> Sequence[float]:
    """Return the seconds of each call."""
    taken: list[float] = []
    for _ in range(calls):
        begun = perf_counter()
        await search()
        taken.append(perf_counter() - begun)
    return taken


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000)
    parser.add_argument("--messages", type=int, default=1_000_000)
    parser.add_argument("--file", type=Path)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        path = asked.file or Path(folder) / "sessions.db"
        build(path, asked.sessions, asked.messages)
        title = f"The embedded store, {asked.sessions:,} sessions, {asked.messages:,} messages"
        figures = [*calls_of(Path(folder), path), *anyio.run(measure, path, asked.sessions)]
        print_table(title, figures)


if __name__ == "__main__":
    main()
