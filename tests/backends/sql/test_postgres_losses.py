"""Connections that break at any point of a call: the call still succeeds, and no change is made twice."""

from collections.abc import AsyncGenerator, Awaitable, Callable
from signal import SIGINT, SIGKILL, SIGQUIT, Signals
from threading import Event

import anyio
import anyio.to_thread
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.errors import OutcomeUnknown, SessionsError, Unavailable
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.databases import EmptyDatabase, until
from ...support.servers.postgres_process import Postgres
from ...support.servers.postgres_proxy import Fault, Proxy, before

CLIENTS = 8


@pytest.fixture
async def proxy(postgres: EmptyDatabase) -> AsyncGenerator[Proxy]:
    async with before(postgres.server.port) as made:
        yield made


def _through(proxy: Proxy, postgres: EmptyDatabase, timeout: float = 25) -> SessionBackend:
    return open_backend(postgres.url.replace(f":{postgres.server.port}/", f":{proxy.port}/"), timeout=timeout)


def _kill(postgres: EmptyDatabase) -> None:
    for pid in postgres.backends():
        postgres.server.sql("SELECT pg_terminate_backend(%s, 5000)", pid)


async def test_connections_that_broke_while_idle_are_replaced(postgres: EmptyDatabase) -> None:
    async with postgres.opened() as store:
        async with anyio.create_task_group() as tasks:
            for _ in range(CLIENTS):
                tasks.start_soon(store.list_sessions, SessionFilter())
        _kill(postgres)
        session = await store.create_session(name="Trip")
        _kill(postgres)
        assert (await store.get_session(session.id)).name == "Trip"


@pytest.mark.parametrize("kind", ["read", "scan", "write"])
async def test_work_is_repeated_if_its_connection_breaks(postgres: EmptyDatabase, kind: str) -> None:
    database, store = postgres.below()
    tries: list[int] = []

    def work(tx: Transaction) -> int:
        tries.append(1)
        tx.one("SELECT count(*) FROM sessions")
        if len(tries) == 1:
            _kill(postgres)
        tx.one("SELECT count(*) FROM sessions")
        return len(tries)

    async with store:
        run: Callable[[Callable[[Transaction], int]], Awaitable[int]] = getattr(database, kind)
        assert await run(work) == 2


async def test_a_call_gives_up_if_every_connection_breaks(postgres: EmptyDatabase) -> None:
    database, store = postgres.below()
    tries: list[int] = []

    def work(tx: Transaction) -> None:
        tries.append(1)
        tx.one("SELECT pg_terminate_backend(pg_backend_pid(), 1000)")

    async with store:
        with pytest.raises(Unavailable, match="broke several times"):
            await database.write(work)
        assert len(tries) == 3


@pytest.mark.parametrize("fault", ["unsent", "unanswered"])
async def test_a_change_whose_commit_is_interrupted_is_made_once(
    postgres: EmptyDatabase, proxy: Proxy, fault: Fault
) -> None:
    async with _through(proxy, postgres) as store:
        session = await store.create_session(state={"count": 1})
        for count in range(3):
            before_it = proxy.commits
            proxy.at_commit = fault
            change = await store.append_messages(session.id, [NewMessage(role="user", text=f"{count}")])
            assert change.version == f"{count + 2}"
            # A committed change is not repeated; one that was not committed is.
            assert proxy.commits - before_it == (3 if fault == "unsent" else 2)
        texts = [message.text for message in (await store.get_session_history(session.id)).messages]
        assert texts == ["0", "1", "2"]
    postgres.assert_whole()


async def test_the_first_change_of_a_connection_whose_commit_is_interrupted_is_made_once(
    postgres: EmptyDatabase, proxy: Proxy
) -> None:
    async with postgres.opened():
        pass
    for fault in ("unsent", "unanswered"):
        async with _through(proxy, postgres) as store:
            _kill(postgres)
            await store.list_sessions(SessionFilter())
            proxy.at_commit = fault
            await store.create_session(name=fault)
    assert postgres.sql("SELECT name FROM mcp_sessions.sessions ORDER BY key") == [("unsent",), ("unanswered",)]


