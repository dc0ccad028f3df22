"""Expired sessions are purged even if a store is never reopened."""

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.errors import NotFound
from mcp_sessions.models import NewMessage

AT_ONCE = 5


async def _delete(store: SessionBackend) -> str:
    session = await store.create_session(name="Very private")
    await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
    await store.delete_session(session.id)
    return session.id


async def test_each_deletion_purges_a_limited_number_of_expired_sessions(store: SessionBackend) -> None:
    assert isinstance(store, SqlBackend)
    ids = [await _delete(store) for _ in range(2 * AT_ONCE + 1)]
    young = ids.pop()

    def age(tx: Transaction) -> None:
        for place, session_id in enumerate(ids):
            tx.run("UPDATE sessions SET purge_at = ? WHERE id = ?", place + 1, session_id)

    def counts(tx: Transaction) -> list[int]:
        tables = ("sessions", "messages", "purged_ids")
        return [(tx.one(f"SELECT count(*) FROM {table}") or (0,))[0] for table in tables]

    await store.database.write(age)
    left: list[list[int]] = []
    for _ in range(3):
        await _delete(store)
        left.append(await store.database.scan(counts))
    assert left == [[7, 7, 5], [3, 3, 10], [4, 4, 10]]
    with pytest.raises(NotFound, match="no session"):
        await store.restore_session(ids[0])
    await store.restore_session(young)
    assert len((await store.search_sessions("hello")).hits) == 1


async def test_sessions_with_many_messages_are_purged_one_at_a_time(store: SessionBackend) -> None:
    assert isinstance(store, SqlBackend)
    for _ in range(2):
        await _delete(store)
    await store.database.write(lambda tx: tx.run("UPDATE sessions SET purge_at = 1, message_count = 4000"))
    left: list[int] = []
    for _ in range(2):
        await _delete(store)
        left.append(await store.database.scan(lambda tx: (tx.one("SELECT count(*) FROM sessions") or (0,))[0]))
    assert left == [2, 2]
