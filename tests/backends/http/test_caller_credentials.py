"""Callers with their own credentials: no request uses, and no result depends on, the credential of another."""

import logging
import sqlite3
from collections.abc import AsyncGenerator, Callable, Coroutine, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager, closing
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound, SessionsError, Unauthorized, Unavailable
from mcp_sessions.models import SessionFilter

from ...contract.operations import CALLS
from ...support.faked_agentos import (
    MINUTE,
    Clock,
    GuardedAgentOs,
    name_of,
    on_each_fake,
    run_of,
    session,
    until,
    writes,
)
from ...support.faked_guayaba import KEY, seed
from ...support.fakes.agentos import FakeAgentOs
from ...support.fakes.guayaba import FakeGuayaba
from ...support.fakes.http import Request

Fake = FakeAgentOs | FakeGuayaba
Opened = AbstractAsyncContextManager[tuple[Fake, SessionBackend]]


@asynccontextmanager
async def on(url: str, folder: Path, token: str = "") -> AsyncGenerator[SessionBackend]:
    callers_have_credentials = not token
    async with open_backend(
        url, token=token, callers_have_credentials=callers_have_credentials, data_folder=str(folder)
    ) as backend:
        yield backend


@asynccontextmanager
async def agentos(folder: Path) -> AsyncGenerator[tuple[Fake, SessionBackend]]:
    async with GuardedAgentOs() as fake:
        fake.seed(*(session(f"of-{user}-{place}", user_id=user) for user in fake.users for place in range(3)))
        async with on(f"agentos+{fake.url}", folder) as backend:
            yield fake, backend


@asynccontextmanager
async def guayaba(folder: Path) -> AsyncGenerator[tuple[Fake, SessionBackend]]:
    async with FakeGuayaba() as fake:
        for agent in fake.agents:
            seed(fake, agent)
        async with on(f"guayaba+{fake.url}", folder) as backend:
            yield fake, backend


on_each = pytest.mark.parametrize("opened", [agentos, guayaba])


def of(backend: SessionBackend, credential: str) -> SessionBackend:
    return backend.for_caller(Caller(credential=credential))


def borne(requests: Sequence[Request]) -> list[str]:
    return [request.headers.get("authorization", "").removeprefix("Bearer ") for request in requests]


async def together(*calls: Callable[[], Coroutine[object, object, None]]) -> None:
    async with anyio.create_task_group() as tasks:
        for call in calls:
            tasks.start_soon(call)


async def all_of(view: SessionBackend) -> None:
    """Send every kind of request, for each session that is listed."""
    for listed in (await view.list_sessions(SessionFilter())).sessions:
        await view.get_session(listed.id)
        await view.rename_session(listed.id, f"{listed.name}, renamed")
        await view.get_session_history(listed.id)
        await view.archive_session(listed.id)
    await view.search_sessions("renamed")


async def test_each_request_to_agentos_has_its_callers_credential(tmp_path: Path) -> None:
    async with agentos(tmp_path) as (fake, backend):
        views = [of(backend, credential) for credential in ("ann-1", "ben-1", "ann-2")]
        await together(*(lambda view=view: all_of(view) for view in views))
        assert set(borne(fake.requests)) == {"ann-1", "ben-1", "ann-2"}
        for request in fake.requests:
            if "of-" in request.path:
                assert request.path.split("of-")[1][:3] == borne([request])[0][:3]


async def test_each_request_to_guayaba_has_its_callers_key(tmp_path: Path) -> None:
    async with guayaba(tmp_path) as (fake, backend):
        assert isinstance(fake, FakeGuayaba)
        keys = {fake.agent_key(agent): agent.id for agent in fake.agents[:2]}
        await together(*(lambda key=key: all_of(of(backend, key)) for key in keys))
        asked = [(key, request) for key, request in zip(borne(fake.requests), fake.requests, strict=True)]
        assert {key for key, _ in asked} == set(keys)
        for key, request in asked:
            if "sessions" in request.path or "archives" in request.path:
                assert f"/agents/{keys[key]}/" in request.path


