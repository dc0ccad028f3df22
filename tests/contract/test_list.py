"""The sessions of a list and their order."""

from datetime import UTC, datetime, timedelta

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import Invalid
from mcp_sessions.models import Order, SessionFilter

from .harness import Seed, System
from .samples import NOT_FOLDERS, PROJECTS, SELECTED_BY_PROJECT, moment
from .walks import all_sessions

owed = pytest.mark.owes(Capability.LIST_SESSIONS)


async def _names(system: System, filter: SessionFilter) -> list[str]:
    return [session.name for session in (await system.backend.list_sessions(filter, limit=100)).sessions]


@owed
async def test_the_list_of_an_empty_system_is_empty(system: System) -> None:
    page = await system.backend.list_sessions(SessionFilter())
    assert page.sessions == ()
    assert page.next_cursor == ""
    assert page.total in (None, 0)


@owed
async def test_a_listed_session_has_its_name_type_and_agent(system: System) -> None:
    seed = Seed(name="Trip to Rome", type="agent", agent_id="planner", user_id="ann", moment=moment(7))
    session_id = await system.seed_one(seed)
    (session,) = (await system.backend.list_sessions(SessionFilter())).sessions
    assert (session.id, session.name, session.type) == (session_id, "Trip to Rome", "agent")
    assert (session.agent_id, session.user_id) == ("planner", "ann")
    assert (session.created_at, session.updated_at, session.archived_at) == (moment(7), moment(7), None)


@owed
@pytest.mark.parametrize(
    ("order", "names"),
    [
        ("updated_desc", ["new", "middle", "old"]),
        ("updated_asc", ["old", "middle", "new"]),
        ("created_desc", ["new", "middle", "old"]),
        ("created_asc", ["old", "middle", "new"]),
    ],
)
async def test_sessions_are_sorted_in_the_requested_order(system: System, order: Order, names: list[str]) -> None:
    await system.seed(
        Seed(name="middle", moment=moment(20)), Seed(name="new", moment=moment(30)), Seed(name="old", moment=moment(10))
    )
    assert await _names(system, SessionFilter(order=order)) == names


@owed
async def test_a_page_has_at_most_limit_sessions(system: System) -> None:
    await system.seed(*(Seed(name=f"{second}", moment=moment(second)) for second in range(5)))
    page = await system.backend.list_sessions(SessionFilter(), limit=2)
    assert [session.name for session in page.sessions] == ["4", "3"]
    assert page.next_cursor


@owed
async def test_a_total_is_the_number_of_matching_sessions(system: System) -> None:
    await system.seed(*(Seed(name=name) for name in ("one", "two", "other")))
    for limit in (1, 3, 20):
        assert (await system.backend.list_sessions(SessionFilter(), limit=limit)).total in (None, 3)
        assert (await system.backend.list_sessions(SessionFilter(query="o"), limit=limit)).total in (None, 3)
        assert (await system.backend.list_sessions(SessionFilter(query="t"), limit=limit)).total in (None, 2)


NAMES_FOUND_BY_QUERY = {
    "rome": ["Trip to ROME"],
    "TRIP": ["Trip to ROME", "trip home"],
    "p to r": ["Trip to ROME"],
    "été": ["Vacances d'ÉTÉ"],
    "МОСКВА": ["в Москва"],
    "東": ["東京の旅"],
    "%": ["100% sure"],
    "_": ["snake_case"],
    "\\": ["back\\slash"],
    "'": ["Vacances d'ÉTÉ"],
    '"': ['"quoted"'],
    "absent": [],
}


@owed
async def test_a_query_matches_a_part_of_the_name_in_any_case(system: System) -> None:
    names = [
        *("Trip to ROME", "trip home", "Vacances d'ÉTÉ", "в Москва", "東京の旅"),
        *("100% sure", "snake_case", "back\\slash", '"quoted"', ""),
    ]
    await system.seed(*(Seed(name=name, state={"absent": "absent"}) for name in names))
    found = {query: sorted(await _names(system, SessionFilter(query=query))) for query in NAMES_FOUND_BY_QUERY}
    assert found == NAMES_FOUND_BY_QUERY


