"""A copy of all sessions from one store to another, followed by a comparison of the two.

Rows keep their keys, which define their order. Each session is copied with all its messages in one transaction, so a
copy that was interrupted can be continued.
"""

import secrets
from collections.abc import AsyncGenerator, Callable, Sequence, Sized
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import NamedTuple

from anyio import CancelScope

from ...errors import Conflict, quoted
from ...text.words import fold_name
from ..database.database import Row, SearchIndex, Transaction
from .retention import remove
from .sessions import DELETED, SessionRow
from .store_argument import StoreArgument

_BATCH_SIZE = 200  # sessions
_MAX_MESSAGES = 2_000  # of all sessions in one transaction; a single session may have more
_SESSION = ", ".join(SessionRow._fields)
_MESSAGE = "key, session_key, number, run, role, created_at, tool_name, tool_calls, attachments, text"
_SHOWN_IDS = 5

ReportProgress = Callable[[str, int, int], None]
"""A callback that receives the step (`copied` or `compared`), the number of sessions done, and the total."""


@dataclass(frozen=True, slots=True)
class CopyResult:
    """The result of a copy: numbers of sessions and messages, and the ids of sessions that differ in the stores.

    `without_user` is the number of sessions without an owner, `already_there` that of sessions already in the target.
    """

    sessions: int
    messages: int
    without_user: int
    already_there: int
    different_ids: Sequence[str]


class _SessionRows(NamedTuple):
    """The row of a session and the rows of its messages."""

    session: SessionRow
    messages: list[Row]

    def digest(self) -> str:
        return sha256(repr((tuple(self.session), self.messages)).encode()).hexdigest()


async def require_copyable(source: StoreArgument, target: StoreArgument) -> None:
    """Raise `Conflict` if the target is the source, or has sessions that the source lacks."""
    await _require_different_store(source, target)
    last = 0
    while True:
        rows = await target.scan(partial(_next_rows, last))
        if not rows:
            return
        others = await source.scan(partial(_unknown_ids, rows))
        if others:
            shown = ", ".join(map(quoted, others[:_SHOWN_IDS]))
            raise Conflict(
                f"the target has sessions of its own, such as {shown}; nothing was copied. Name an empty store."
            )
        last = rows[-1][0]


async def _require_different_store(source: StoreArgument, target: StoreArgument) -> None:
    """Raise `Conflict` if source and target are the same store, even if their URLs differ."""
    # A mark written to the target must not appear in the source.
    mark = f"copy-{secrets.token_hex(8)}"  # no session has such an id
    try:
        await target.write(partial(_add_purged_ids, target.index, [mark]))
        is_same = await source.scan(lambda tx: bool(_purged_among([mark], tx)))
    finally:
        with CancelScope(shield=True):
            await target.write(lambda tx: tx.run("DELETE FROM purged_ids WHERE id = ?", mark))
    if is_same:
        raise Conflict("the target is the same store as the source; nothing was copied. Name an empty store.")


async def copy_store(source: StoreArgument, target: StoreArgument, report: ReportProgress) -> CopyResult:
    """Copy the sessions that the target lacks, then compare all sessions in both stores.

    Sessions that were purged in either store are not copied. Call `require_copyable` first.
    """
    total = await source.scan(_count)
    ids = await source.scan(_purged_ids)
    for start in range(0, len(ids), _BATCH_SIZE):
        await target.write(partial(_add_purged_ids, target.index, ids[start : start + _BATCH_SIZE]))
    already_there = await target.scan(_count)
    done = 0
    async for batch in _batches(source):
        await target.write(partial(_insert, target, batch))
        done += len(batch)
        report("copied", done, total)
    return await _compare(source, target, report, already_there)


async def _compare(
    source: StoreArgument, target: StoreArgument, report: ReportProgress, already_there: int
) -> CopyResult:
    sessions = messages = without_user = 0
    total = await source.scan(_count)
    different_ids: list[str] = []
    async for originals in _batches(source):
        copies = await target.scan(partial(_read_sessions, [item.session.key for item in originals]))
        known = {item.session.key: item.digest() for item in copies}
        purged = await target.scan(partial(_purged_among, [item.session.id for item in originals]))
        batch = [
            item
            for item in originals
            if item.session.key in known or item.session.place != DELETED or item.session.id not in purged
        ]
        different_ids += [item.session.id for item in batch if known.get(item.session.key) != item.digest()]
        sessions += len(batch)
        messages += sum(len(item.messages) for item in batch)
        without_user += sum(not item.session.user_id for item in batch)
        report("compared", sessions, total)
    extra = await target.scan(_count) - sessions
    different_ids += [f"{extra} that only the target has"] if extra > 0 else []
    return CopyResult(sessions, messages, without_user, already_there, different_ids)