@pytest.mark.parametrize("fault", ["unsent", "unanswered", "silent"])
async def test_an_outcome_that_cannot_be_determined_in_time_is_reported_as_unknown(
    postgres: EmptyDatabase, proxy: Proxy, fault: Fault
) -> None:
    async with _through(proxy, postgres, timeout=1) as store:
        session = await store.create_session(name="Before")
        proxy.at_commit, proxy.closes_after = fault, True
        with pytest.raises(OutcomeUnknown, match="Read the session before you repeat the change"):
            await store.rename_session(session.id, "After")
        proxy.is_closed = False
        assert (await store.get_session(session.id)).name in ("Before", "After")


async def test_a_change_that_is_refused_at_commit_is_not_made(postgres: EmptyDatabase) -> None:
    """The reason may be anything that an operator has added, here a trigger that ends the connection."""
    async with postgres.opened() as store:
        session = await store.create_session(name="Before")
        postgres.sql(
            "CREATE FUNCTION die() RETURNS trigger LANGUAGE plpgsql AS"
            " $$ BEGIN PERFORM pg_terminate_backend(pg_backend_pid(), 1000); RETURN NULL; END $$"
        )
        postgres.sql(
            "CREATE CONSTRAINT TRIGGER dies AFTER UPDATE ON mcp_sessions.sessions"
            " DEFERRABLE INITIALLY DEFERRED FOR EACH ROW EXECUTE FUNCTION die()"
        )
        with pytest.raises(Unavailable, match="broke several times"):
            await store.rename_session(session.id, "After")
        assert (await store.get_session(session.id)).name == "Before"


async def _append(store: SessionBackend, session_id: str, client: int, done: Event, acknowledged: list[str]) -> None:
    number = 0
    while not done.is_set():
        text = f"{client}-{number}"
        await store.append_messages(session_id, [NewMessage(role="user", text=text)])
        acknowledged.append(text)
        number += 1


async def _read(store: SessionBackend, session_id: str, done: Event, counts: list[int]) -> None:
    while not done.is_set():
        counts.append((await store.get_session(session_id)).message_count or 0)


@pytest.mark.parametrize("how", [SIGINT, SIGQUIT, SIGKILL])
async def test_calls_succeed_after_a_restart_of_the_server(own_server: Postgres, how: Signals) -> None:
    postgres = EmptyDatabase(own_server, own_server.database())
    done = Event()
    acknowledged: list[str] = []
    counts: list[int] = []

    def restart() -> None:
        own_server.stop(how)
        own_server.start()

    async def restart_after(changes: int) -> None:
        await until(lambda: len(acknowledged) >= changes)
        await anyio.to_thread.run_sync(restart)

    async with postgres.opened() as store, postgres.opened() as other:
        session = await store.create_session()
        with anyio.fail_after(60):
            async with anyio.create_task_group() as tasks:
                for client in range(CLIENTS):
                    through = (store, other)[client % 2]
                    tasks.start_soon(_append, through, session.id, client, done, acknowledged)
                tasks.start_soon(_read, store, session.id, done, counts)
                for _ in range(3):
                    await restart_after(len(acknowledged) + 40)
                done.set()
    rows = postgres.sql("SELECT text FROM mcp_sessions.messages ORDER BY number")
    assert sorted(text for (text,) in rows) == sorted(acknowledged)
    assert counts == sorted(counts)
    postgres.assert_whole()


async def test_a_server_that_is_down_is_unavailable_until_it_returns(own_server: Postgres) -> None:
    postgres = EmptyDatabase(own_server, own_server.database())
    async with postgres.opened(timeout=2) as store:
        own_server.stop()
        try:
            with pytest.raises(SessionsError) as refused:
                await store.list_sessions(SessionFilter())
        finally:
            own_server.start()
        assert refused.value.text.startswith("unavailable: PostgreSQL can't be reached.")
        assert (await store.list_sessions(SessionFilter())).sessions == ()
