"""Lists of many sessions: full pages with few requests, and notes on sessions that can't be read."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Unavailable
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    SessionFilter,
    SessionPage,
)

from ...support.faked_agentos import COMPONENTS, faked, on_each_fake
from ...support.fakes.agentos import Version

START = datetime(2024, 1, 1, tzinfo=UTC)
POISON = "half \ud800 of a pair"


def bare(number: int, **given: object) -> JsonObject:
    """Return a session without runs, created this many minutes after the start."""
    created = round((START + timedelta(minutes=number)).timestamp())
    return {"session_id": f"s{number}", "component_id": "planner", "created_at": created, **given}


async def walked(backend: SessionBackend, filter: SessionFilter, limit: int) -> list[SessionPage]:
    pages = [await backend.list_sessions(filter, limit=limit)]
    while pages[-1].next_cursor:
        pages.append(await backend.list_sessions(filter, limit=limit, cursor=pages[-1].next_cursor))
    return pages


def ids_of(*pages: SessionPage) -> list[str]:
    return [session.id for page in pages for session in page.sessions]


def numbered(*numbers: int) -> list[str]:
    return [f"s{number}" for number in numbers]


def many_archived(count: int) -> list[JsonObject]:
    """Return sessions of which all but each hundredth are archived."""
    archived = {"archived_at": "2024-01-01T00:00:00Z"}
    return [bare(number, metadata={} if number % 100 == 7 else archived) for number in range(count)]


@on_each_fake
async def test_active_sessions_are_found_among_many_archived_ones(version: Version, tmp_path: Path) -> None:
    # Before agno 2.6 each session is read by itself, and a busy machine must have the time for all of them.
    count = 400 if version == "2.5.6" else 1000
    async with faked(version, tmp_path, *many_archived(count)) as (fake, backend):
        page = await backend.list_sessions(SessionFilter(), limit=20)
        assert ids_of(page) == numbered(*range(count - 93, 0, -100))
        assert (page.next_cursor, page.total) == ("", count // 100)
        lists = [request for request in fake.requests if request.path == "/sessions"]
        assert len(lists) < 48
        assert fake.most_at_once <= 8


@on_each_fake
async def test_archived_sessions_fill_every_page(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *many_archived(250)) as (_, backend):
        pages = await walked(backend, SessionFilter(archived=True), 50)
        assert [len(page.sessions) for page in pages] == [50, 50, 50, 50, 47]
        assert ids_of(*pages) == [f"s{number}" for number in range(249, -1, -1) if number % 100 != 7]


@pytest.mark.parametrize("query", ["straße", "STRASSE", "ÉTÉ", "ete", "東京", "100%", "_", '"quoted"', "😀"])
@on_each_fake
async def test_a_query_for_a_name_is_literal_and_works_in_any_script(
    version: Version, query: str, tmp_path: Path
) -> None:
    names = ["Die Straße", "Un été", "東京の天気", "100% sure", "a_b", 'so "quoted" it is', "glad 😀", "another"]
    seeds = [bare(number, name=name, state={"noise": query}) for number, name in enumerate(names)]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        found = await backend.list_sessions(SessionFilter(query=query))
        assert len(found.sessions) == 1
        assert found.total == 1


@on_each_fake
async def test_time_filters_limit_a_list_and_end_it_early(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *(bare(number) for number in range(300))) as (fake, backend):
        after, before = START + timedelta(minutes=280), START + timedelta(minutes=285)
        newest = SessionFilter(updated_after=after, updated_before=before)
        assert ids_of(*await walked(backend, newest, 2)) == numbered(284, 283, 282, 281)
        oldest = SessionFilter(updated_after=START, updated_before=START + timedelta(minutes=3), order="updated_asc")
        before_it = len(fake.requests)
        assert ids_of(await backend.list_sessions(oldest)) == numbered(1, 2)
        assert len([request for request in fake.requests[before_it:] if request.path == "/sessions"]) <= 6


@on_each_fake
async def test_fractions_of_a_second_count_as_that_second(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, bare(0)) as (_, backend):
        part = timedelta(milliseconds=300)
        for after, before, is_there in (
            (None, part, True),
            (-part, part, True),
            (part, None, False),
            (None, -part, False),
        ):
            filter = SessionFilter(
                updated_after=START + after if after is not None else None,
                updated_before=START + before if before is not None else None,
            )
            found = await backend.list_sessions(filter)
            assert bool(found.sessions) == is_there, filter


@on_each_fake
async def test_every_page_of_a_long_list_needs_as_many_requests_as_the_first(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *(bare(number) for number in range(600))) as (fake, backend):
        cursor, costs = "", list[int]()
        while cursor or not costs:
            before = len(fake.requests)
            page = await backend.list_sessions(SessionFilter(), limit=20, cursor=cursor)
            costs.append(len([request for request in fake.requests[before:] if request.path == "/sessions"]))
            cursor = page.next_cursor
        assert len(costs) == 30
        assert max(costs) <= (3 if version == "3.1.10" else 9)


@on_each_fake
async def test_sessions_of_one_second_are_listed_once(version: Version, tmp_path: Path) -> None:
    seeds = [
        bare(number // 15, session_id=f"{type} {number}", type=type, component_id=component)
        for number in range(30)
        for type, component in COMPONENTS.items()
    ]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        found = ids_of(*await walked(backend, SessionFilter(), 7))
        assert sorted(found) == sorted(str(seed["session_id"]) for seed in seeds)


APART, SIDE_BY_SIDE = (0, 31, 59), range(40, 56)


@pytest.mark.parametrize(
    ("version", "places"),
    [
        *(("3.1.10", places) for places in ((0,), (59,), APART, (20, 21, 22), (32,), (3, 9, 15, 21), SIDE_BY_SIDE)),
        *(("2.5.6", places) for places in (APART, SIDE_BY_SIDE)),
    ],
)
async def test_the_sessions_around_those_that_agentos_fails_on_are_listed(
    version: Version, places: Sequence[int], tmp_path: Path
) -> None:
    seeds = [bare(59 - place, name=POISON if place in places else "fine") for place in range(60)]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        page = await backend.list_sessions(SessionFilter(), limit=100)
        assert ids_of(page) == [f"s{59 - place}" for place in range(60) if place not in places]
        assert page.total is None
        # Where two places lie side by side, which sessions are there is known only from the list in the order of ids.
        is_told = not any(place + 1 in places for place in places)
        where = f", at position {', '.join(str(place + 1) for place in places)} of its list" if is_told else ""
        assert page.note == f"AgentOS failed on {len(places)} session(s){where}; those are left out."
        assert ids_of(*await walked(backend, SessionFilter(), 20)) == ids_of(page)


@on_each_fake
async def test_a_list_with_too_many_failing_sessions_is_an_error(version: Version, tmp_path: Path) -> None:
    seeds = [bare(number, name=POISON if number < 17 else "fine") for number in range(60)]
    async with faked(version, tmp_path, *seeds) as (fake, backend):
        with pytest.raises(Unavailable, match="on more than 16 sessions of this list"):
            await backend.list_sessions(SessionFilter(), limit=100)
        assert len(fake.requests) < 60


@on_each_fake
async def test_an_agentos_that_fails_on_every_list_is_an_error_early(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *(bare(number, name=POISON) for number in range(60))) as (fake, backend):
        with pytest.raises(Unavailable, match="HTTP 500"):
            await backend.list_sessions(SessionFilter())
        assert len(fake.requests) < 60


async def test_the_note_counts_failing_sessions_that_may_be_archived(tmp_path: Path) -> None:
    seeds = [bare(0), bare(1, metadata={"note": POISON}), bare(2)]
    async with faked("2.5.6", tmp_path, *seeds) as (_, backend):
        page = await backend.list_sessions(SessionFilter())
        assert ids_of(page) == numbered(2, 0)
        assert "failed on 1 session" in page.note
        assert page.total is None


@on_each_fake
async def test_an_empty_list_is_complete(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path) as (_, backend):
        page = await backend.list_sessions(SessionFilter())
    assert (page.sessions, page.next_cursor, page.total, page.note) == ((), "", 0, "")
