"""Many servers on one database: no change is lost, and users stay separate."""

from collections.abc import Awaitable, Callable, Sequence
from multiprocessing.synchronize import Barrier

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.sql import retention
from mcp_sessions.backends.sql import sessions as session_rows
from mcp_sessions.errors import Conflict, NotFound, Timeout
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.databases import EmptyDatabase, until
from ...support.store_processes import context, run_together

CLIENTS = 8  # four in each of two processes
INCREMENTS = 20

Increment = Callable[[SessionBackend, str], Awaitable[object]]


async def by_version(store: SessionBackend, session_id: str) -> None:
    while True:
        session = await store.get_session(session_id)
        try:
            increased = {"count": session.state["count"] + 1}
            await store.update_session_state(session_id, increased, expected_version=session.version)
        except Conflict:
            continue
        return


async def naively(store: SessionBackend, session_id: str) -> None:
    session = await store.get_session(session_id)
    await store.update_session_state(session_id, {"count": session.state["count"] + 1}, mode="replace")


async def by_appending(store: SessionBackend, session_id: str) -> None:
    await store.append_messages(session_id, [NewMessage(role="user", text="One more")] * 2)


def increment(url: str, session_id: str, how: Increment, together: Barrier) -> None:
    """Run in each process."""

    async def client(store: SessionBackend) -> None:
        for _ in range(INCREMENTS):
            await how(store, session_id)

    async def main() -> None:
        async with open_backend(url) as store, anyio.create_task_group() as tasks:
            together.wait()
            for _ in range(CLIENTS // 2):
                tasks.start_soon(client, store)

    anyio.run(main)


def _increment_in_two_processes(postgres: EmptyDatabase, session_id: str, how: Increment) -> None:
    processes = context()
    together = processes.Barrier(2)
    arguments = (postgres.url, session_id, how, together)
    run_together([processes.Process(target=increment, args=arguments) for _ in range(2)])


@pytest.mark.parametrize("how", [by_version, naively])
async def test_increments_guarded_by_versions_are_not_lost(postgres: EmptyDatabase, how: Increment) -> None:
    async with postgres.opened() as store:
        session = await store.create_session(state={"count": 0})
        _increment_in_two_processes(postgres, session.id, how)
        count = (await store.get_session(session.id)).state["count"]
    # If no change were lost without a version, this would prove nothing.
    assert (count == CLIENTS * INCREMENTS) is (how is by_version)


async def test_concurrent_changes_of_one_session_are_all_made(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        session = await store.create_session()
        _increment_in_two_processes(postgres, session.id, by_appending)
        session = await store.get_session(session.id)
        assert session.message_count == 2 * CLIENTS * INCREMENTS
        assert session.version == f"{CLIENTS * INCREMENTS + 1}"
        assert session.updated_at is not None
    numbers = [number for (number,) in postgres.sql("SELECT number FROM mcp_sessions.messages ORDER BY key")]
    assert sorted(numbers) == list(range(1, 2 * CLIENTS * INCREMENTS + 1))
    postgres.assert_whole()


async def test_changes_of_different_sessions_do_not_wait_for_each_other(postgres: EmptyDatabase) -> None:
    async with postgres.opened(timeout=5) as store:
        one, other = await store.create_session(), await store.create_session()
        with postgres.connected() as connection:
            connection.execute("BEGIN")
            connection.execute("SELECT 1 FROM mcp_sessions.sessions WHERE id = %s FOR UPDATE", (one.id,))
            await store.rename_session(other.id, "After")
            await store.list_sessions(SessionFilter())
            await store.get_session(one.id)


async def _delete(store: SessionBackend, postgres: EmptyDatabase, *, is_due: bool = True) -> str:
    session = await store.create_session(name="Trip")
    await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
    await store.delete_session(session.id)
    if is_due:
        postgres.sql("UPDATE mcp_sessions.sessions SET purge_at = 1 WHERE id = %s", session.id)
    return session.id


async def test_expired_sessions_are_purged_at_start_and_their_ids_stay_reserved(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        due, kept = await _delete(store, postgres), await _delete(store, postgres, is_due=False)
    async with postgres.opened() as store:
        with pytest.raises(NotFound, match="no session"):
            await store.restore_session(due)
        await store.restore_session(kept)
    assert postgres.sql("SELECT id FROM mcp_sessions.purged_ids") == [(due,)]
    postgres.assert_whole()


async def test_a_session_that_is_being_restored_is_not_purged_and_blocks_nobody(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        due, other = [await _delete(store, postgres, is_due=False) for _ in range(2)]
        postgres.sql("UPDATE mcp_sessions.sessions SET purge_at = 1")
        with postgres.connected() as restoring:
            restoring.execute("BEGIN")
            restoring.execute("UPDATE mcp_sessions.sessions SET purge_at = NULL, place = 0 WHERE id = %s", (due,))
            with anyio.fail_after(5):
                await _open(postgres)
                await _delete(store, postgres, is_due=False)
            restoring.execute("COMMIT")
        assert postgres.sql("SELECT id FROM mcp_sessions.purged_ids") == [(other,)]
        assert (await store.get_session(due)).message_count == 1
        assert len((await store.search_sessions("hello")).hits) == 1
    postgres.assert_whole()


async def test_a_session_that_is_purged_while_a_restore_waits_for_it_is_gone(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()
    async with store:
        due = await _delete(store, postgres)
        with postgres.connected() as holding:
            holding.execute("BEGIN")
            holding.execute("LOCK mcp_sessions.purged_ids")
            refused: list[NotFound] = []

            def purge(tx: Transaction) -> object:
                return retention.purge(tx, database.index)

            async def restore() -> None:
                try:
                    await store.restore_session(due)
                except NotFound as error:
                    refused.append(error)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(database.write, purge)
                await until(lambda: len(postgres.backends("wait_event_type = 'Lock'")) == 1)
                tasks.start_soon(restore)
                await until(lambda: len(postgres.backends("wait_event_type = 'Lock'")) == 2)
                holding.execute("COMMIT")
        assert len(refused) == 1
    assert postgres.sql("SELECT count(*) FROM mcp_sessions.sessions") == [(0,)]


async def _open(postgres: EmptyDatabase) -> None:
    async with postgres.opened():
        pass


async def test_servers_that_purge_at_the_same_time_share_the_work(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        ids = [await _delete(store, postgres, is_due=False) for _ in range(20)]
    postgres.sql("UPDATE mcp_sessions.sessions SET purge_at = 1")
    async with anyio.create_task_group() as tasks:
        for _ in range(4):
            tasks.start_soon(_open, postgres)
    assert sorted(id for (id,) in postgres.sql("SELECT id FROM mcp_sessions.purged_ids")) == sorted(ids)
    postgres.assert_whole()


async def test_an_id_that_another_server_just_used_is_not_used_again(
    postgres: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Both checked that the id is free before either inserted it."""
    ids = iter(["same2345", "same2345", "other234"])
    monkeypatch.setattr(session_rows, "_new_id", lambda: next(ids))
    async with postgres.opened() as store:
        with postgres.connected() as other:
            other.execute("BEGIN")
            other.execute(
                "INSERT INTO mcp_sessions.sessions (id, name, folded_name, type, agent_id, user_id, place, created_at,"
                " updated_at, version, message_count, run_count, summary, metadata, state)"
                " VALUES ('same2345', '', '', 'agent', '', '', 0, 1, 1, 1, 0, 0, '', '{}', '{}')"
            )
            made: list[str] = []

            async def create() -> None:
                made.append((await store.create_session()).id)

            async with anyio.create_task_group() as tasks:
                tasks.start_soon(create)
                await until(lambda: postgres.backends("wait_event_type = 'Lock'"))
                other.execute("COMMIT")
    assert made == ["other234"]


async def test_changes_in_a_deadlock_are_both_made(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()
    async with store:
        ids = [(await store.create_session()).id for _ in range(2)]

        async def rename(order: Sequence[str]) -> None:
            def work(tx: Transaction) -> None:
                for session_id in order:
                    stored = session_rows.find(tx, "", session_id)
                    session_rows.rename(tx, database.index, stored, f"{int(stored.name or 0) + 1}")
                    tx.one("SELECT pg_sleep(0.05)")

            await database.write(work)

        async with anyio.create_task_group() as tasks:
            for order in (ids, ids[::-1]):
                tasks.start_soon(rename, order)
        assert [(await store.get_session(session_id)).name for session_id in ids] == ["2", "2"]


async def test_changes_that_keep_deadlocking_end_in_time(postgres: EmptyDatabase) -> None:
    database, store = postgres.below(timeout=0.3)

    def work(tx: Transaction) -> None:
        tx.run("INSERT INTO purged_ids (id) VALUES ('x'), ('x')")

    async with store:
        with pytest.raises(Timeout, match="nothing was changed"):
            await database.write(work)
