"""Copies a whole store into another one, and compares the two.

Rows keep their keys, since those are their order. A session and its messages are copied in one transaction, or not
at all: a copy that was broken off goes on where it was.
"""

from collections.abc import AsyncGenerator, Callable, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from ...errors import Conflict, quoted
from .._words import folded
from .database import Database, Row, SearchIndex, Transaction
from .sessions import Stored

_AT_ONCE = 200  # sessions
_MOST_MESSAGES = 2_000  # of several sessions; one session's are always together
_SESSION = ", ".join(Stored._fields)
_MESSAGE = "key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text"
_SHOWN_IDS = 5

Tell = Callable[[str, int, int], None]
"""Is told what is being done (`copied`, `compared`), of how many sessions, and how many there are."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to, in sessions and messages; `differing` are ids of sessions that are not the same now."""

    sessions: int
    messages: int
    were_there: int
    differing: Sequence[str]


class _Whole(NamedTuple):
    session: Stored
    messages: list[Row]

    def digest(self) -> str:
        return sha256(repr((tuple(self.session), self.messages)).encode()).hexdigest()


async def copy_store(source: Database, target: Database, tell: Tell) -> Copied:
    """Copy what the target does not have yet, then read both again and compare.

    Raises `Conflict`, with nothing copied, where the target holds sessions of its own.
    """
    total = await source.scan(_count)
    await _require_no_others(source, target)
    were_there = await target.scan(_count)
    await target.write(partial(_take_ids, await source.scan(_purged_ids)))
    done = 0
    async for batch in _batches(source):
        await target.write(partial(_insert, target.index, batch))
        done += len(batch)
        tell("copied", done, total)
    await target.write(target.count_on)
    return await _compared(source, target, tell, were_there)


async def _compared(source: Database, target: Database, tell: Tell, were_there: int) -> Copied:
    sessions = messages = 0
    total = await source.scan(_count)
    differing: list[str] = []
    async for batch in _batches(source):
        theirs = await target.scan(partial(_wholes, [whole.session.key for whole in batch]))
        known = {whole.session.key: whole.digest() for whole in theirs}
        differing += [whole.session.id for whole in batch if known.get(whole.session.key) != whole.digest()]
        sessions += len(batch)
        messages += sum(len(whole.messages) for whole in batch)
        tell("compared", sessions, total)
    more = await target.scan(_count) - sessions
    differing += [f"{more} that only the target has"] if more > 0 else []
    return Copied(sessions, messages, were_there, differing)


async def _require_no_others(source: Database, target: Database) -> None:
    """What the target has must be the source's, by key and id: a copy that was broken off."""
    last = 0
    while True:
        there = await target.scan(partial(_names, last))
        if not there:
            return
        known = dict(await source.scan(partial(_names_of, [key for key, _ in there])))
        others = [id for key, id in there if known.get(key) != id]
        if others:
            shown = ", ".join(map(quoted, others[:_SHOWN_IDS]))
            raise Conflict(
                f"the target holds sessions of its own, such as {shown}; nothing was copied. Name an empty store."
            )
        last = there[-1][0]


async def _batches(database: Database) -> AsyncGenerator[list[_Whole]]:
    """All sessions with their messages, in the order of their keys."""
    last = 0
    while True:
        keys = await database.scan(partial(_next_keys, last))
        if not keys:
            return
        yield await database.scan(partial(_wholes, keys))
        last = keys[-1]


def _count(tx: Transaction) -> int:
    return (tx.one("SELECT count(*) FROM sessions") or (0,))[0]


def _names(last: int, tx: Transaction) -> list[Row]:
    return tx.all(f"SELECT key, id FROM sessions WHERE key > ? ORDER BY key LIMIT {_AT_ONCE}", last)


def _names_of(keys: Sequence[int], tx: Transaction) -> list[Row]:
    return tx.all(f"SELECT key, id FROM sessions WHERE key IN ({_marks(keys)})", *keys)


def _next_keys(last: int, tx: Transaction) -> list[int]:
    """Keys of as many sessions as are read together."""
    rows = tx.all(f"SELECT key, message_count FROM sessions WHERE key > ? ORDER BY key LIMIT {_AT_ONCE}", last)
    keys: list[int] = []
    room = _MOST_MESSAGES
    for key, count in rows:
        if keys and count > room:
            break
        keys.append(key)
        room -= count
    return keys


def _wholes(keys: Sequence[int], tx: Transaction) -> list[_Whole]:
    sessions = tx.all(f"SELECT {_SESSION} FROM sessions WHERE key IN ({_marks(keys)}) ORDER BY key", *keys)
    rows = tx.all(
        f"SELECT {_MESSAGE} FROM messages WHERE session_key IN ({_marks(keys)}) ORDER BY session_key, number", *keys
    )
    messages: dict[int, list[Row]] = {key: [] for key in keys}
    for row in rows:
        messages[row[1]].append(tuple(row))
    return [_Whole(Stored(*row), messages[row[0]]) for row in sessions]


def _purged_ids(tx: Transaction) -> list[str]:
    return [id for (id,) in tx.all("SELECT id FROM purged_ids ORDER BY id")]


def _take_ids(ids: Sequence[str], tx: Transaction) -> None:
    """Ids that were in use once stay so."""
    for id in ids:
        tx.run("INSERT INTO purged_ids (id) VALUES (?) ON CONFLICT DO NOTHING", id)


def _insert(index: SearchIndex, batch: Sequence[_Whole], tx: Transaction) -> None:
    """Those that are not there yet."""
    keys = [whole.session.key for whole in batch]
    there = {key for key, _ in _names_of(keys, tx)}
    for session, messages in batch:
        if session.key in there:
            continue
        columns = {**session._asdict(), "folded_name": folded(session.name)}
        tx.run(f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({_marks(columns)})", *columns.values())
        for row in messages:
            tx.run(f"INSERT INTO messages ({_MESSAGE}) VALUES ({_marks(row)})", *row)
        index.put_name(tx, session.key, session.user_id, session.name)
        index.put_messages(tx, session.user_id, [(row[0], row[-1]) for row in messages])


def _marks(values: Sized) -> str:
    return ", ".join("?" * len(values))
