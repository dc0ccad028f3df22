"""Calls that time out, calls that are cancelled, and a pool that is exhausted."""

from collections.abc import Awaitable, Callable
from errno import EMFILE
from signal import SIGCONT, SIGSTOP
from threading import Event
from time import monotonic

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.database.postgres import CONNECTIONS
from mcp_sessions.errors import Busy, OutcomeUnknown, SessionsError, Timeout
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.databases import EmptyDatabase, asleep, until
from ...support.servers.postgres_process import Postgres

GRACE = 3  # seconds, for a busy machine; a call that waited for a frozen server would take forever

CALLS: dict[str, Callable[[SessionBackend, str], Awaitable[object]]] = {
    "list": lambda store, own: store.list_sessions(SessionFilter()),
    "get": lambda store, own: store.get_session(own),
    "search": lambda store, own: store.search_sessions("word"),
    "rename": lambda store, own: store.rename_session(own, "After"),
    "append": lambda store, own: store.append_messages(own, [NewMessage(role="user", text="Hello")]),
}


@pytest.mark.parametrize("what", CALLS)
async def test_a_frozen_server_does_not_delay_a_call_beyond_its_timeout(own_server: Postgres, what: str) -> None:
    postgres = EmptyDatabase(own_server, own_server.database())
    async with postgres.opened(timeout=0.5) as store:
        session = await store.create_session(name="Before")
        frozen = postgres.backends()
        try:
            own_server.send(SIGSTOP)
            for pid in frozen:
                own_server.send_to(pid, SIGSTOP)
            for _ in range(2):  # on a pooled connection, then on a new one
                with anyio.fail_after(0.5 + GRACE), pytest.raises(Timeout, match="nothing was changed") as late:
                    await CALLS[what](store, session.id)
                assert late.value.text.isprintable()
        finally:
            for pid in frozen:
                own_server.send_to(pid, SIGCONT)
            own_server.send(SIGCONT)
        await until(lambda: not set(frozen) & set(postgres.backends()))
        assert (await store.get_session(session.id)).name == "Before"
        await CALLS[what](store, session.id)


async def test_a_call_to_a_frozen_server_can_be_cancelled(own_server: Postgres) -> None:
    postgres = EmptyDatabase(own_server, own_server.database())
    database, store = postgres.below()
    async with store:
        frozen = postgres.backends()
        try:
            own_server.send(SIGSTOP)
            for pid in frozen:
                own_server.send_to(pid, SIGSTOP)
            with anyio.fail_after(2 + GRACE), anyio.move_on_after(0.2) as scope:
                await database.read(asleep)
            assert scope.cancelled_caught
        finally:
            for pid in frozen:
                own_server.send_to(pid, SIGCONT)
            own_server.send(SIGCONT)
        await store.list_sessions(SessionFilter())


async def test_a_server_that_freezes_during_the_commit_leaves_the_outcome_unknown(own_server: Postgres) -> None:
    postgres = EmptyDatabase(own_server, own_server.database())
    database, store = postgres.below(timeout=0.5)
    frozen: list[int] = []

    def work(tx: Transaction) -> None:
        ((pid,),) = tx.all("SELECT pg_backend_pid()")
        own_server.send_to(pid, SIGSTOP)
        frozen.append(pid)

    async with store:
        try:
            with anyio.fail_after(0.5 + GRACE), pytest.raises(OutcomeUnknown):
                await database.write(work)
        finally:
            own_server.send_to(frozen[0], SIGCONT)


async def test_endless_work_does_not_delay_a_call_beyond_its_timeout(postgres: EmptyDatabase) -> None:
    database, store = postgres.below(timeout=0.3)
    let_go, ran_on = Event(), Event()

    def work(tx: Transaction) -> None:
        tx.run("INSERT INTO purged_ids (id) VALUES ('x')")
        let_go.wait(60)
        ran_on.set()

    async with store:
        with anyio.fail_after(0.3 + GRACE), pytest.raises(Timeout, match="nothing was changed"):
            await database.write(work)
        let_go.set()
        await until(ran_on.is_set)
        await until(lambda: not postgres.backends("state = 'idle in transaction'"))
        assert postgres.sql("SELECT id FROM mcp_sessions.purged_ids") == []


