"""The search index on SQLite's FTS5.

Words are found whole, in any case, with or without accents. Scripts written without spaces between words (Chinese,
Japanese, Thai, Lao, Khmer, Burmese), and Korean, whose words carry endings, are indexed character by character, and
a run of them is asked for as a phrase: any part of a text is found, as by eye. A word that ends in `*` is a prefix.

Keys are taken newest first: FTS5 walks its lists in that order without a look at the rest, while ranking them by
bm25 would read every match (800 ms for a common word in 10⁶ messages). A user's rows are told by a token in the
index itself, since a join would test each match of everybody's (up to 1.4 s for a user without any).
"""

from collections.abc import Sequence
from hashlib import blake2b

from ...text.words import finds, indexed
from .database import Transaction


class Fts5Index:
    """Two tables, `name_index` and `message_index`; a row's key is its session's or message's."""

    def put_name(self, tx: Transaction, session_key: int, owner: str, name: str) -> None:
        tx.run("DELETE FROM name_index WHERE rowid = ?", session_key)
        if name:
            tx.run(
                "INSERT INTO name_index (rowid, owner, words) VALUES (?, ?, ?)",
                session_key,
                _owner_token(owner),
                indexed(name),
            )

    def put_messages(self, tx: Transaction, owner: str, texts: Sequence[tuple[int, str]]) -> None:
        token = _owner_token(owner)
        for key, text in texts:
            tx.run("INSERT INTO message_index (rowid, owner, words) VALUES (?, ?, ?)", key, token, indexed(text))

    def drop_session(self, tx: Transaction, session_key: int) -> None:
        tx.run("DELETE FROM name_index WHERE rowid = ?", session_key)
        tx.run("DELETE FROM message_index WHERE rowid IN (SELECT key FROM messages WHERE session_key = ?)", session_key)

    def find(
        self, tx: Transaction, kind: str, words: Sequence[str], owner: str, *, below: int, above: int, limit: int
    ) -> list[int]:
        table = {"name": "name_index", "message": "message_index"}[kind]
        rows = tx.all(
            f"SELECT rowid FROM {table} WHERE {table} MATCH ? AND rowid < ? AND rowid > ? ORDER BY rowid DESC LIMIT ?",
            _expression(words, owner),
            below,
            above,
            limit,
        )
        return [key for (key,) in rows]

    def finds(self, text: str, words: Sequence[str]) -> bool:
        return finds(text, words)


def _expression(words: Sequence[str], owner: str) -> str:
    """Each word as a quoted phrase, in which FTS5 knows no operators."""
    phrases = " AND ".join(
        '"{}"{}'.format(indexed(word.removesuffix("*")).replace('"', '""'), "*" if word.endswith("*") else "")
        for word in words
    )
    return f"owner : {_owner_token(owner)} AND words : ({phrases})" if owner else f"words : ({phrases})"


def _owner_token(owner: str) -> str:
    return "u" + blake2b(owner.encode(), digest_size=8).hexdigest() if owner else ""
