"""Texts of the index, and how they are inserted: many with each statement, in the order of their keys."""

from collections.abc import Iterable, Mapping, Sequence
from hashlib import blake2b
from itertools import chain
from operator import itemgetter
from typing import NamedTuple

from ....text.words import index_text
from ...database.database import Transaction

KEYS_PER_SECOND = 1 << 10
_NAMES = 1 << 52  # added to the keys of names, which are searched before messages
_EPOCH = 1_577_836_800  # 2020-01-01
_ROWS = 500  # of one statement
_PAGES_PER_TEXT = 4  # fewer don't keep up with the appends of single messages
_MOST_PAGES = 1000  # take about 0.1 s


class Text(NamedTuple):
    """A name or a message, as a model may see it.

    `part` is `name` or `message`. `number` and `position` are those of a message in a file. `session_id` is set if a
    message of another session can have the same id by chance.
    """

    part: str
    message_id: str
    created_at: int
    text: str
    number: int = 0
    position: str = ""
    origin: str = ""
    session_id: str = ""

    def digest(self, labels: str) -> bytes:
        """Return a value that copies of a message in other files have too. `labels` are those of `labels_of`."""
        time = self.created_at if self.number else ""
        return blake2b(f"{labels}\0{self.session_id}\0{time}\0{self.text}".encode(), digest_size=8).digest()

    @property
    def first_key(self) -> int:
        """The first key of the second from which the text is."""
        seconds = max(self.created_at // 1_000_000 - _EPOCH, 0)
        return seconds * KEYS_PER_SECOND + (0 if self.part == "message" else _NAMES)


class NewText(NamedTuple):
    """A text to insert, the key of its session, the labels of the session's texts, and the text's digest."""

    session_key: int
    labels: str
    text: Text
    digest: bytes


def insert_texts(tx: Transaction, texts: Iterable[NewText]) -> None:
    """Insert texts. Newer ones get larger keys, and of those from the same time, the last ones.

    Of texts from one second, those of a later call get the larger keys.

    FTS5 begins another segment for each row whose key is not above the one before. SQLite works in parallel to Python
    during a statement, but has to wait for Python after each.
    """
    ordered = sorted(((new.text.first_key, new.text.created_at, new) for new in texts), key=itemgetter(0, 1))
    taken = _last_keys(tx, [*dict.fromkeys(first for first, _, _ in ordered)])
    places: list[tuple[object, ...]] = []
    words: list[tuple[object, ...]] = []
    key = 0
    for first, _, (session_key, labels, text, digest) in ordered:
        key = max(key + 1, taken[first] + 1 if first in taken else first)
        if key >= first + KEYS_PER_SECOND:  # there are more texts in this second than it has keys
            key = _free_key(tx, key)
        places.append((key, session_key, text.part, text.message_id, digest, text.origin, text.number, text.position))
        words.append((key, labels, index_text(text.text)))
    insert_rows(tx, "places (key, session_key, part, message_id, digest, origin, number, position)", places)
    insert_rows(tx, "text_index (rowid, owner, words)", words)
    if words:  # merge segments of FTS5 a little after each insertion
        pages = min(_PAGES_PER_TEXT * len(words), _MOST_PAGES)
        tx.run("INSERT INTO text_index (text_index, rank) VALUES ('merge', ?)", pages)


def _last_keys(tx: Transaction, firsts: Sequence[int]) -> Mapping[int, int]:
    """Return the largest key that is in use of each second that has one, by the first key of the second."""
    found: dict[int, int] = {}
    for start in range(0, len(firsts), _ROWS):
        some = firsts[start : start + _ROWS]
        # Get one row, since SQLite waits for Python after each.
        row = tx.one(
            f"WITH seconds (first) AS (VALUES {', '.join(['(?)'] * len(some))})"
            " SELECT group_concat((SELECT max(key) FROM places WHERE key >= first AND key < first + ?), ' ')"
            " FROM seconds",
            *some,
            KEYS_PER_SECOND,
        )
        keys = map(int, row[0].split()) if row and row[0] else ()
        found |= {key - key % KEYS_PER_SECOND: key for key in keys}
    return found


def _free_key(tx: Transaction, first: int) -> int:
    """Return an unused key from `first` on."""
    size = KEYS_PER_SECOND
    while True:
        row = tx.one("SELECT max(key) FROM places WHERE key >= ? AND key < ?", first, first + size)
        last: int | None = row[0] if row else None
        if last is None or last + 1 < first + size:
            return first if last is None else last + 1
        size *= 2


def insert_rows(tx: Transaction, target: str, rows: Sequence[tuple[object, ...]]) -> None:
    """Insert rows, many with each statement. `target` is `TABLE (COLUMN, …)`."""
    for start in range(0, len(rows), _ROWS):
        some = rows[start : start + _ROWS]
        row = f"({', '.join('?' * len(some[0]))})"
        tx.run(f"INSERT INTO {target} VALUES {', '.join([row] * len(some))}", *chain.from_iterable(some))