async def test_a_deadline_between_two_statements_is_a_timeout(
    postgres: EmptyDatabase, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same if the call's thread notices this before its connection is closed."""
    database, store = postgres.below(timeout=0.3)

    def fail(descriptor: int) -> int:
        raise OSError(EMFILE, "Too many open files")

    def work(tx: Transaction) -> None:
        while True:
            tx.run("INSERT INTO purged_ids (id) VALUES ('x') ON CONFLICT DO NOTHING")

    async with store:
        with monkeypatch.context() as patched:
            patched.setattr("os.dup", fail)
            with anyio.fail_after(0.3 + GRACE), pytest.raises(Timeout, match="nothing was changed"):
                await database.write(work)
        assert await database.read(lambda tx: tx.all("SELECT id FROM purged_ids")) == []


async def test_a_change_of_a_locked_session_times_out_and_changes_nothing(postgres: EmptyDatabase) -> None:
    async with postgres.opened(timeout=0.5) as store:
        session = await store.create_session(name="Before")
        with postgres.connected() as other:
            other.execute("BEGIN")
            other.execute("SELECT 1 FROM mcp_sessions.sessions FOR UPDATE")
            with pytest.raises(Timeout, match="other calls locked the store"):
                await store.rename_session(session.id, "After")
            assert (await store.get_session(session.id)).name == "Before"
        assert (await store.rename_session(session.id, "After")).version == "2"


async def test_the_server_cancels_a_statement_that_takes_too_long(postgres: EmptyDatabase) -> None:
    database, store = postgres.below(timeout=0.5)
    async with store:
        with pytest.raises(Timeout, match="did not finish within"):
            await database.scan(asleep)
        (pid,) = postgres.backends()
        await store.list_sessions(SessionFilter())
        assert postgres.backends() == [pid]


async def test_a_search_that_runs_out_of_time_says_so(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        session = await store.create_session(name="word")
        await store.append_messages(session.id, [NewMessage(role="user", text="word")])
        with postgres.connected() as other:
            other.execute("BEGIN")
            other.execute("LOCK mcp_sessions.message_index")
            page = await store.search_sessions("word")
        assert ([hit.message_id for hit in page.hits], page.complete) == ([""], False)
        assert page.note.startswith("The search took too long and stopped here")
        page = await store.search_sessions("word", cursor=page.next_cursor)
        assert ([hit.message_id for hit in page.hits], page.complete) == (["m1"], True)


@pytest.mark.parametrize("kind", ["read", "write"])
async def test_a_cancelled_call_ends_its_statement_on_the_server_at_once(postgres: EmptyDatabase, kind: str) -> None:
    database, store = postgres.below()
    run = {"read": database.read, "write": database.write}[kind]
    async with store:
        pids = postgres.backends()
        for _ in range(5):
            began = monotonic()
            with anyio.CancelScope() as scope:
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(run, asleep)
                    await until(lambda: postgres.backends("query LIKE '%%pg_sleep%%' AND state = 'active'"))
                    began = monotonic()
                    scope.cancel()
            # The statement was cancelled before the call returned.
            assert monotonic() - began < 0.1 + GRACE
            assert postgres.backends("state <> 'idle'") == []
            assert postgres.backends() == pids
        await store.list_sessions(SessionFilter())


async def test_a_cancelled_change_is_made_completely_or_not_at_all(postgres: EmptyDatabase) -> None:
    messages = [NewMessage(role="user", text=f"{number}") for number in range(10)]
    async with postgres.opened() as store:
        session = await store.create_session()
        cancelled = 0
        for number in range(60):
            with anyio.move_on_after(number / 2000) as scope:
                await store.append_messages(session.id, messages)
            cancelled += scope.cancelled_caught
        detail = await store.get_session(session.id)
        count = detail.message_count or 0
        assert cancelled > 0
        assert (60 - cancelled) * 10 <= count <= 600
        assert count % 10 == 0
        assert detail.version == f"{count // 10 + 1}"
        assert postgres.sql("SELECT count(*) FROM mcp_sessions.messages") == [(count,)]
        assert postgres.backends("state <> 'idle'") == []
    postgres.assert_whole()


async def test_cancelled_calls_release_their_connections(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()
    async with store:
        for _ in range(3):
            async with anyio.create_task_group() as tasks:
                for _ in range(2 * CONNECTIONS):
                    tasks.start_soon(database.read, asleep)
                await until(
                    lambda: len(postgres.backends("query LIKE '%%pg_sleep%%' AND state = 'active'")) == CONNECTIONS
                )
                tasks.cancel_scope.cancel()
        assert len(postgres.backends()) <= CONNECTIONS
        with anyio.fail_after(GRACE):
            await store.list_sessions(SessionFilter())


async def test_a_call_that_gets_no_connection_is_told_to_try_again(postgres: EmptyDatabase) -> None:
    database, store = postgres.below(timeout=1)
    refused: list[SessionsError] = []

    async def ask() -> None:
        try:
            await database.read(lambda tx: tx.one("SELECT pg_sleep(0.3)"))
        except SessionsError as error:
            refused.append(error)

    async with store:
        async with anyio.create_task_group() as tasks:
            for _ in range(10 * CONNECTIONS):
                tasks.start_soon(ask)
        assert {type(error) for error in refused} <= {Busy, Timeout}  # some got a connection too late
        assert min(error.text for error in refused).startswith(
            f"busy: all {CONNECTIONS} connections to PostgreSQL were in use for 1 s; nothing was"
        )
        await store.list_sessions(SessionFilter())


async def test_calls_that_wait_for_a_frozen_server_are_not_told_that_it_is_busy(
    own_server: Postgres,
) -> None:
    postgres = EmptyDatabase(own_server, own_server.database())
    database, store = postgres.below(timeout=0.5)
    refused: list[SessionsError] = []

    async def ask() -> None:
        try:
            await database.read(asleep)
        except SessionsError as error:
            refused.append(error)

    async with store:
        frozen: list[int] = []
        try:
            async with anyio.create_task_group() as tasks:
                for _ in range(2 * CONNECTIONS):
                    tasks.start_soon(ask)
                await until(lambda: len(postgres.backends("state = 'active'")) == CONNECTIONS)
                frozen = postgres.backends()
                own_server.send(SIGSTOP)
                for pid in frozen:
                    own_server.send_to(pid, SIGSTOP)
        finally:
            for pid in frozen:
                own_server.send_to(pid, SIGCONT)
            own_server.send(SIGCONT)
        assert [type(error) for error in refused] == [Timeout] * 2 * CONNECTIONS


async def test_no_more_connections_are_opened_than_needed(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        for _ in range(20):
            await store.list_sessions(SessionFilter())
        assert len(postgres.backends()) == 1
        async with anyio.create_task_group() as tasks:
            for _ in range(100):
                tasks.start_soon(store.list_sessions, SessionFilter())
        assert 1 < len(postgres.backends()) <= CONNECTIONS
    await until(lambda: not postgres.backends())
