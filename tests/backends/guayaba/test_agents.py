"""The agents that a key reaches, and notes on unavailable ones."""

from collections.abc import AsyncGenerator
from dataclasses import replace

import pytest

from mcp_sessions.errors import Forbidden, NotFound
from mcp_sessions.models import SessionFilter

from ...support.faked_guayaba import on, outcome, posts
from ...support.fakes.guayaba import MAIN, READINGS, FakeGuayaba, Fault, limited, shaped
from ...support.fakes.guayaba.seeds import row, user

MANY = 1_030


@pytest.fixture
async def fake() -> AsyncGenerator[FakeGuayaba]:
    """Yield a fake with three agents, whose main sessions all have the same key."""
    async with FakeGuayaba() as fake:
        for place, agent in enumerate(fake.agents):
            label, moment = f"Of {agent.name}", 1_714_564_800_000 + place
            fake.add_session(agent, row(MAIN, fake.new_id(), label=label, updatedAt=moment), [user("Hello")])
        yield fake


@pytest.mark.parametrize("reading", READINGS)
async def test_an_agents_key_finds_its_own_agent(reading: str) -> None:
    async with FakeGuayaba(reading) as fake:
        for agent in fake.agents:
            fake.add_session(agent, row(MAIN, fake.new_id(), label=agent.name))
        async with on(fake, fake.agent_key(fake.agents[2])) as backend:
            (session,) = (await backend.list_sessions(SessionFilter())).sessions
            assert (session.id, session.name, session.agent_id) == (MAIN, "Agent 3", fake.agents[2].id)
            asked = len(fake.requests)
            assert (await backend.rename_session(MAIN, "Mine")).session_id == MAIN
            assert [session.row["label"] for agent in fake.agents for session in agent.sessions] == [
                "Agent 1",
                "Agent 2",
                "Mine",
            ]
            assert all("/agents/" + fake.agents[2].id in request.path for request in fake.requests[asked:])


async def test_the_error_about_a_key_of_no_known_agent_says_what_to_do(fake: FakeGuayaba) -> None:
    token = fake.agent_key(fake.foreign_agent)
    async with on(fake, token) as backend:
        with pytest.raises(NotFound, match="agent=UUID"):
            await backend.list_sessions(SessionFilter())


async def test_a_master_key_distinguishes_sessions_of_different_agents(fake: FakeGuayaba) -> None:
    async with on(fake) as backend:
        listed = (await backend.list_sessions(SessionFilter())).sessions
        assert [session.id for session in listed] == [f"{agent.id}/{MAIN}" for agent in reversed(fake.agents)]
        await backend.delete_session(listed[1].id)
        assert [len(agent.sessions) for agent in fake.agents] == [1, 0, 1]
        assert (await backend.get_session(listed[0].id)).name == "Of Agent 3"


async def test_an_agent_id_in_the_url_or_a_filter_can_be_in_capitals(fake: FakeGuayaba) -> None:
    agent = fake.agents[1]
    async with on(fake, query=f"?agent={agent.id.upper()}") as backend:
        assert (await backend.get_session(MAIN)).name == "Of Agent 2"
    async with on(fake) as backend:
        page = await backend.list_sessions(SessionFilter(agent_id=agent.id.upper()))
        assert [session.agent_id for session in page.sessions] == [agent.id]


async def test_a_session_has_only_one_id(fake: FakeGuayaba) -> None:
    """Else the current session could be deleted by another spelling of its id."""
    agent = fake.agents[1].id
    async with on(fake) as backend:
        for id in (f"{agent.upper()}/{MAIN}", MAIN, f"{agent}/main", f"{agent}//{MAIN}", f"{agent}", f"/{MAIN}", "/"):
            assert await outcome(lambda backend, given=id: backend.delete_session(given), backend) == "not_found"
        assert posts(fake) == []


@pytest.mark.parametrize("archived", [False, True])
@pytest.mark.parametrize("why", ["stopped", "403", "404", "dropped", "nonsense"])
async def test_the_sessions_of_other_agents_are_listed_if_one_agent_fails(
    fake: FakeGuayaba, why: str, archived: bool
) -> None:
    for agent in fake.agents:
        fake.add_archive(agent, row("agent:main:old", fake.new_id()))
    away = fake.agents[1]
    if why == "stopped":
        away.status = "stopped"
    elif why == "dropped":
        fake.fail_next(Fault("drop", agent_id=away.id, times=99))
    elif why == "nonsense":
        fake.fail_next(replace(shaped({"success": True}), agent_id=away.id, times=99))
    else:
        fake.fail_next(Fault("answer", agent_id=away.id, status=int(why), times=99))
    async with on(fake) as backend:
        page = await backend.list_sessions(SessionFilter(archived=archived))
        assert sorted(session.agent_id for session in page.sessions) == sorted(
            agent.id for agent in fake.agents if agent is not away
        )
        assert (away.id in page.note, page.total) == (True, None)
        found = await backend.search_sessions("hello")
        assert (away.id in found.note, found.complete, len(found.hits)) == (True, False, 2)


@pytest.mark.slow
async def test_a_silent_agent_leaves_time_for_the_others(fake: FakeGuayaba) -> None:
    silent = fake.fail_next(Fault("hold", agent_id=fake.agents[0].id, times=99))
    async with on(fake, seconds=4) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert (len(page.sessions), fake.agents[0].id in page.note) == (2, True)
        found = await backend.search_sessions("hello")
        assert (len(found.hits), found.complete) == (2, False)
        silent.released.set()