async def test_the_form_of_ids_follows_the_kind_of_the_callers_key(tmp_path: Path) -> None:
    async with guayaba(tmp_path) as (fake, backend):
        assert isinstance(fake, FakeGuayaba)
        first, second, _ = fake.agents
        views = [of(backend, key) for key in (fake.agent_key(first), fake.master_key, fake.agent_key(second))]
        found = [(await view.list_sessions(SessionFilter())).sessions for view in views]
        assert [len(sessions) for sessions in found] == [1, 3, 1]
        assert [(sessions[0].agent_id, "/" in sessions[0].id) for sessions in (found[0], found[2])] == [
            (first.id, False),
            (second.id, False),
        ]
        assert all(listed.id.startswith(f"{listed.agent_id}/") for listed in found[1])


async def test_lists_cached_for_one_key_are_not_shown_for_others(tmp_path: Path) -> None:
    async with guayaba(tmp_path) as (fake, backend):
        assert isinstance(fake, FakeGuayaba)
        for agent in fake.agents:
            seed(fake, agent)
            agent.sessions[1].row["key"] += "-too"
        keys = (fake.agent_key(fake.agents[0]), fake.master_key)
        first = [await of(backend, key).list_sessions(SessionFilter(), limit=1) for key in keys]
        rest = await of(backend, keys[0]).list_sessions(SessionFilter(), cursor=first[0].next_cursor)
        assert len(rest.sessions) == 1
        assert (
            len((await of(backend, keys[1]).list_sessions(SessionFilter(), cursor=first[1].next_cursor)).sessions) == 5
        )
        assert set(borne(fake.requests)) == set(keys)


async def test_errors_tell_a_caller_only_what_the_caller_can_change(tmp_path: Path) -> None:
    async with guayaba(tmp_path) as (fake, backend):
        assert isinstance(fake, FakeGuayaba)
        for key, error in (
            (fake.agent_key(fake.foreign_agent), "which agent this key belongs to. Use another"),
            (fake.agent_key(fake.agents[0], ["agent:read"]), "your own credential lacks the scope agent:manage"),
        ):
            with pytest.raises(SessionsError, match=error) as caught:
                await of(backend, key).list_sessions(SessionFilter())
            assert "MCP_SESSIONS_TOKEN" not in caught.value.text
            assert "--backend" not in caught.value.text


@on_each
async def test_a_caller_without_a_credential_is_unauthorized_and_no_request_is_sent(
    opened: Callable[[Path], Opened], tmp_path: Path
) -> None:
    async with opened(tmp_path) as (fake, backend):
        with pytest.raises(Unauthorized, match="no credential was sent"):
            backend.for_caller(Caller(subject="ann"))
        session_id = f"{fake.agents[0].id}/{KEY}" if isinstance(fake, FakeGuayaba) else "of-ann-1"
        for operation in backend.capabilities - {Capability.APPLY_TO_SESSIONS}:  # which tells it of each session
            with pytest.raises(Unauthorized, match="no credential was sent"):
                await CALLS[operation](backend, session_id)
        assert fake.requests == []


@on_each
async def test_the_configured_credential_is_never_sent_for_a_caller_who_has_one(
    opened: Callable[[Path], Opened], tmp_path: Path
) -> None:
    async with opened(tmp_path) as (fake, _):
        scheme = "guayaba" if isinstance(fake, FakeGuayaba) else "agentos"
        async with on(f"{scheme}+{fake.url}", tmp_path, token="ann-configured") as backend:
            await until(lambda: scheme == "guayaba" or fake.requests)  # whether it is open to anybody is asked first
            begun = len(fake.requests)
            with pytest.raises(Unauthorized, match="your own credential") as caught:
                await of(backend, "wrong").list_sessions(SessionFilter())
            assert "MCP_SESSIONS_TOKEN" not in caught.value.text
            assert set(borne(fake.requests[begun:])) == {"wrong"}


@on_each
async def test_a_system_that_requires_a_credential_counts_as_reachable(
    opened: Callable[[Path], Opened], tmp_path: Path
) -> None:
    async with opened(tmp_path) as (fake, backend):
        await backend.check_reachable()
        assert set(borne(fake.requests)) == {""}
        await of(backend, fake.master_key if isinstance(fake, FakeGuayaba) else "ann-1").check_reachable()
        with pytest.raises(Unauthorized):
            await of(backend, "wrong").check_reachable()
        await fake.__aexit__(None, None, None)
        with pytest.raises(Unavailable):
            await backend.check_reachable()
        await fake.__aenter__()


