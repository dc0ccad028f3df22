"""What is removed for good: deleted sessions whose time is over. Their ids stay taken."""

import logging
from collections.abc import Sequence

from ..database.database import Row, SearchIndex, Transaction
from .sessions import now

AT_OPEN = 100  # sessions in one transaction, so that others' changes need not wait long
AT_DELETION = 5  # more than the one that comes, so that those that are due become fewer
_MOST_MESSAGES = 5_000  # of several sessions in one transaction, which takes some 0.05 ms for each

logger = logging.getLogger(__name__)


def purge(tx: Transaction, index: SearchIndex, most: int = AT_OPEN) -> bool:
    """Remove what is due, at most so many sessions; whether there were any."""
    # What another transaction has in its hands is purged by it, or restored; neither is waited for.
    lock = f"{tx.lock} SKIP LOCKED" if tx.lock else ""
    rows: list[Row] = []
    room = _MOST_MESSAGES
    for key, session_id, count in tx.all(
        f"SELECT key, id, message_count FROM sessions WHERE purge_at < ? ORDER BY purge_at LIMIT ?{lock}", now(), most
    ):
        if rows and count > room:
            break
        rows.append((key, session_id))
        room -= count
    remove(tx, index, rows)
    if rows:
        logger.info("Purged %d deleted sessions whose time was over: %s", len(rows), [id for _, id in rows])
    return bool(rows)


def remove(tx: Transaction, index: SearchIndex, rows: Sequence[Row]) -> None:
    """Sessions by key and id, with all that belongs to them."""
    for key, session_id in rows:
        index.drop_session(tx, key)
        # A copy may have brought a session back under an id that was purged here.
        tx.run("INSERT INTO purged_ids (id) VALUES (?) ON CONFLICT DO NOTHING", session_id)
        tx.run("DELETE FROM sessions WHERE key = ?", key)
