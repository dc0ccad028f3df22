"""Callers who are limited to a user of Guayaba reach the agents that the mapping names, and no others."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager

import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.guayaba.backend import GuayabaBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, NotFound, SessionsError, Unsupported
from mcp_sessions.models import SessionFilter

from ...contract.operations import ADDRESSED
from ...support.faked_guayaba import everything, posts
from ...support.fakes.guayaba import MAIN, FakeGuayaba, Fault
from ...support.fakes.guayaba.seeds import row, user

UNKNOWN = "00000000-0000-4000-8000-000000000000"


@asynccontextmanager
async def opened(
    fake: FakeGuayaba, agents: Mapping[str, Sequence[str]], token: str = "", query: str = ""
) -> AsyncGenerator[SessionBackend]:
    url = f"guayaba+{fake.url}{query}"
    async with open_backend(url, token=token or fake.master_key, agents=agents) as backend:
        yield backend


@pytest.fixture
async def fake() -> AsyncGenerator[FakeGuayaba]:
    """Yield a fake with four agents with an active and an archived session each, whose keys are the same everywhere."""
    async with FakeGuayaba(agents=4) as fake:
        for place, agent in enumerate(fake.agents):
            moment = 1_714_564_800_000 + place
            fake.add_session(agent, row(MAIN, fake.new_id(), label=f"Of {agent.name}", updatedAt=moment), [user("Hi")])
            fake.add_archive(agent, row("agent:main:api:old", fake.new_id(), label=f"Old of {agent.name}"))
        yield fake


def agents_of(fake: FakeGuayaba) -> dict[str, list[str]]:
    """Return a mapping: Ann has the first two agents, one of them in capitals; Ben the third; nobody the fourth."""
    first, second, third, _ = (agent.id for agent in fake.agents)
    return {"ann": [first.upper(), second], "ben": [third], "eve": []}


def of(backend: SessionBackend, user: str, credential: str = "") -> SessionBackend:
    return backend.for_caller(Caller(user_id=user, credential=credential))


async def names(backend: SessionBackend, **filter: bool | str) -> list[tuple[str, str]]:
    page = await backend.list_sessions(SessionFilter.model_validate(filter))
    assert page.total == len(page.sessions)
    return [(session.name, session.user_id) for session in page.sessions]


async def refusal(backend: SessionBackend, operation: Capability, id: str) -> str:
    """Return the message of the refusal, without the id."""
    with pytest.raises(SessionsError) as caught:
        await ADDRESSED[operation](backend, id)
    return caught.value.text.replace(id, "ID")


async def test_a_user_sees_and_searches_only_the_sessions_of_their_agents(fake: FakeGuayaba) -> None:
    async with opened(fake, agents_of(fake)) as backend:
        ann, ben = of(backend, "ann"), of(backend, "ben")
        assert await names(ann) == [("Of Agent 2", "ann"), ("Of Agent 1", "ann")]
        assert sorted(await names(ann, archived=True)) == [("Old of Agent 1", "ann"), ("Old of Agent 2", "ann")]
        assert await names(ben) == [("Of Agent 3", "ben")]
        found = await ben.search_sessions("hi")
        assert ([hit.session_name for hit in found.hits], found.searched_sessions) == (["Of Agent 3"], 2)
        assert {hit.session_name for hit in (await ann.search_sessions("of")).hits} == {
            f"{what} Agent {number}" for what in ("Of", "Old of") for number in (1, 2)
        }
        others = {agent.id for agent in fake.agents[2:]}
        begun = len(fake.requests)
        await names(ann)
        assert not any(id in request.path for id in others for request in fake.requests[begun:])
        assert len(await names(backend)) == 4
        assert {owner for _, owner in await names(backend)} == {""}


@pytest.mark.parametrize("user", ["eve", "nobody", "Ann", "an", "ann,ben"])
async def test_a_user_without_agents_in_the_mapping_sees_nothing(fake: FakeGuayaba, user: str) -> None:
    async with opened(fake, agents_of(fake)) as backend:
        view = of(backend, user)
        for archived in (False, True):
            assert await names(view, archived=archived) == []
        assert (await view.search_sessions("of")).hits == ()
        for listed in (await backend.list_sessions(SessionFilter())).sessions:
            with pytest.raises(NotFound):
                await view.get_session(listed.id)


@pytest.mark.parametrize("operation", sorted(GuayabaBackend.capabilities & set(ADDRESSED)))
async def test_a_session_of_another_users_agent_looks_like_one_of_an_unknown_agent(
    fake: FakeGuayaba, operation: Capability
) -> None:
    async with opened(fake, agents_of(fake)) as backend:
        archived = (await backend.list_sessions(SessionFilter(archived=True, agent_id=fake.agents[2].id))).sessions
        before, begun, ann = everything(fake), len(fake.requests), of(backend, "ann")
        absent = await refusal(ann, operation, f"{UNKNOWN}/{MAIN}")
        for agent in (*fake.agents[2:], fake.foreign_agent):
            for key in (MAIN, "agent:main:api:none", archived[0].id.partition("/")[2]):
                assert await refusal(ann, operation, f"{agent.id}/{key}") == absent
        assert len(fake.requests) == begun
        assert await refusal(ann, operation, f"{fake.agents[0].id}/agent:main:api:none") == absent
        assert (everything(fake), posts(fake)) == (before, [])


async def test_another_users_agent_looks_like_an_unknown_one_in_lists(fake: FakeGuayaba) -> None:
    async with opened(fake, agents_of(fake)) as backend:
        ann = of(backend, "ann")
        for archived in (False, True):
            absent = await ann.list_sessions(SessionFilter(agent_id=UNKNOWN, archived=archived))
            assert (absent.sessions, absent.total, absent.note) == ((), 0, "")
            for agent in (*fake.agents[2:], fake.foreign_agent):
                assert await ann.list_sessions(SessionFilter(agent_id=agent.id, archived=archived)) == absent
        assert fake.requests == []
        assert await names(ann, agent_id=fake.agents[0].id.upper()) == [("Of Agent 1", "ann")]


async def test_a_user_can_change_their_own_sessions(fake: FakeGuayaba) -> None:
    async with opened(fake, agents_of(fake)) as backend:
        ben, id = of(backend, "ben"), f"{fake.agents[2].id}/{MAIN}"
        await ben.rename_session(id, "Mine")
        assert (await ben.get_session(id)).user_id == "ben"
        archived = await ben.archive_session(id)
        restored = await ben.restore_session(archived.session_id)
        await ben.delete_session(restored.session_id)
        assert [len(agent.sessions) for agent in fake.agents] == [1, 1, 0, 1]


async def test_lists_cached_for_one_user_are_not_shown_to_others(fake: FakeGuayaba) -> None:
    oldest_first = SessionFilter(order="updated_asc")
    async with opened(fake, agents_of(fake) | {"cy": [agent.id for agent in fake.agents]}) as backend:
        cursors = {
            user: (await of(backend, user).list_sessions(oldest_first, limit=1)).next_cursor
            for user in ("ann", "ben", "cy")
        }
        rest = await of(backend, "ann").list_sessions(oldest_first, cursor=cursors["ann"])
        assert [session.name for session in rest.sessions] == ["Of Agent 2"]
        assert cursors["ben"] == ""
        for user in ("ann", "ben", ""):
            with pytest.raises(Invalid):
                await of(backend, user).list_sessions(oldest_first, cursor=cursors["cy"])


async def test_failing_agents_are_named_only_to_their_user(fake: FakeGuayaba) -> None:
    gone = {"ann": [fake.agents[0].id, UNKNOWN], "ben": [fake.agents[2].id]}
    async with opened(fake, gone) as backend:
        page = await of(backend, "ann").list_sessions(SessionFilter())
        assert [session.name for session in page.sessions] == ["Of Agent 1"]
        assert UNKNOWN in page.note
        fake.fail_next(Fault("answer", status=503, path=f"{fake.agents[0].id}/sessions", times=9))
        assert (await of(backend, "ben").list_sessions(SessionFilter())).note == ""


@pytest.mark.parametrize("by_key", [True, False])
async def test_a_key_of_one_agent_shows_nothing_to_users_of_others(fake: FakeGuayaba, by_key: bool) -> None:
    first = fake.agents[0]
    token, query = (fake.agent_key(first), "") if by_key else ("", f"?agent={first.id}")
    async with opened(fake, agents_of(fake), token, query) as backend:
        ann, ben = of(backend, "ann"), of(backend, "ben")
        assert await names(ann) == [("Of Agent 1", "ann")]
        assert (await ann.get_session(MAIN)).agent_id == first.id
        assert await names(ben) == [] == await names(ben, agent_id=first.id)
        absent = await refusal(ben, Capability.RENAME_SESSION, "agent:main:api:none")
        begun = len(fake.requests)
        assert await refusal(ben, Capability.RENAME_SESSION, MAIN) == absent
        assert (len(fake.requests) - begun, posts(fake)) == (0, [])


async def test_the_mapping_limits_a_caller_whose_key_reaches_more(fake: FakeGuayaba) -> None:
    async with open_backend(f"guayaba+{fake.url}", agents=agents_of(fake), callers_have_credentials=True) as backend:
        assert await names(of(backend, "ben", fake.master_key)) == [("Of Agent 3", "ben")]
        assert await names(of(backend, "ben", fake.agent_key(fake.agents[2]))) == [("Of Agent 3", "ben")]
        assert await names(of(backend, "ben", fake.agent_key(fake.agents[0]))) == []
        assert len(await names(of(backend, "", fake.master_key))) == 4


async def test_without_a_mapping_a_caller_limited_to_a_user_is_refused_with_the_reason(fake: FakeGuayaba) -> None:
    async with opened(fake, {}) as backend:
        assert "option agents" in backend.why_no_user_scoping()
        with pytest.raises(Unsupported, match="option agents"):
            await of(backend, "ann").list_sessions(SessionFilter())
        assert len(await names(backend)) == 4
    async with opened(fake, agents_of(fake)) as backend:
        assert backend.why_no_user_scoping() == ""


@pytest.mark.parametrize(
    ("agents", "named"),
    [
        ({"ann": ["agent 1"]}, '"ann" has "agent 1"'),
        ({"ann": [UNKNOWN], "b\x1ben": [UNKNOWN, ""]}, '"b�en"'),
        ({"ann": UNKNOWN}, '"ann"'),
        ({"": [UNKNOWN]}, "empty id"),
    ],
)
def test_the_error_about_a_mapping_without_agents_names_the_user(agents: dict[str, Sequence[str]], named: str) -> None:
    with pytest.raises(Invalid, match=named):
        open_backend("guayaba:", token="g_master_x", agents=agents)