@on_each_fake
async def test_nothing_learned_with_one_credential_is_used_for_another(version: str, tmp_path: Path) -> None:
    async with GuardedAgentOs("2.5.6" if version == "2.5.6" else "3.1.10") as fake:
        fake.seed(session("w", "workflow", user_id="ann"))
        async with on(f"agentos+{fake.url}", tmp_path) as backend:
            ann, again, ben = (of(backend, credential) for credential in ("ann-1", "ann-2", "ben-1"))
            await ann.get_session("w")
            counts: list[int] = []
            for view in (ann, again, ann):
                begun = len(fake.requests)
                await view.get_session("w")
                counts.append(len(fake.requests) - begun)
            assert counts == ([1, 3, 1] if version == "2.5.6" else [1, 1, 1])
            with pytest.raises(NotFound):
                await ben.get_session("w")
            assert sum(request.path in ("/info", "/openapi.json") for request in fake.requests) <= 2


@pytest.mark.slow
async def test_a_pending_write_uses_the_credential_that_made_it(
    tmp_path: Path, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.DEBUG)
    async with GuardedAgentOs() as fake:
        fake.seed(session("s", name="old", user_id="ann"), session("t", name="old", user_id="ben"))
        async with on(f"agentos+{fake.url}", tmp_path) as backend:
            ann, other, ben = (of(backend, credential) for credential in ("ann-1", "ann-2", "ben-1"))
            async with run_of(fake, "s"), run_of(fake, "t"):
                await ann.rename_session("s", "new")
                await ben.rename_session("t", "new")
            assert "a change of name" in (await ann.get_session("s")).note
            assert (await other.get_session("s")).note == ""
            for number in range(300):  # more than are kept: those who hold something stay
                await of(backend, f"ben-{number}").get_session("t")
            begun = len(fake.requests)
            clock.now += 2 * MINUTE
            await ann.update_session_state("s", {"news": 1})
            await ben.update_session_state("t", {"news": 1})
            await until(lambda: (name_of(fake, "s"), name_of(fake, "t")) == ("new", "new"))
        for request in writes(fake.requests[begun:]):
            assert borne([request]) == ["ann-1" if request.path.startswith("/sessions/s") else "ben-1"]
        assert "ann-1" not in caplog.text
        assert b"ann-1" not in (tmp_path / "agentos.db").read_bytes()


async def test_pending_writes_are_checked_when_their_credential_is_used_again(tmp_path: Path, clock: Clock) -> None:
    async with GuardedAgentOs() as fake:
        fake.seed(session("s", name="old", user_id="ann"))
        url = f"agentos+{fake.url}"
        async with run_of(fake, "s"), on(url, tmp_path) as backend:
            await of(backend, "ann-1").rename_session("s", "new")
        clock.now += MINUTE
        async with on(url, tmp_path) as backend:
            await of(backend, "ann-2").get_session("s")
            assert name_of(fake, "s") == "old"
            await of(backend, "ann-1").list_sessions(SessionFilter())
            await until(lambda: name_of(fake, "s") == "new")
        assert set(borne(writes(fake.requests))) == {"ann-1"}


@pytest.mark.slow
async def test_a_broken_journal_does_not_let_the_credentials_in_memory_grow(tmp_path: Path) -> None:
    async with GuardedAgentOs() as fake:
        fake.seed(session("s", user_id="ann"))
        async with on(f"agentos+{fake.url}", tmp_path) as backend:
            await of(backend, "ann").rename_session("s", "new")
            with closing(sqlite3.connect(tmp_path / "agentos.db")) as file:
                file.execute("DROP TABLE held")
            for number in range(300):
                assert (await of(backend, f"ann-{number}").get_session("s")).name == "new"


async def test_changes_of_a_session_with_two_credentials_are_serialized(tmp_path: Path) -> None:
    async with GuardedAgentOs() as fake:
        fake.seed(session("s", user_id="ann"))
        async with on(f"agentos+{fake.url}", tmp_path) as backend:

            async def count(number: int) -> None:
                await of(backend, f"ann-{number % 4}").update_session_state("s", {f"n{number}": number})

            await together(*(lambda number=number: count(number) for number in range(24)))
            state = (await of(backend, "ann-0").get_session("s")).state
            assert state == {f"n{number}": number for number in range(24)}