@owed
async def test_a_list_can_be_filtered_by_type_and_agent(system: System) -> None:
    await system.seed(
        Seed(name="agent", type="agent", agent_id="planner"),
        Seed(name="other", type="agent", agent_id="writer"),
        Seed(name="team", type="team", agent_id="planner"),
    )
    assert sorted(await _names(system, SessionFilter(type="agent"))) == ["agent", "other"]
    assert sorted(await _names(system, SessionFilter(agent_id="planner"))) == ["agent", "team"]
    assert await _names(system, SessionFilter(agent_id="planner", type="team")) == ["team"]
    assert await _names(system, SessionFilter(agent_id="plan")) == []
    assert await _names(system, SessionFilter(type="workflow")) == []


@owed
async def test_a_list_can_be_filtered_by_project(system: System) -> None:
    await system.seed(*(Seed(name=name, project=folder) for name, folder in PROJECTS.items()))
    listed = (await system.backend.list_sessions(SessionFilter(), limit=100)).sessions
    with_project = {session.name for session in listed if session.project == PROJECTS[session.name]}
    found = {project: set(await _names(system, SessionFilter(project=project))) for project in SELECTED_BY_PROJECT}
    assert found == {project: names & with_project for project, names in SELECTED_BY_PROJECT.items()}
    filter = SessionFilter(project="/w", order="updated_asc")
    walked = [session.name for session in await all_sessions(system.backend, filter, 1)]
    assert sorted(walked) == sorted(found["/w"])


@owed
async def test_a_project_is_the_full_path_of_a_folder(system: System) -> None:
    async def assert_is_invalid(project: str) -> None:
        with pytest.raises(Invalid, match="project"):
            await system.backend.list_sessions(SessionFilter(project=project))

    for project in NOT_FOLDERS:
        await assert_is_invalid(project)


@owed
async def test_a_list_can_be_filtered_by_the_time_of_the_last_update(system: System) -> None:
    await system.seed(*(Seed(name=f"{hour}", moment=moment(3600 * hour)) for hour in range(4)))
    half = timedelta(minutes=30)
    first, last = moment(0) + half, moment(3 * 3600) - half
    assert await _names(system, SessionFilter(updated_after=first)) == ["3", "2", "1"]
    assert await _names(system, SessionFilter(updated_before=last)) == ["2", "1", "0"]
    assert await _names(system, SessionFilter(updated_after=first, updated_before=last)) == ["2", "1"]
    assert await _names(system, SessionFilter(updated_after=last, updated_before=first)) == []
    assert await _names(system, SessionFilter(updated_after=first, order="updated_asc")) == ["1", "2", "3"]


@owed
async def test_a_new_session_was_updated_now(system: System) -> None:
    await system.seed(Seed(name="now"))
    hour = timedelta(hours=1)
    assert await _names(system, SessionFilter(updated_after=datetime.now(UTC) - hour)) == ["now"]
    assert await _names(system, SessionFilter(updated_before=datetime.now(UTC) - hour)) == []


@pytest.mark.owes(Capability.LIST_SESSIONS, Capability.ARCHIVE_SESSION)
async def test_archived_sessions_have_a_list_of_their_own(system: System) -> None:
    await system.seed(Seed(name="active"), Seed(name="archived", archived=True))
    assert await _names(system, SessionFilter()) == ["active"]
    (archived,) = (await system.backend.list_sessions(SessionFilter(archived=True))).sessions
    assert archived.name == "archived"
    assert archived.archived_at is not None
    assert await _names(system, SessionFilter(archived=True, query="active")) == []


@pytest.mark.owes(Capability.LIST_SESSIONS, Capability.ARCHIVE_SESSION)
async def test_archived_sessions_can_be_filtered_by_project(system: System) -> None:
    await system.seed(*(Seed(name=name, project=folder, archived=True) for name, folder in PROJECTS.items()))
    archived = (await system.backend.list_sessions(SessionFilter(archived=True), limit=100)).sessions
    with_project = {session.name for session in archived if session.project == PROJECTS[session.name]}
    sessions = await all_sessions(system.backend, SessionFilter(archived=True, project="/w/app"), 1)
    assert sorted(session.name for session in sessions) == sorted({"app", "lib"} & with_project)
    assert await _names(system, SessionFilter(project="/w/app")) == []