@pytest.mark.parametrize("path", ["/history", "/archives"])
async def test_a_search_continues_without_a_silent_agent(fake: FakeGuayaba, path: str) -> None:
    silent = fake.fail_next(Fault("hold", path=path, agent_id=fake.agents[0].id, times=99))
    async with on(fake, seconds=4) as backend:
        found = await backend.search_sessions("hello")
        assert (found.complete, bool(found.note)) == (False, True)
        assert len(found.hits) == (2 if path == "/history" else 3)
        silent.released.set()


async def test_a_list_is_an_error_if_every_agent_fails(fake: FakeGuayaba) -> None:
    for agent in fake.agents:
        agent.status = "stopped"
    async with on(fake) as backend:
        assert await outcome(lambda backend: backend.list_sessions(SessionFilter()), backend) == "unavailable"
        assert await outcome(lambda backend: backend.search_sessions("hello"), backend) == "unavailable"


async def test_a_list_of_one_agent_is_an_error_if_it_fails(fake: FakeGuayaba) -> None:
    fake.agents[0].status = "stopped"
    filter = SessionFilter(agent_id=fake.agents[0].id)
    async with on(fake) as backend:
        assert await outcome(lambda backend: backend.list_sessions(filter), backend) == "unavailable"


async def test_a_rate_limited_agent_is_not_reported_as_unavailable(fake: FakeGuayaba) -> None:
    fake.fail_next(replace(limited(100), agent_id=fake.agents[0].id))
    async with on(fake) as backend:
        assert await outcome(lambda backend: backend.list_sessions(SessionFilter()), backend) == "rate_limited"


async def test_a_lapsed_subscription_and_a_revoked_key_are_reported(fake: FakeGuayaba) -> None:
    async with on(fake) as backend:
        fake.access.has_subscription = False
        with pytest.raises(Forbidden, match="lapsed"):
            await backend.list_sessions(SessionFilter())
        fake.access.has_subscription = True
        fake.revoke(fake.master_key)
        assert await outcome(lambda backend: backend.list_sessions(SessionFilter()), backend) == "unauthorized"


@pytest.mark.parametrize("most", [1, 2, 15])
async def test_agents_on_short_pages_are_all_listed(most: int) -> None:
    async with FakeGuayaba(replace(READINGS["default"], most_agents=most), agents=40) as fake:
        for agent in fake.agents:
            fake.add_session(agent, row(MAIN, fake.new_id()))
        async with on(fake) as backend:
            page = await backend.list_sessions(SessionFilter(), limit=100)
            assert (len(page.sessions), page.total, page.note) == (40, 40, "")


@pytest.mark.slow
async def test_hundreds_of_agents_are_read_a_few_at_a_time() -> None:
    async with FakeGuayaba(agents=400) as fake:
        for agent in fake.agents:
            fake.add_session(agent, row(MAIN, fake.new_id()))
        async with on(fake) as backend:
            assert (await backend.list_sessions(SessionFilter())).total == 400
            assert fake.most_at_once <= 8
        async with on(fake, fake.agent_key(fake.agents[399])) as backend:
            (session,) = (await backend.list_sessions(SessionFilter())).sessions
            assert session.agent_id == fake.agents[399].id


@pytest.mark.slow
async def test_the_note_says_if_there_are_more_agents_than_are_listed() -> None:
    async with FakeGuayaba(agents=MANY) as fake:
        last = fake.agents[-1]
        fake.add_session(last, row(MAIN, fake.new_id(), label="Last"))
        async with on(fake) as backend:
            page = await backend.list_sessions(SessionFilter())
            assert (page.total, "agent_id" in page.note) == (None, True)
            page = await backend.list_sessions(SessionFilter(agent_id=last.id))
            assert ([session.name for session in page.sessions], page.total, page.note) == (["Last"], 1, "")
            assert (await backend.get_session(f"{last.id}/{MAIN}")).name == "Last"
            page = await backend.list_sessions(SessionFilter(agent_id=fake.new_id()))
            assert (page.sessions, page.total) == ((), 0)


async def test_a_note_names_a_limited_number_of_agents() -> None:
    async with FakeGuayaba(agents=60) as fake:
        for agent in fake.agents[1:]:
            agent.status = "stopped"
        async with on(fake) as backend:
            note = (await backend.list_sessions(SessionFilter())).note
            assert (len(note) < 600, "49 more" in note) == (True, True)


@pytest.mark.parametrize(
    "body",
    [
        {"data": [{"id": "../../billing"}, {"id": 5}, {}, None, "x"], "last_page": 1},
        {"data": [], "last_page": 10**9},
        {"data": [{"id": "no uuid"}], "last_page": 10**9},
        {"data": []},
    ],
)
async def test_only_valid_agent_ids_are_put_into_urls(fake: FakeGuayaba, body: object) -> None:
    fake.fail_next(replace(shaped(body), path="/agents", times=999))
    async with on(fake) as backend:
        assert (await backend.list_sessions(SessionFilter())).sessions == ()
        assert [request.path for request in fake.requests] == ["/api/v1/agents"]


async def test_a_session_whose_messages_cannot_be_read_can_still_be_deleted(fake: FakeGuayaba) -> None:
    fake.fail_next(replace(shaped({"success": True}), path="/history", times=99))
    async with on(fake, query=f"?agent={fake.agents[0].id}") as backend:
        shown = await backend.get_session_for_deletion(MAIN)
        assert (shown.name, shown.message_count) == (f"Of {fake.agents[0].name}", None)
        await backend.delete_session(MAIN, expected_version=shown.version)
        assert await outcome(lambda backend: backend.get_session(MAIN), backend) == "not_found"
