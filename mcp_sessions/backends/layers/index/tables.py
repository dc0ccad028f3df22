"""Statements on the index: which sessions it has, and where their words are."""

from collections.abc import Iterable, Sequence
from hashlib import blake2b
from typing import NamedTuple

from ....text.words import index_text
from ...database.database import Transaction
from ...database.fts5 import phrases
from ...database.times import now_micros

MAX_KEY = 1 << 58  # has 18 digits, the most that a cursor accepts
_NAMES = 1 << 52  # added to the keys of names and summaries, which are searched before messages
_EPOCH = 1_577_836_800  # 2020-01-01
_KEYS_PER_SECOND = 1 << 10
_AT_ONCE = 500


class Text(NamedTuple):
    """A name, summary or message, as a model may see it. `part` is `name`, `summary` or `message`."""

    part: str
    message_id: str
    created_at: int
    text: str


class IndexedSession(NamedTuple):
    """What the index has of a session. `changed_at` is the time of the session's last change, by its system."""

    owner: str
    changed_at: int
    read_at: int


class Place(NamedTuple):
    """Where a text is that contains the words of a search."""

    key: int
    session_id: str
    part: str
    message_id: str


def mark(tx: Transaction, source: str, scope: str) -> int | None:
    """Return the time up to which all changes of the scope's sessions are indexed."""
    row = tx.one("SELECT mark FROM marks WHERE source = ? AND scope = ?", source, scope)
    return row[0] if row else None


def set_mark(tx: Transaction, source: str, scope: str, value: int) -> None:
    tx.run("INSERT OR REPLACE INTO marks (source, scope, mark) VALUES (?, ?, ?)", source, scope, value)


def indexed(tx: Transaction, source: str, ids: Sequence[str]) -> dict[str, IndexedSession]:
    """Return those of the sessions that are in the index."""
    found: dict[str, IndexedSession] = {}
    for start in range(0, len(ids), _AT_ONCE):
        some = ids[start : start + _AT_ONCE]
        rows = tx.all(
            "SELECT id, owner, changed_at, read_at FROM sessions"
            f" WHERE source = ? AND id IN ({', '.join('?' * len(some))})",
            source,
            *some,
        )
        found |= {row[0]: IndexedSession(*row[1:]) for row in rows}
    return found


def count(tx: Transaction, source: str) -> int:
    """Return how many sessions of a system are in the index."""
    row = tx.one("SELECT count(*) FROM sessions WHERE source = ?", source)
    return row[0] if row else 0


def unreadable(tx: Transaction, source: str, owner: str) -> list[str]:
    """Return the ids of the owner's sessions that could not be read."""
    rows = tx.all("SELECT id, owner FROM sessions WHERE source = ? AND is_readable = 0 ORDER BY key DESC", source)
    return [session_id for session_id, its_owner in rows if not owner or its_owner == owner]


def put_session(
    tx: Transaction, source: str, session_id: str, owner: str, changed_at: int, texts: Iterable[Text] | None
) -> None:
    """Index a session's texts in place of its earlier ones. None means that they can't be read."""
    row = tx.one("SELECT key FROM sessions WHERE source = ? AND id = ?", source, session_id)
    values = (owner, changed_at, now_micros(), texts is not None)
    if row:
        key = row[0]
        statement = "UPDATE sessions SET owner = ?, changed_at = ?, read_at = ?, is_readable = ? WHERE key = ?"
        tx.run(statement, *values, key)
    else:
        key = tx.insert(
            "INSERT INTO sessions (owner, changed_at, read_at, is_readable, source, id) VALUES (?, ?, ?, ?, ?, ?)",
            *values,
            source,
            session_id,
        )
    rows = tx.all("SELECT part, message_id, digest, key FROM places WHERE session_key = ?", key)
    obsolete = {(part, message_id, digest): place for part, message_id, digest, place in rows}
    for text in texts or ():
        digest = blake2b(f"{owner}\0{text.text}".encode(), digest_size=8).digest()
        if obsolete.pop((text.part, text.message_id, digest), 0) == 0:
            _insert(tx, _tokens(source, owner), key, text, digest)
    for place in obsolete.values():
        drop_place(tx, place)


def _insert(tx: Transaction, owner_tokens: str, session_key: int, text: Text, digest: bytes) -> None:
    first = max(text.created_at // 1_000_000 - _EPOCH, 0) * _KEYS_PER_SECOND + (0 if text.part == "message" else _NAMES)
    row = tx.one("SELECT max(key) FROM places WHERE key >= ? AND key < ?", first, first + _KEYS_PER_SECOND)
    key = max(first, row[0] + 1 if row and row[0] is not None else 1)
    while tx.one("SELECT 1 FROM places WHERE key = ?", key):  # more texts in this second than it has keys
        key += 1
    tx.run(
        "INSERT INTO places (key, session_key, part, message_id, digest) VALUES (?, ?, ?, ?, ?)",
        key,
        session_key,
        text.part,
        text.message_id,
        digest,
    )
    tx.run("INSERT INTO text_index (rowid, owner, words) VALUES (?, ?, ?)", key, owner_tokens, index_text(text.text))


def drop_place(tx: Transaction, key: int) -> None:
    tx.run("UPDATE places SET session_key = 0, message_id = '', digest = x'' WHERE key = ?", key)


def drop_session(tx: Transaction, source: str, session_id: str) -> None:
    """Remove a session. Do nothing if the index does not have it."""
    row = tx.one("SELECT key FROM sessions WHERE source = ? AND id = ?", source, session_id)
    if row:
        tx.run("UPDATE places SET session_key = 0, message_id = '', digest = x'' WHERE session_key = ?", *row)
        tx.run("DELETE FROM sessions WHERE key = ?", *row)


def find(
    tx: Transaction, source: str, owner: str, words: Sequence[str], *, below: int, limit: int
) -> tuple[list[Place], int]:
    """Return texts with all words, below a key, and the key to continue below, 0 at the end."""
    conditions = [f"owner : {token}" for token in _tokens(source, owner).split()]
    conditions += [f"words : ({phrases(words)})"] if words else []
    rows = tx.all(
        "SELECT rowid FROM text_index WHERE text_index MATCH ? AND rowid < ? ORDER BY rowid DESC LIMIT ?",
        " AND ".join(conditions),
        below,
        limit,
    )
    keys = [key for (key,) in rows]
    found = tx.all(
        "SELECT p.key, s.id, p.part, p.message_id FROM places p JOIN sessions s ON s.key = p.session_key"
        f" WHERE p.key IN ({', '.join('?' * len(keys))}) ORDER BY p.key DESC",
        *keys,
    )
    return [Place(*row) for row in found], keys[-1] if len(keys) == limit else 0


def _tokens(source: str, owner: str) -> str:
    """Return words that stand for a source, and for one of its users unless `owner` is ""."""
    token = f"s{_digest(source)}"
    return f"{token} u{_digest(owner)}" if owner else token


def _digest(text: str) -> str:
    return blake2b(text.encode(), digest_size=8).hexdigest()
