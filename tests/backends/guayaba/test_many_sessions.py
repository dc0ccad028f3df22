"""Thousands of sessions of several agents, page by page, from lists that are fetched once."""

from collections.abc import AsyncGenerator, Callable

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.guayaba import directory
from mcp_sessions.models import SessionFilter

from ...support.faked_guayaba import Tools, on, served
from ...support.fakes.guayaba import Agent, FakeGuayaba
from ...support.fakes.guayaba.seeds import row

EACH = 2_000
BEGAN = 1_714_564_800_000


def _seed(fake: FakeGuayaba, agent: Agent, count: int) -> set[str]:
    """Add sessions, of which many share a time and some have none, and return their ids."""
    for place in range(count):
        moment = BEGAN + place // 7 * 1000 if place % 100 else 0
        label = f"Session number {place} of {agent.name}"
        fake.add_session(agent, row(f"agent:main:api:{place}", fake.new_id(), label=label, updatedAt=moment))
    return {f"{agent.id}/agent:main:api:{place}" for place in range(count)}


@pytest.fixture
async def some() -> AsyncGenerator[tuple[FakeGuayaba, set[str]]]:
    async with FakeGuayaba() as fake:
        yield fake, {id for agent in fake.agents for id in _seed(fake, agent, 40)}


async def _walk(
    tools: Tools, most_chars: int, between: Callable[[int], None] = lambda _: None, **given: object
) -> list[str]:
    ids: list[str] = []
    page = await tools.call("list_sessions", **given)
    for number in range(1, 2000):
        assert len(str(page)) <= 1.2 * most_chars
        ids += [session["id"] for session in page["sessions"]]
        if "next_cursor" not in page:
            return ids
        between(number)
        page = await tools.call("list_sessions", cursor=page["next_cursor"], **given)
    pytest.fail("the walk did not end")


@pytest.mark.load
async def test_thousands_of_sessions_are_listed_once_and_fetched_once() -> None:
    async with FakeGuayaba() as fake:
        expected = {id for agent in fake.agents for id in _seed(fake, agent, EACH)}
        async with served(fake) as tools:
            ids = await _walk(tools, 24_000, limit=100)
            assert (len(ids), set(ids)) == (3 * EACH, expected)
            assert len(fake.requests) == 1 + len(fake.agents)


@pytest.mark.parametrize("order", ["updated_desc", "updated_asc"])
@pytest.mark.parametrize("most_chars", [2_000, 5_000, 24_000])
async def test_pages_cut_to_the_budget_continue_where_they_end(
    some: tuple[FakeGuayaba, set[str]], most_chars: int, order: str
) -> None:
    fake, expected = some
    async with served(fake, max_chars=most_chars) as tools:
        ids = await _walk(tools, most_chars, limit=100, order=order)
        assert (len(ids), set(ids), len(fake.requests)) == (len(expected), expected, 4)


@pytest.mark.parametrize("order", ["updated_desc", "updated_asc"])
async def test_a_list_continues_at_its_position_after_its_cache_was_dropped(
    some: tuple[FakeGuayaba, set[str]], order: str
) -> None:
    fake, expected = some
    async with served(fake) as tools:
        first = await tools.call("list_sessions", limit=50, order=order)
        taken = [session["id"] for session in first["sessions"]]
        agent, _, key = (expected - set(taken)).pop().partition("/")
        await tools.call("rename_session", session_id=f"{agent}/{key}", name="As it was")  # gives the lists up
        fake.now = lambda: 0  # a rename sets the time
        rest = await _rest(tools, first["next_cursor"], limit=50, order=order)
        moved = f"{agent}/{key}"
        assert [id for id in taken + rest if id != moved] == list(
            dict.fromkeys(id for id in taken + rest if id != moved)
        )
        assert expected - {moved} == set(taken + rest) - {moved}


async def _rest(tools: Tools, cursor: str, **given: object) -> list[str]:
    ids: list[str] = []
    while cursor:
        page = await tools.call("list_sessions", cursor=cursor, **given)
        ids += [session["id"] for session in page["sessions"]]
        cursor = page.get("next_cursor", "")
    return ids


@pytest.mark.parametrize("keeps", [True, False], ids=["lists kept", "lists given up"])
@pytest.mark.parametrize("order", ["updated_desc", "updated_asc"])
async def test_a_session_is_listed_once_while_others_are_created_changed_and_deleted(
    some: tuple[FakeGuayaba, set[str]], order: str, keeps: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    fake, expected = some
    monkeypatch.setattr(directory, "_CACHE_SECONDS", 60 if keeps else 0)
    touched: set[str] = set()

    def between(number: int) -> None:
        for agent in fake.agents:
            gone, changed = agent.sessions.pop(0), agent.sessions[number % 20]
            changed.row["updatedAt"] = BEGAN + number * 977
            new = fake.add_session(
                agent, row(f"agent:main:new:{number}", fake.new_id(), updatedAt=BEGAN + number * 311)
            )
            touched.update(f"{agent.id}/{session.key}" for session in (gone, changed, new))

    async with served(fake) as tools:
        ids = await _walk(tools, 24_000, between, limit=10, order=order)
        stayed = [id for id in ids if id not in touched]
        assert (len(stayed), set(stayed)) == (len(expected - touched), expected - touched)
        assert (len(fake.requests) == 4) == keeps


async def test_first_pages_and_single_sessions_are_never_cached(some: tuple[FakeGuayaba, set[str]]) -> None:
    fake, expected = some
    agent = fake.agents[0]
    async with on(fake) as backend:
        assert (await backend.list_sessions(SessionFilter(), limit=1)).total == len(expected)
        session = agent.sessions.pop()
        assert (await backend.list_sessions(SessionFilter(), limit=1)).total == len(expected) - 1
        fake.add_session(agent, session.row | {"label": "Back"})
        assert (await backend.get_session(f"{agent.id}/{session.key}")).name == "Back"


async def test_cached_lists_expire(some: tuple[FakeGuayaba, set[str]], monkeypatch: pytest.MonkeyPatch) -> None:
    fake, _ = some
    async with on(fake) as backend:
        first = await backend.list_sessions(SessionFilter(), limit=10)
        asked = len(fake.requests)
        for number in range(50):
            await backend.list_sessions(SessionFilter(agent_id=f"{number}" * 1000))
        assert _kept(backend) == 1
        await backend.list_sessions(SessionFilter(), limit=10, cursor=first.next_cursor)
        assert len(fake.requests) == asked + 50
        monkeypatch.setattr(directory, "_MAX_CACHED", 100)
        await backend.list_sessions(SessionFilter(), limit=10)
        assert _kept(backend) == 0


def _kept(backend: SessionBackend) -> int:
    cache: directory.ListingCache = vars(backend)["_cache"]
    return len(vars(cache)["_listings"])


async def test_two_lists_at_the_same_time_are_independent(some: tuple[FakeGuayaba, set[str]]) -> None:
    fake, expected = some
    found: list[list[str]] = []
    async with served(fake) as tools:

        async def walk(limit: int) -> None:
            found.append(await _walk(tools, 24_000, limit=limit))

        async with anyio.create_task_group() as tasks:
            for limit in (7, 20, 33):
                tasks.start_soon(walk, limit)
        assert [(len(ids), set(ids)) for ids in found] == [(len(expected), expected)] * 3
