"""The hits of a search."""

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import Invalid, NotFound
from mcp_sessions.models import HistoryQuery, NewMessage, SearchPage, SessionFilter

from .harness import Seed, System
from .paged import is_refused
from .samples import NOT_FOLDERS, PROJECTS, SELECTED_BY_PROJECT, WEATHER
from .walks import walk

owed = pytest.mark.owes(Capability.SEARCH_SESSIONS)


def _said(text: str) -> tuple[tuple[NewMessage, ...], ...]:
    return ((NewMessage(role="user", text=text),),)


def _sessions(page: SearchPage) -> set[str]:
    assert page.complete
    return {hit.session_id for hit in page.hits}


@owed
async def test_a_search_of_an_empty_system_finds_nothing(system: System) -> None:
    page = await system.backend.search_sessions("rome")
    assert (page.hits, page.next_cursor, page.complete) == ((), "", True)


@owed
async def test_a_hit_in_a_message_has_the_ids_of_session_and_message(system: System) -> None:
    session_id = await system.seed_one(Seed(name="Trip", runs=WEATHER))
    (hit,) = (await system.backend.search_sessions("oslo")).hits
    assert (hit.session_id, hit.session_name, hit.role) == (session_id, "Trip", "assistant")
    assert "Oslo" in hit.snippet
    page = await system.backend.get_session_history(session_id, HistoryQuery(message_id=hit.message_id))
    assert page.messages[0].text == "That is Oslo: four degrees."


@owed
async def test_a_hit_in_a_name_has_the_id_of_the_session(system: System) -> None:
    session_id, _ = await system.seed(Seed(name="Trip to Rome"), Seed(name="Another"))
    (hit,) = (await system.backend.search_sessions("rome")).hits
    assert (hit.session_id, hit.session_name, hit.message_id) == (session_id, "Trip to Rome", "")


@owed
async def test_every_word_must_occur_in_any_case_and_order(system: System) -> None:
    both, _, _ = await system.seed(
        Seed(runs=_said("The Quick brown fox")), Seed(runs=_said("A quick one")), Seed(runs=_said("A brown one"))
    )
    for query in ("quick brown", "BROWN quick", "  brown\tquick\n"):
        assert _sessions(await system.backend.search_sessions(query)) == {both}
    assert _sessions(await system.backend.search_sessions("quick absent")) == set()


@owed
async def test_words_of_one_message_are_not_found_across_two(system: System) -> None:
    await system.seed(Seed(name="alpha", runs=(*_said("beta"), *_said("gamma"))))
    assert _sessions(await system.backend.search_sessions("beta gamma")) == set()
    assert _sessions(await system.backend.search_sessions("alpha beta")) == set()


@owed
async def test_a_page_has_at_most_limit_hits(system: System) -> None:
    await system.seed(*(Seed(runs=_said(f"common {number}")) for number in range(5)))
    page = await system.backend.search_sessions("common", limit=3)
    assert len(page.hits) == 3
    assert page.next_cursor


@owed
async def test_a_query_without_a_word_or_symbol_is_invalid(system: System) -> None:
    async def assert_is_invalid(query: str) -> None:
        with pytest.raises(Invalid, match="query"):
            await system.backend.search_sessions(query)

    for query in ("", " ", "\n\t", "*", "**", '""', "\u200b"):
        await assert_is_invalid(query)


TEXTS = {
    1: "We wrote it in C++.",
    2: "C++11 and later, see today",
    3: "then call Foo.Bar(), twice",
    4: "pass --flag=1 && wait",
    5: "It’s this: it failed with ERR_123. Flag?",
    6: "we ship🚀today",
    7: "ship IT 🚀",
    8: "See: THE quick,\nfox in C++ today; 東京-都市",
    9: "the fox is quick; C or C#, + and +, in C today",
    10: "foo.bar and foo bar() and xfoo.bar() but - flag, -flag",
    11: "ERR_1234, ERR 123, ERR-123, xERR_123, a & b, 京 都",
}
QUERIES = {
    "C++": {1, 2, 8},
    "foo.bar()": {3},
    "--flag": {4},
    "ERR_123": {5},
    "ERR_1*": {5, 11},
    "it's": {5},
    "flag?": {4, 5, 10},
    "🚀": {6, 7},
    "🚀 it": {7},
    "&&": {4},
    '"the quick fox"': {8},
    "“quick FOX”": {8},
    '"in C++ today" the': {8},
    '"see today"': {2},
    "京-都": {8},
}
"""Queries, and the numbers of the texts that each of them finds."""