async def _batches(database: StoreArgument) -> AsyncGenerator[list[_SessionRows]]:
    """Yield all sessions with their messages in batches, in the order of their keys."""
    last = 0
    while True:
        keys = await database.scan(partial(_next_keys, last))
        if not keys:
            return
        yield await database.scan(partial(_read_sessions, keys))
        last = keys[-1]


def _count(tx: Transaction) -> int:
    return (tx.one("SELECT count(*) FROM sessions") or (0,))[0]


def _next_rows(last: int, tx: Transaction) -> list[Row]:
    return tx.all(f"SELECT key, id, place FROM sessions WHERE key > ? ORDER BY key LIMIT {_BATCH_SIZE}", last)


def _unknown_ids(rows: Sequence[Row], tx: Transaction) -> list[str]:
    """Return the ids of those rows that this store lacks, except deleted sessions that were purged here."""
    known = dict(_keys_and_ids([key for key, _, _ in rows], tx))
    others = [(id, place) for key, id, place in rows if known.get(key) != id]
    purged = _purged_among([id for id, place in others if place == DELETED], tx)
    return [id for id, _ in others if id not in purged]


def _keys_and_ids(keys: Sequence[int], tx: Transaction) -> list[Row]:
    return tx.all(f"SELECT key, id FROM sessions WHERE key IN ({_placeholders(keys)})", *keys)


def _next_keys(last: int, tx: Transaction) -> list[int]:
    """Return the keys of the next batch of sessions."""
    rows = tx.all(f"SELECT key, message_count FROM sessions WHERE key > ? ORDER BY key LIMIT {_BATCH_SIZE}", last)
    keys: list[int] = []
    remaining_messages = _MAX_MESSAGES
    for key, count in rows:
        if keys and count > remaining_messages:
            break
        keys.append(key)
        remaining_messages -= count
    return keys


def _read_sessions(keys: Sequence[int], tx: Transaction) -> list[_SessionRows]:
    sessions = tx.all(f"SELECT {_SESSION} FROM sessions WHERE key IN ({_placeholders(keys)}) ORDER BY key", *keys)
    rows = tx.all(
        f"SELECT {_MESSAGE} FROM messages WHERE session_key IN ({_placeholders(keys)}) ORDER BY session_key, number",
        *keys,
    )
    messages: dict[int, list[Row]] = {key: [] for key in keys}
    for row in rows:
        messages[row[1]].append(tuple(row))
    return [_SessionRows(SessionRow(*row), messages[row[0]]) for row in sessions]


def _purged_ids(tx: Transaction) -> list[str]:
    return [id for (id,) in tx.all("SELECT id FROM purged_ids ORDER BY id")]


def _purged_among(ids: Sequence[str], tx: Transaction) -> set[str]:
    return (
        {id for (id,) in tx.all(f"SELECT id FROM purged_ids WHERE id IN ({_placeholders(ids)})", *ids)}
        if ids
        else set()
    )


def _add_purged_ids(index: SearchIndex, ids: Sequence[str], tx: Transaction) -> None:
    """Record ids that were purged in the other store, so that they are not reused. Purge deleted sessions with them."""
    tx.run(f"INSERT INTO purged_ids (id) VALUES {', '.join(['(?)'] * len(ids))} ON CONFLICT DO NOTHING", *ids)
    deleted = f"SELECT key, id FROM sessions WHERE place = {DELETED} AND id IN ({_placeholders(ids)}){tx.lock}"
    remove(tx, index, tx.all(deleted, *ids))


def _insert(target: StoreArgument, batch: Sequence[_SessionRows], tx: Transaction) -> None:
    """Insert the sessions that the target lacks and has not purged."""
    index = target.index
    existing = {key for key, _ in _keys_and_ids([item.session.key for item in batch], tx)}
    purged = _purged_among([item.session.id for item in batch], tx)
    for session, messages in batch:
        if session.key in existing or session.id in purged:
            continue
        columns = {**session._asdict(), "folded_name": fold_name(session.name)}
        tx.run(f"INSERT INTO sessions ({', '.join(columns)}) VALUES ({_placeholders(columns)})", *columns.values())
        for row in messages:
            tx.run(f"INSERT INTO messages ({_MESSAGE}) VALUES ({_placeholders(row)})", *row)
        index.put_name(tx, session.key, session.user_id, session.name)
        index.put_messages(tx, session.user_id, [(row[0], row[-1]) for row in messages])
    target.advance_keys(tx)


def _placeholders(values: Sized) -> str:
    return ", ".join("?" * len(values))
