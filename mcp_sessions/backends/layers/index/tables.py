"""Statements on the index: which sessions it has, and where their words are."""

from collections.abc import Iterable, Mapping, Sequence
from typing import NamedTuple

from pydantic_core import from_json

from ...database.database import Transaction
from ...database.fts5 import phrases
from ...database.times import now_micros
from ...transcript_feed import FileState
from .labels import labels_of
from .texts import KEYS_PER_SECOND, NewText, Text, insert_rows, insert_texts

MAX_KEY = 1 << 58  # has 18 digits, the most that a cursor accepts
_AT_ONCE = 500
PLACES = "SELECT p.key, s.id, p.part, p.message_id, p.position FROM places p JOIN sessions s ON s.key = p.session_key"
NO_COPY = f"""
    AND NOT (p.origin <> '' AND EXISTS (
        SELECT 1 FROM sessions t JOIN places q ON q.session_key = t.key
        WHERE t.source = s.source AND t.id = substr(p.origin, 1, instr(p.origin, '/') - 1)
        AND q.message_id = substr(p.origin, instr(p.origin, '/') + 1) AND t.key <> s.key))
    AND NOT (p.number > 0 AND EXISTS (
        SELECT 1 FROM places q CROSS JOIN sessions t ON t.key = q.session_key
        WHERE q.key > p.key AND q.key < (p.key / {KEYS_PER_SECOND} + 1) * {KEYS_PER_SECOND} AND q.number > 0
        AND q.message_id = p.message_id AND q.digest = p.digest AND t.source = s.source AND t.key <> s.key
        AND q.origin IN ('', p.origin)))
"""
"""Conditions that a place is not a copy. Claude Code's forks name the original; older copies have its id and time.

CROSS JOIN keeps SQLite from reading all messages of the source for each place, instead of those of the same second.
"""


class IndexedSession(NamedTuple):
    """What the index has of a session. `changed_at` is the time of the session's last change, by its system."""

    owner: str
    changed_at: int
    read_at: int
    is_readable: int
    key: int


class IndexRow(NamedTuple):
    """The values to write to the table of sessions. `state` is that of the file, "" without one that can be read."""

    id: str
    owner: str
    changed_at: int
    is_readable: bool
    state: str = ""


class Place(NamedTuple):
    """Where a text is that contains the words of a search."""

    key: int
    session_id: str
    part: str
    message_id: str
    position: str


def version(tx: Transaction) -> int:
    """Return a number that differs after every change that other connections made to the file."""
    row = tx.one("PRAGMA data_version")
    assert row is not None
    return row[0]


def marks(tx: Transaction, source: str, scope: str) -> tuple[int, int] | None:
    """Return the time up to which all changes of the scope's sessions are indexed, and that of the last sweep."""
    row = tx.one("SELECT mark, swept_at FROM marks WHERE source = ? AND scope = ?", source, scope)
    return (row[0], row[1]) if row else None


def set_marks(tx: Transaction, source: str, scope: str, mark: int, swept_at: int) -> None:
    tx.run(
        "INSERT OR REPLACE INTO marks (source, scope, mark, swept_at) VALUES (?, ?, ?, ?)",
        source,
        scope,
        mark,
        swept_at,
    )


def indexed(tx: Transaction, source: str, ids: Sequence[str]) -> dict[str, IndexedSession]:
    """Return those of the sessions that are in the index."""
    found: dict[str, IndexedSession] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        rows = tx.all(
            "SELECT id, owner, changed_at, read_at, is_readable, key FROM sessions"
            f" WHERE source = ? AND id IN ({', '.join('?' * len(some))})",
            source,
            *some,
        )
        found |= {row[0]: IndexedSession(*row[1:]) for row in rows}
    return found


def ids(tx: Transaction, source: str, owner: str) -> set[str]:
    """Return the ids of the owner's sessions, of all if `owner` is ""."""
    rows = tx.all("SELECT id, owner FROM sessions WHERE source = ?", source)
    return {session_id for session_id, its_owner in rows if not owner or its_owner == owner}


def states(tx: Transaction, source: str, current: Mapping[str, FileState]) -> Mapping[str, FileState]:
    """Return the states in which the files of sessions were read, by the sessions' ids.

    `current` has the states of the files now. A state that is equal to the current one is the same object, and if all
    are, the result is `current`.
    """
    # Reading the whole table is faster than looking up each session. Getting one JSON text is faster than getting
    # thousands of rows.
    row = tx.one("SELECT json_group_object(id, state) FROM sessions NOT INDEXED WHERE source = ?", source)
    stored: dict[str, str] = from_json(row[0]) if row else {}
    texts = FileState.texts(current)  # making the text of a state is faster than parsing one
    if stored == texts:
        return current
    return {
        session_id: current[session_id] if texts.get(session_id) == state else FileState.parse(state)
        for session_id, state in stored.items()
    }


def coverage(tx: Transaction, source: str) -> tuple[int, tuple[int, int] | None, int]:
    """Return how many sessions of a system are in the index, its marks, and how many sessions could not be read."""
    row = tx.one("SELECT count(*) FROM sessions WHERE source = ?", source)
    return row[0] if row else 0, marks(tx, source, ""), len(unreadable(tx, source, ""))


def unreadable(tx: Transaction, source: str, owner: str) -> list[str]:
    """Return the ids of the owner's sessions that could not be read."""
    rows = tx.all("SELECT id, owner FROM sessions WHERE source = ? AND is_readable = 0 ORDER BY key DESC", source)
    return [session_id for session_id, its_owner in rows if not owner or its_owner == owner]


