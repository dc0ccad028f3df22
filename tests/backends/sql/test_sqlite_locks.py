"""Waiting for changes by other processes without blocking the event loop."""

from pathlib import Path

import anyio
import pytest
from anyio.lowlevel import checkpoint

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Timeout
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.store_files import assert_whole, connected, dump, opened

# A rollback journal: in WAL mode no reader ever waits.
pytestmark = pytest.mark.usefixtures("rollback_journal")


@pytest.fixture
def rollback_journal(path: Path) -> None:
    with connected(path) as connection:
        connection.execute("PRAGMA journal_mode = TRUNCATE")
        connection.execute("CREATE TABLE made (it)")
        connection.execute("DROP TABLE made")


async def test_a_read_waits_while_another_process_writes(store: SessionBackend, path: Path) -> None:
    session = await store.create_session(name="Waited for")
    await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
    answers: list[object] = []

    async def ask() -> None:
        answers.append(await store.get_session(session.id))
        answers.append(await store.get_session_history(session.id))
        answers.append(await store.list_sessions(SessionFilter()))
        answers.append(await store.list_sessions(SessionFilter(query="waited")))
        answers.append(await store.search_sessions("hello"))

    with anyio.fail_after(5), connected(path) as another:
        another.execute("BEGIN EXCLUSIVE")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(ask)
            for _ in range(10):
                await checkpoint()
            assert answers == []
            another.execute("COMMIT")
    assert len(answers) == 5


async def test_a_change_waits_while_another_process_writes(store: SessionBackend, path: Path) -> None:
    session = await store.create_session(name="Before", state={"a": 1})
    with anyio.fail_after(5), connected(path) as another:
        another.execute("BEGIN IMMEDIATE")
        another.execute("UPDATE sessions SET state = '{\"b\":2}'")
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.update_session_state, session.id, {"c": 3})
            for _ in range(10):
                await checkpoint()
            assert (await store.get_session(session.id)).state == {"a": 1}
            another.execute("COMMIT")
    assert (await store.get_session(session.id)).state == {"b": 2, "c": 3}


async def test_a_lock_that_is_not_released_in_time_is_a_timeout_and_changes_nothing(path: Path) -> None:
    async with opened(path, timeout=0.01) as store:
        session = await store.create_session(name="Before")
        before = dump(path)
        with anyio.fail_after(5), connected(path) as another:
            another.execute("BEGIN EXCLUSIVE")
            for call in (
                store.get_session(session.id),
                store.list_sessions(SessionFilter()),
                store.list_sessions(SessionFilter(query="before")),
                store.search_sessions("before"),
                store.create_session(),
                store.rename_session(session.id, "After"),
                store.delete_session(session.id),
            ):
                with pytest.raises(Timeout, match=r"locked the store for 0\.01 s; nothing was changed"):
                    await call
            another.execute("ROLLBACK")
        assert dump(path) == before
        await store.rename_session(session.id, "After")


async def test_opening_waits_for_a_lock_and_ends_in_a_timeout(store: SessionBackend, path: Path) -> None:
    waiting = opened(path)
    with anyio.fail_after(5), connected(path) as another:
        another.execute("BEGIN EXCLUSIVE")
        with pytest.raises(Timeout):
            async with opened(path, timeout=0.01):
                pass
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(waiting.__aenter__)
            for _ in range(10):
                await checkpoint()
            another.execute("COMMIT")
    await waiting.create_session()
    await waiting.__aexit__(None, None, None)


async def test_a_long_read_of_another_process_does_not_block_changes_forever(store: SessionBackend, path: Path) -> None:
    session = await store.create_session(name="Before")
    with anyio.fail_after(5), connected(path) as another:
        another.execute("BEGIN")
        another.execute("SELECT * FROM sessions").fetchall()
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(store.rename_session, session.id, "After")
            for _ in range(10):
                await checkpoint()
            another.execute("COMMIT")
    assert (await store.get_session(session.id)).name == "After"


async def test_many_concurrent_calls_all_return(store: SessionBackend) -> None:
    session = await store.create_session(state={})

    async def work(number: int) -> None:
        await store.update_session_state(session.id, {f"{number}": number})
        await store.get_session(session.id)
        await store.search_sessions("nothing")
        await store.list_sessions(SessionFilter(query="nothing"))

    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:
            for number in range(50):
                tasks.start_soon(work, number)
    assert (await store.get_session(session.id)).state == {f"{number}": number for number in range(50)}


async def test_a_change_of_a_cancelled_caller_is_made_completely_or_not_at_all(
    store: SessionBackend, path: Path
) -> None:
    session = await store.create_session(name="Before")
    for number in range(20):
        with anyio.CancelScope() as scope:
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(store.rename_session, session.id, f"After {number}")
                for _ in range(number % 4):
                    await checkpoint()
                scope.cancel()
    found = await store.get_session(session.id)
    assert found.name == "Before" or found.name.startswith("After ")
    hits = (await store.search_sessions(found.name)).hits
    assert [hit.session_name for hit in hits] == [found.name]
    assert_whole(path)


async def test_a_long_scan_of_names_does_not_block_the_event_loop(store: SessionBackend, path: Path) -> None:
    with connected(path) as connection:
        connection.execute(
            "WITH RECURSIVE n (i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 50000)"
            " INSERT INTO sessions SELECT NULL, 'i' || i, 'n', 'n', 'agent', '', '', 0, i, i, NULL, NULL, 1, 0, 0,"
            " '', '{}', '{}' FROM n"
        )
    turns = 0
    with anyio.fail_after(20):
        async with anyio.create_task_group() as tasks:

            async def look() -> None:
                page = await store.list_sessions(SessionFilter(query="absent"))
                assert page.sessions == ()
                tasks.cancel_scope.cancel()

            tasks.start_soon(look)
            while not tasks.cancel_scope.cancel_called:
                turns += 1
                await checkpoint()
    assert turns > 10
