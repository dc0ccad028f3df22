"""The search index on PostgreSQL: a GIN index finds the rows that may have the words, their text says which do.

A row of the index has the words of a text as `_words.tokens` makes them, between single spaces: a word or phrase is
in the text when it is in there between spaces. Its lexemes are those words, the pairs of neighbours in scripts
without spaces, and its owner, so that a search need not look at the rows of others: PostgreSQL takes that way, or
an owner's rows from the newest, by what it knows of how common the words are. Lexemes are made here and not by a
text search configuration of PostgreSQL's: those depend on the server, and know no such scripts.

pg_trgm would find rows by three letters at a time, in any text that has them; it is an extension that somebody has
to install, and knows no letters but ASCII's in a database with the locale C.
"""

from collections.abc import Sequence
from hashlib import blake2b
from itertools import pairwise

from ...text.words import finds, tokens
from .database import Transaction

_FIRST_UNSPACED = "\u0e00"
_LETTERS = 100  # of a word that its lexeme holds; PostgreSQL takes 2,046 bytes
_ROOM = 900_000  # bytes of a text's lexemes; PostgreSQL takes 1,048,575
_ANY = "*"  # the only lexeme of a text with more, which is then found by its words alone
_ROWS_AT_ONCE = 200
_SHORT = 4096  # keys; more than that may hold any number of matches


class TsvectorIndex:
    """Two tables, `name_index` and `message_index`; a row's key is its session's or message's."""

    def put_name(self, tx: Transaction, session_key: int, owner: str, name: str) -> None:
        tx.run("DELETE FROM name_index WHERE key = ?", session_key)
        if name:
            _put(tx, "name_index", owner, [(session_key, name)])

    def put_messages(self, tx: Transaction, owner: str, texts: Sequence[tuple[int, str]]) -> None:
        for begin in range(0, len(texts), _ROWS_AT_ONCE):
            _put(tx, "message_index", owner, texts[begin : begin + _ROWS_AT_ONCE])

    def drop_session(self, tx: Transaction, session_key: int) -> None:
        tx.run("DELETE FROM name_index WHERE key = ?", session_key)
        tx.run("DELETE FROM message_index WHERE key IN (SELECT key FROM messages WHERE session_key = ?)", session_key)

    def find(
        self, tx: Transaction, kind: str, words: Sequence[str], owner: str, *, below: int, above: int, limit: int
    ) -> list[int]:
        table = {"name": "name_index", "message": "message_index"}[kind]
        said = [tokens(word) for word in words]
        if not all(said):
            return []
        patterns = [f"% {part}{'' if word.endswith('*') else ' '}%" for word, part in zip(words, said, strict=True)]
        matching = f"SELECT key FROM {table} WHERE lexemes @@ ?::tsquery AND key < ? AND key > ?" + (
            " AND words LIKE ?" * len(patterns) + (" AND owner = ?" if owner else "")
        )
        if below - above > _SHORT:
            # Else rows may be walked in the hope that enough of them match soon, and all be looked at.
            matching = f"WITH found AS MATERIALIZED ({matching}) SELECT key FROM found"
        rows = tx.all(
            f"{matching} ORDER BY key DESC LIMIT ?",
            _query(words, owner),
            below,
            above,
            *patterns,
            *([owner] if owner else []),
            limit,
        )
        return [key for (key,) in rows]

    def finds(self, text: str, words: Sequence[str]) -> bool:
        return finds(text, words)


def _put(tx: Transaction, table: str, owner: str, texts: Sequence[tuple[int, str]]) -> None:
    values: list[object] = []
    for key, text in texts:
        said = tokens(text)
        values += [key, owner, f" {said} ", _lexemes(said.split(), owner)]
    rows = ", ".join(["(?, ?, ?, array_to_tsvector(?))"] * len(texts))
    tx.run(f"INSERT INTO {table} (key, owner, words, lexemes) VALUES {rows}", *values)


def _lexemes(said: Sequence[str], owner: str) -> list[str]:
    found = {token[:_LETTERS] for token in said} | set(_pairs(said))
    if sum(len(lexeme.encode()) for lexeme in found) > _ROOM:
        found = {_ANY}
    return [*found, *([_owner_lexeme(owner)] if owner else [])]


def _pairs(said: Sequence[str]) -> list[str]:
    return [
        f"{one} {other}"
        for one, other in pairwise(said)
        if one >= _FIRST_UNSPACED and other >= _FIRST_UNSPACED and len(one) <= 3 and len(other) <= 3
    ]


def _query(words: Sequence[str], owner: str) -> str:
    """What a row's lexemes must have at least. No token has a quote or a backslash."""
    lexemes: list[str] = []
    for word in words:
        said = tokens(word).split()
        *whole, last = said
        lexemes += [f"'{token[:_LETTERS]}'" for token in whole]
        is_open = word.endswith("*")
        lexemes.append(f"'{last[:_LETTERS]}'{':*' if is_open and len(last) < _LETTERS else ''}")
        lexemes += [f"'{pair}'" for pair in _pairs(whole if is_open else said)]
    asked = f"({' & '.join(lexemes)} | '{_ANY}')"
    return f"{asked} & '{_owner_lexeme(owner)}'" if owner else asked


def _owner_lexeme(owner: str) -> str:
    return "@" + blake2b(owner.encode(), digest_size=8).hexdigest()
