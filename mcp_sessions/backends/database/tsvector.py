"""The search index on PostgreSQL: a GIN index finds candidate rows, and a comparison of their words decides.

A row contains the words of a text, as `text.words.tokens` returns them, with single spaces around each. A word or
phrase matches if it is found there between spaces. The row's lexemes (the GIN index) are these words, the pairs of
neighbouring characters in scripts without spaces, and the row's owner. PostgreSQL's planner chooses between the GIN
index and the owner's rows in order, by its statistics on how common the words are. Lexemes are made here rather than
by a text search configuration of PostgreSQL: those depend on the server and don't support such scripts.

pg_trgm is not an alternative: it is an extension that has to be installed, matches parts of words, and supports only
ASCII letters in a database with the locale C.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

from ...text.words import tokenize
from .database import Transaction

_FIRST_UNSPACED = "\u0e00"
_LEXEME_LENGTH = 100  # longer words are cut; PostgreSQL accepts 2,046 bytes
_MAX_LEXEME_BYTES = 900_000  # of one text; PostgreSQL accepts 1,048,575
_ANY = "*"  # the only lexeme of a text that exceeds this limit; such a text is a candidate in every search
_BATCH_SIZE = 200  # rows
_FEW_KEYS = 4096


class TsvectorIndex:
    """The tables `name_index` and `message_index`. A row has the key of its session or message."""

    def put_name(self, tx: Transaction, session_key: int, owner: str, name: str) -> None:
        tx.run("DELETE FROM name_index WHERE key = ?", session_key)
        if name:
            _insert(tx, "name_index", owner, [(session_key, name)])

    def put_messages(self, tx: Transaction, owner: str, texts: Sequence[tuple[int, str]]) -> None:
        for start in range(0, len(texts), _BATCH_SIZE):
            _insert(tx, "message_index", owner, texts[start : start + _BATCH_SIZE])

    def drop_session(self, tx: Transaction, session_key: int) -> None:
        tx.run("DELETE FROM name_index WHERE key = ?", session_key)
        tx.run("DELETE FROM message_index WHERE key IN (SELECT key FROM messages WHERE session_key = ?)", session_key)

    def find(
        self, tx: Transaction, kind: str, words: Sequence[str], owner: str, *, below: int, above: int, limit: int
    ) -> list[int]:
        table = {"name": "name_index", "message": "message_index"}[kind]
        phrases = [tokenize(word) for word in words]
        if not all(phrases):
            return []
        patterns = [
            f"% {phrase}{'' if word.endswith('*') else ' '}%" for word, phrase in zip(words, phrases, strict=True)
        ]
        matching = (
            f"SELECT key FROM {table} WHERE {'lexemes @@ ?::tsquery AND ' if words else ''}key < ? AND key > ?"
            + " AND words LIKE ?" * len(patterns)
            + (" AND owner = ?" if owner else "")
        )
        if words and below - above > _FEW_KEYS:
            # Otherwise PostgreSQL may scan rows by key, expecting enough matches soon, and end up reading all of them.
            matching = f"WITH found AS MATERIALIZED ({matching}) SELECT key FROM found"
        rows = tx.all(
            f"{matching} ORDER BY key DESC LIMIT ?",
            *([_query(words, owner)] if words else []),
            below,
            above,
            *patterns,
            *([owner] if owner else []),
            limit,
        )
        return [key for (key,) in rows]


def _insert(tx: Transaction, table: str, owner: str, texts: Sequence[tuple[int, str]]) -> None:
    values: list[object] = []
    for key, text in texts:
        words = tokenize(text)
        values += [key, owner, f" {words} ", _lexemes(words.split(), owner)]
    rows = ", ".join(["(?, ?, ?, array_to_tsvector(?))"] * len(texts))
    tx.run(f"INSERT INTO {table} (key, owner, words, lexemes) VALUES {rows}", *values)


def _lexemes(words: Sequence[str], owner: str) -> list[str]:
    lexemes = {word[:_LEXEME_LENGTH] for word in words} | set(_pairs(words))
    if sum(len(lexeme.encode()) for lexeme in lexemes) > _MAX_LEXEME_BYTES:
        lexemes = {_ANY}
    return [*lexemes, *([_owner_lexeme(owner)] if owner else [])]


def _pairs(words: Sequence[str]) -> list[str]:
    """Return the pairs of neighbouring characters in scripts without spaces."""
    return [
        f"{one} {other}"
        for one, other in pairwise(words)
        if one >= _FIRST_UNSPACED and other >= _FIRST_UNSPACED and len(one) <= 3 and len(other) <= 3
    ]


def _query(words: Sequence[str], owner: str) -> str:
    """Return a tsquery that matches every text with these words, and possibly others."""
    lexemes: list[str] = []  # quoted without escapes, since no token has a quote or a backslash
    for word in words:
        parts = tokenize(word).split()
        *whole, last = parts
        lexemes += [f"'{part[:_LEXEME_LENGTH]}'" for part in whole]
        is_prefix = word.endswith("*")
        lexemes.append(f"'{last[:_LEXEME_LENGTH]}'{':*' if is_prefix and len(last) < _LEXEME_LENGTH else ''}")
        lexemes += [f"'{pair}'" for pair in _pairs(whole if is_prefix else parts)]
    query = f"({' & '.join(lexemes)} | '{_ANY}')"
    return f"{query} & '{_owner_lexeme(owner)}'" if owner else query


def _owner_lexeme(owner: str) -> str:
    return "@" + blake2b(owner.encode(), digest_size=8).hexdigest()
