"""Copies a whole store into another one, and compares the two.

Rows keep their keys, since those are their order. A session and its messages are copied in one transaction, or not
at all: a copy that was broken off goes on where it was.
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from anyio import CancelScope

from ...errors import Conflict, quoted
from ...text.words import folded
from ..database.database import Row, SearchIndex, Transaction
from .flag_errors import FlaggedStore
from .retention import remove
from .sessions import DELETED, Stored

_AT_ONCE = 200  # sessions
_MOST_MESSAGES = 2_000  # of several sessions; one session's are always together
_SESSION = ", ".join(Stored._fields)
_MESSAGE = "key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text"
_SHOWN_IDS = 5

Tell = Callable[[str, int, int], None]
"""Is told what is being done (`copied`, `compared`), of how many sessions, and how many there are."""


@dataclass(frozen=True, slots=True)
class Copied:
    """What a copy came to, in sessions and messages; `differing` are ids of sessions that are not the same now.

    `without_user` are those sessions that belong to nobody.
    """

    sessions: int
    messages: int
    without_user: int
    were_there: int
    differing: Sequence[str]


class _Whole(NamedTuple):
    session: Stored
    messages: list[Row]

    def digest(self) -> str:
        return sha256(repr((tuple(self.session), self.messages)).encode()).hexdigest()


async def require_copyable(source: FlaggedStore, target: FlaggedStore) -> None:
    """Raise `Conflict` where the target is the source, or holds sessions of its own."""
    await _require_another(source, target)
    last = 0
    while True:
        there = await target.scan(partial(_names, last))
        if not there:
            return
        others = await source.scan(partial(_strangers, there))
        if others:
            shown = ", ".join(map(quoted, others[:_SHOWN_IDS]))
            raise Conflict(
                f"the target holds sessions of its own, such as {shown}; nothing was copied. Name an empty store."
            )
        last = there[-1][0]


async def _require_another(source: FlaggedStore, target: FlaggedStore) -> None:
    """One store may have many names, so a mark that is put into the target must not be in the source."""
    mark = f"copy-{secrets.token_hex(8)}"  # no session has such an id
    try:
        await target.write(partial(_take_ids, target.index, [mark]))
        is_one = await source.scan(lambda tx: bool(_purged_of([mark], tx)))
    finally:
        with CancelScope(shield=True):
            await target.write(lambda tx: tx.run("DELETE FROM purged_ids WHERE id = ?", mark))
    if is_one:
        raise Conflict("the target is the source by another name; nothing was copied. Name an empty store.")


async def copy_store(source: FlaggedStore, target: FlaggedStore, tell: Tell) -> Copied:
    """Copy what the target does not have yet, then read both again and compare.

    What was purged in one of them doesn't come back there. Whether it may begin, `require_copyable` says.
    """
    total = await source.scan(_count)
    ids = await source.scan(_purged_ids)
    for begin in range(0, len(ids), _AT_ONCE):
        await target.write(partial(_take_ids, target.index, ids[begin : begin + _AT_ONCE]))
    were_there = await target.scan(_count)
    done = 0
    async for batch in _batches(source):
        await target.write(partial(_insert, target, batch))
        done += len(batch)
        tell("copied", done, total)
    return await _compared(source, target, tell, were_there)


async def _compared(source: FlaggedStore, target: FlaggedStore, tell: Tell, were_there: int) -> Copied:
    sessions = messages = without_user = 0
    total = await source.scan(_count)
    differing: list[str] = []
    async for read in _batches(source):
        theirs = await target.scan(partial(_wholes, [whole.session.key for whole in read]))
        known = {whole.session.key: whole.digest() for whole in theirs}
        purged = await target.scan(partial(_purged_of, [whole.session.id for whole in read]))
        batch = [
            whole
            for whole in read
            if whole.session.key in known or whole.session.place != DELETED or whole.session.id not in purged
        ]
        differing += [whole.session.id for whole in batch if known.get(whole.session.key) != whole.digest()]
        sessions += len(batch)
        messages += sum(len(whole.messages) for whole in batch)
        without_user += sum(not whole.session.user_id for whole in batch)
        tell("compared", sessions, total)
    more = await target.scan(_count) - sessions
    differing += [f"{more} that only the target has"] if more > 0 else []
    return Copied(sessions, messages, without_user, were_there, differing)


async def _batches(database: FlaggedStore) -> AsyncGenerator[list[_Whole]]:
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
    return tx.all(f"SELECT key, id, place FROM sessions WHERE key > ? ORDER BY key LIMIT {_AT_ONCE}", last)


def _strangers(there: Sequence[Row], tx: Transaction) -> list[str]:
    """Ids of those that this store does not have by key and id, nor had, if they are deleted."""
    known = dict(_names_of([key for key, _, _ in there], tx))
    others = [(id, place) for key, id, place in there if known.get(key) != id]
    purged = _purged_of([id for id, place in others if place == DELETED], tx)
    return [id for id, _ in others if id not in purged]


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


def _purged_of(ids: Sequence[str], tx: Transaction) -> set[str]:
    return {id for (id,) in tx.all(f"SELECT id FROM purged_ids WHERE id IN ({_marks(ids)})", *ids)} if ids else set()


def _take_ids(index: SearchIndex, ids: Sequence[str], tx: Transaction) -> None:
    """Ids that were in use once stay so; what is only deleted here, and was purged there, is purged here too."""
    tx.run(f"INSERT INTO purged_ids (id) VALUES {', '.join(['(?)'] * len(ids))} ON CONFLICT DO NOTHING", *ids)
    deleted = f"SELECT key, id FROM sessions WHERE place = {DELETED} AND id IN ({_marks(ids)}){tx.lock}"
    remove(tx, index, tx.all(deleted, *ids))


def _insert(target: FlaggedStore, batch: Sequence[_Whole], tx: Transaction) -> None:
    """Those that are not there yet, and were not purged there."""
    index = target.index
    there = {key for key, _ in _names_of([whole.session.key for whole in batch], tx)}
    purged = _purged_of([whole.session.id for whole in batch], tx)
    for session, messages in batch:
        if session.key in there or session.id in purged:
            continue
        columns = {**session._asdict(), "folded_name": folded(session.name)}
        tx.run(f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({_marks(columns)})", *columns.values())
        for row in messages:
            tx.run(f"INSERT INTO messages ({_MESSAGE}) VALUES ({_marks(row)})", *row)
        index.put_name(tx, session.key, session.user_id, session.name)
        index.put_messages(tx, session.user_id, [(row[0], row[-1]) for row in messages])
    target.count_on(tx)


def _marks(values: Sized) -> str:
    return ", ".join("?" * len(values))
