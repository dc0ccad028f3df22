"""The search index on SQLite's FTS5.

A word matches only a whole word, in any case, with or without accents. A word that ends in `*` is a prefix. Scripts
written without spaces between words (Chinese, Japanese, Thai, Lao, Khmer, Burmese), and Korean, whose words have
endings, are indexed character by character. A sequence of such characters is searched as a phrase, so that it is
found anywhere in a text.

Results are ordered by key, newest first: FTS5 reads its lists in that order and can stop early, while ranking by
bm25 would read every match (800 ms for a common word in 10⁶ messages). The index itself contains a token of the row's
owner, since a join would check the matches of all users (up to 1.4 s for a user without any).
"""

from collections.abc import Sequence
from hashlib import blake2b

from ...text.words import index_text
from .database import Transaction


class Fts5Index:
    """The tables `name_index` and `message_index`. A row has the key of its session or message."""

    def put_name(self, tx: Transaction, session_key: int, owner: str, name: str) -> None:
        tx.run("DELETE FROM name_index WHERE rowid = ?", session_key)
        if name:
            tx.run(
                "INSERT INTO name_index (rowid, owner, words) VALUES (?, ?, ?)",
                session_key,
                _owner_token(owner),
                index_text(name),
            )

    def put_messages(self, tx: Transaction, owner: str, texts: Sequence[tuple[int, str]]) -> None:
        token = _owner_token(owner)
        for key, text in texts:
            tx.run("INSERT INTO message_index (rowid, owner, words) VALUES (?, ?, ?)", key, token, index_text(text))

    def drop_session(self, tx: Transaction, session_key: int) -> None:
        tx.run("DELETE FROM name_index WHERE rowid = ?", session_key)
        tx.run("DELETE FROM message_index WHERE rowid IN (SELECT key FROM messages WHERE session_key = ?)", session_key)

    def find(
        self, tx: Transaction, kind: str, words: Sequence[str], owner: str, *, below: int, above: int, limit: int
    ) -> list[int]:
        table = {"name": "name_index", "message": "message_index"}[kind]
        expression = _expression(words, owner)
        rows = tx.all(
            f"SELECT rowid FROM {table} WHERE {f'{table} MATCH ? AND ' if expression else ''}rowid < ? AND rowid > ?"
            " ORDER BY rowid DESC LIMIT ?",
            *([expression] if expression else []),
            below,
            above,
            limit,
        )
        return [key for (key,) in rows]


def _expression(words: Sequence[str], owner: str) -> str:
    """Return the FTS5 query, "" for all rows."""
    conditions = ([f"owner : {_owner_token(owner)}"] if owner else []) + (
        [f"words : ({phrases(words)})"] if words else []
    )
    return " AND ".join(conditions)


def phrases(words: Sequence[str]) -> str:
    """Return an FTS5 query for all words. Each is a quoted phrase, which can't contain operators."""
    return " AND ".join(
        '"{}"{}'.format(index_text(word.removesuffix("*")).replace('"', '""'), "*" if word.endswith("*") else "")
        for word in words
    )


def _owner_token(owner: str) -> str:
    return "u" + blake2b(owner.encode(), digest_size=8).hexdigest() if owner else ""
