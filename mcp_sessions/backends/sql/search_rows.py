"""The rows that the embedded store's search index points to: session names and messages."""

from collections.abc import Iterable, Sequence

from ...models import SearchHit
from ..database.database import Transaction
from ..database.times import to_datetime
from .sessions import DELETED

_HITS = {
    "name": "SELECT s.key, s.id, s.name, 0, '', s.created_at, s.name FROM sessions s WHERE s.key IN ({keys})",
    "message": (
        "SELECT m.key, s.id, s.name, m.number, m.role, m.created_at, m.text"
        " FROM messages m JOIN sessions s ON s.key = m.session_key WHERE m.key IN ({keys})"
    ),
}


class StoreSearchRows:
    """The rows of the embedded store, for `database.search`."""

    kinds = ("name", "message")
    first_range = 4096

    def newest(self, tx: Transaction, kind: str) -> int:
        row = tx.one(f"SELECT max(key) FROM {'sessions' if kind == 'name' else 'messages'}")
        return (row[0] if row else None) or 0

    def hits(self, tx: Transaction, kind: str, keys: Sequence[int], owner: str) -> Iterable[tuple[int, SearchHit, str]]:
        rows = tx.all(
            _HITS[kind].format(keys=", ".join("?" * len(keys)))
            + f" AND s.place <> {DELETED}{' AND s.user_id = ?' if owner else ''}",
            *keys,
            *([owner] if owner else []),
        )
        for key, session_id, name, number, role, created_at, text in sorted(rows, reverse=True):
            hit = SearchHit(
                session_id=session_id,
                session_name=name,
                message_id=f"m{number}" if number else "",
                role=role,
                created_at=to_datetime(created_at),
            )
            yield key, hit, text