def put_rows(tx: Transaction, source: str, rows: Sequence[IndexRow]) -> tuple[dict[str, int], set[str]]:
    """Insert or update sessions, but not their texts. Return the keys of all by id, and the ids of the new ones.

    New ones are inserted together, since each statement waits for the interpreter's lock, which a thread that reads
    files holds most of the time.
    """
    known = indexed(tx, source, [row.id for row in rows])
    new: list[tuple[object, ...]] = []
    for row in rows:
        values = (row.owner, row.changed_at, row.is_readable, row.state, now_micros())
        if row.id not in known:
            new.append((*values, source, row.id))
            continue
        tx.run(
            "UPDATE sessions SET owner = ?, changed_at = ?, is_readable = ?, state = ?, read_at = ? WHERE key = ?",
            *values,
            known[row.id].key,
        )
    insert_rows(tx, "sessions (owner, changed_at, is_readable, state, read_at, source, id)", new)
    added = {row.id for row in rows} - known.keys()
    written = {**known, **indexed(tx, source, [*added])}
    return {id: session.key for id, session in written.items()}, added


def put_session(
    tx: Transaction,
    source: str,
    session_id: str,
    owner: str,
    changed_at: int,
    texts: Iterable[Text] | None,
    *,
    project: str = "",
) -> None:
    """Index a session's texts in place of its earlier ones. None means that they can't be read."""
    keys, _ = put_rows(tx, source, [IndexRow(session_id, owner, changed_at, is_readable=texts is not None)])
    labels = labels_of(source, owner, project)
    insert_texts(tx, replace_texts(tx, labels, keys[session_id], texts or (), above=-1))


def replace_texts(
    tx: Transaction, labels: str, session_key: int, texts: Iterable[Text], *, above: int
) -> list[NewText]:
    """Remove the session's texts with numbers greater than `above` that are not among these. Return the new ones."""
    rows = tx.all(
        "SELECT part, message_id, digest, key FROM places WHERE session_key = ? AND number > ?", session_key, above
    )
    obsolete = {(part, message_id, digest): place for part, message_id, digest, place in rows}
    new: list[NewText] = []
    for text in texts:
        digest = text.digest(labels)
        known = obsolete.pop((text.part, text.message_id, digest), 0)
        if known == 0:
            new.append(NewText(session_key, labels, text, digest))
        elif text.number:
            tx.run("UPDATE places SET number = ?, position = ? WHERE key = ?", text.number, text.position, known)
    for place in obsolete.values():
        drop_place(tx, place)
    return new


def mark_unreadable(tx: Transaction, *, source: str, session_id: str) -> None:
    """Mark a session that can't be read now. The next update tries to read it again."""
    tx.run("UPDATE sessions SET is_readable = 0, state = '' WHERE source = ? AND id = ?", source, session_id)


def newest(tx: Transaction, source: str, session_id: str, limit: int) -> dict[str, tuple[bytes, int]]:
    """Return the digests and numbers of a session's newest messages by their ids."""
    rows = tx.all(
        "SELECT message_id, digest, number FROM places WHERE number > 0 AND session_key ="
        " (SELECT key FROM sessions WHERE source = ? AND id = ?) ORDER BY number DESC LIMIT ?",
        source,
        session_id,
        limit,
    )
    return {message_id: (digest, number) for message_id, digest, number in rows}


def set_position(tx: Transaction, session_key: int, number: int, position: str) -> None:
    """Write where a message is to be read now."""
    tx.run("UPDATE places SET position = ? WHERE session_key = ? AND number = ?", position, session_key, number)


def replace_part(tx: Transaction, labels: str, session_key: int, text: Text) -> list[NewText]:
    """Remove a session's earlier name if it is another one. Return the name if it is new, nothing if it is empty."""
    digest = text.digest(labels)
    rows = tx.all(
        "SELECT key, digest FROM places WHERE session_key = ? AND number = 0 AND part = ?", session_key, text.part
    )
    is_known = False
    for key, known in rows:
        is_known = is_known or known == digest
        if known != digest:
            drop_place(tx, key)
    return [NewText(session_key, labels, text, digest)] if text.text and not is_known else []


def drop_place(tx: Transaction, key: int) -> None:
    tx.run("UPDATE places SET session_key = 0, message_id = '', digest = x'' WHERE key = ?", key)


def drop_session(tx: Transaction, source: str, session_id: str) -> None:
    """Remove a session. Do nothing if the index does not have it."""
    row = tx.one("SELECT key FROM sessions WHERE source = ? AND id = ?", source, session_id)
    if row:
        tx.run("UPDATE places SET session_key = 0, message_id = '', digest = x'' WHERE session_key = ?", *row)
        tx.run("DELETE FROM sessions WHERE key = ?", *row)


def find(tx: Transaction, labels: str, words: Sequence[str], *, below: int, limit: int) -> tuple[list[Place], int]:
    """Return texts with all labels and words, below a key, and the key to continue below, 0 at the end.

    Copies of a message in the files of other sessions are left out.
    """
    conditions = [f"owner : {label}" for label in labels.split()]
    conditions += [f"words : ({phrases(words)})"] if words else []
    rows = tx.all(
        "SELECT rowid FROM text_index WHERE text_index MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?",
        " AND ".join(conditions),
        below,
        limit,
    )
    keys = [key for (key,) in rows]
    found = tx.all(f"{PLACES} WHERE p.key IN ({', '.join('?' * len(keys))}){NO_COPY} ORDER BY p.key DESC", *keys)
    return [Place(*row) for row in found], keys[-1] if len(keys) == limit else 0