@owed
async def test_phrases_and_symbols_are_found_as_typed(system: System) -> None:
    ids = await system.seed(*(Seed(name=f"n{number}", runs=_said(text)) for number, text in TEXTS.items()))
    numbers = dict(zip(ids, TEXTS, strict=True))
    found = {query: _sessions(await system.backend.search_sessions(query, limit=20)) for query in QUERIES}
    assert {query: {numbers[id] for id in ids} for query, ids in found.items()} == QUERIES


@owed
async def test_a_snippet_shows_the_symbols_of_the_query(system: System) -> None:
    await system.seed_one(Seed(name="Trip", runs=_said("C or c, " * 100 + "and in C++ too")))
    (hit,) = (await system.backend.search_sessions("c++")).hits
    assert "in C++ too" in hit.snippet


@owed
async def test_names_are_searched_for_symbols(system: System) -> None:
    session_id, _ = await system.seed(Seed(name="Learn C++ 🚀"), Seed(name="Learn C"))
    for query in ("C++", "🚀", '"learn C++"'):
        assert _sessions(await system.backend.search_sessions(query)) == {session_id}


@owed
async def test_a_search_can_be_limited_to_a_project(system: System) -> None:
    seeds = [Seed(name=name, project=folder, runs=_said("alpha")) for name, folder in PROJECTS.items()]
    ids = dict(zip(await system.seed(*seeds), PROJECTS, strict=True))
    listed = (await system.backend.list_sessions(SessionFilter(), limit=100)).sessions
    with_project = {session.name for session in listed if session.project == PROJECTS[session.name]}
    for project, names in SELECTED_BY_PROJECT.items():
        found = _sessions(await system.backend.search_sessions("alpha", project=project, limit=20))
        assert {ids[id] for id in found} == names & with_project
    pages = await walk(lambda cursor: system.backend.search_sessions("alpha", project="/w", limit=1, cursor=cursor))
    assert sorted(ids[hit.session_id] for page in pages for hit in page.hits) == sorted(
        SELECTED_BY_PROJECT["/w"] & with_project
    )
    if cursor := pages[0].next_cursor:
        await is_refused(system.backend.search_sessions("alpha", project="/w/app", limit=1, cursor=cursor), cursor)


@owed
async def test_a_searched_project_is_the_full_path_of_a_folder(system: System) -> None:
    async def assert_is_invalid(project: str) -> None:
        with pytest.raises(Invalid, match="project"):
            await system.backend.search_sessions("alpha", project=project)

    for project in NOT_FOLDERS:
        await assert_is_invalid(project)


@pytest.mark.owes(Capability.SEARCH_SESSIONS, Capability.ARCHIVE_SESSION)
async def test_archived_sessions_are_found(system: System) -> None:
    await system.seed(Seed(name="alpha", archived=True, runs=_said("beta")))
    by_name = _sessions(await system.backend.search_sessions("alpha"))
    assert len(by_name) == 1
    assert _sessions(await system.backend.search_sessions("beta")) == by_name


@pytest.mark.owes(Capability.SEARCH_SESSIONS, Capability.DELETE_SESSION)
async def test_deleted_sessions_are_not_found(system: System) -> None:
    session_id = await system.seed_one(Seed(name="alpha", runs=_said("beta")))
    await system.backend.delete_session(session_id)
    assert _sessions(await system.backend.search_sessions("alpha")) == set()
    assert _sessions(await system.backend.search_sessions("beta")) == set()
    with pytest.raises(NotFound):
        await system.backend.get_session(session_id)


@pytest.mark.owes(Capability.SEARCH_SESSIONS, Capability.RENAME_SESSION)
async def test_a_search_finds_only_the_current_name(system: System) -> None:
    session_id = await system.seed_one(Seed(name="alpha"))
    renamed = await system.backend.rename_session(session_id, "beta")
    assert _sessions(await system.backend.search_sessions("alpha")) == set()
    assert _sessions(await system.backend.search_sessions("beta")) == {renamed.session_id}
