"""The purge of deleted sessions that can no longer be restored. Their ids are never reused."""

import logging
from collections.abc import Sequence

from ..database.database import Row, SearchIndex, Transaction
from ..database.times import now_micros

BATCH_AT_OPEN = 100  # sessions in one transaction, so that other changes don't wait long
BATCH_AT_DELETION = 5  # more than the one that is being deleted, so that a backlog shrinks
_MAX_MESSAGES = 5_000  # of all sessions in one transaction; each message takes about 0.05 ms

logger = logging.getLogger(__name__)


def purge(tx: Transaction, index: SearchIndex, limit: int = BATCH_AT_OPEN) -> bool:
    """Purge up to `limit` deleted sessions whose retention time is over. Return whether there were any."""
    # A row that another transaction has locked is being purged or restored there.
    lock = f"{tx.lock} SKIP LOCKED" if tx.lock else ""
    rows: list[Row] = []
    remaining_messages = _MAX_MESSAGES
    for key, session_id, count in tx.all(
        f"SELECT key, id, message_count FROM sessions WHERE purge_at < ? ORDER BY purge_at LIMIT ?{lock}",
        now_micros(),
        limit,
    ):
        if rows and count > remaining_messages:
            break
        rows.append((key, session_id))
        remaining_messages -= count
    remove(tx, index, rows)
    if rows:
        logger.info("Purged %d deleted sessions whose retention time was over: %s", len(rows), [id for _, id in rows])
    return bool(rows)


def remove(tx: Transaction, index: SearchIndex, rows: Sequence[Row]) -> None:
    """Delete sessions, given by key and id, with their messages and index entries. Record their ids as used."""
    for key, session_id in rows:
        index.drop_session(tx, key)
        # The id may already be recorded: a copy can add a session whose id was purged here before.
        tx.run("INSERT INTO purged_ids (id) VALUES (?) ON CONFLICT DO NOTHING", session_id)
        tx.run("DELETE FROM sessions WHERE key = ?", key)
