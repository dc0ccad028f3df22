"""Random operations on three stores as one have the same results as on a dictionary, with pages of any size."""

from collections.abc import Sequence
from dataclasses import dataclass

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.many.ids import IdConverter
from mcp_sessions.backends.layers.many.merge import MemberPage, MergedCursors, encode_position, merge
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import Session, SessionFilter

NAMES = ("", "work", "home")
Step = tuple[str, int, str]
STEPS = st.lists(
    st.tuples(
        st.sampled_from(["create", "rename", "archive", "restore", "delete"]),
        st.integers(0, 100),
        st.sampled_from(["Trip", "Rome", "weather"]),
    ),
    max_size=40,
)


@dataclass
class Expected:
    name: str
    is_archived: bool = False


async def take(many: Many, sessions: dict[str, Expected], step: Step) -> None:
    """Take a step in `many` and in `sessions`. Its number selects a session, or a backend for a new one."""
    operation, number, name = step
    if operation == "create":
        created = await many.creating_in(NAMES[number % len(NAMES)]).create_session(name=name)
        assert created.backend == NAMES[number % len(NAMES)]
        sessions[created.id] = Expected(name)
    elif sessions:
        session_id = list(sessions)[number % len(sessions)]
        if operation == "rename":
            await many.rename_session(session_id, name)
            sessions[session_id].name = name
        elif operation == "delete":
            await many.delete_session(session_id)
            del sessions[session_id]
        else:
            await many.apply_to_sessions(
                "archive" if operation == "archive" else "restore", [session_id], dry_run=False
            )
            sessions[session_id].is_archived = operation == "archive"


async def listed(many: Many, limits: Sequence[int], *, archived: bool) -> list[Session]:
    """Return all sessions, page by page, each page cut after a random row as a server cuts it."""
    sessions: list[Session] = []
    cursor = ""
    for number in range(1000):
        limit = limits[number % len(limits)]
        page = await many.list_sessions(SessionFilter(archived=archived), limit=limit + 1, cursor=cursor)
        assert not page.note
        rows = page.sessions[:limit]
        sessions += rows
        cursor = rows[-1].cursor if len(page.sessions) > limit else page.next_cursor
        if not cursor:
            return sessions
    pytest.fail("the walk did not end")


@pytest.mark.slow
@settings(max_examples=25, deadline=None)
@given(STEPS, st.lists(st.integers(1, 6), min_size=1, max_size=5))
def test_three_stores_behave_as_one_dictionary(steps: list[Step], limits: list[int]) -> None:
    async def run() -> None:
        sessions: dict[str, Expected] = {}
        async with Many({name: open_backend() for name in NAMES}) as many:
            for step in steps:
                await take(many, sessions, step)
            for archived in (False, True):
                found = await listed(many, limits, archived=archived)
                expected = {id: each.name for id, each in sessions.items() if each.is_archived == archived}
                assert len(found) == len(expected)
                assert {session.id: session.name for session in found} == expected
                times = [session.updated_at for session in found if session.updated_at]
                assert times == sorted(times, reverse=True)
            hits = (await many.search_sessions("rome", limit=50)).hits
            assert sorted(hit.session_id for hit in hits) == sorted(
                id for id, each in sessions.items() if each.name == "Rome"
            )

    anyio.run(run)


@given(st.text("/ab5"), st.sampled_from(["", "a", "ab"]))
def test_an_own_id_survives_the_conversion_to_a_full_id_and_back(own_id: str, name: str) -> None:
    ids = IdConverter(["", "a", "ab"])
    assert ids.address(ids.full_id(name, own_id)) == (name, own_id)


@given(st.text("/ab5"))
def test_a_full_id_survives_the_conversion_to_an_own_id_and_back(session_id: str) -> None:
    ids = IdConverter(["", "a", "ab"])
    assert ids.full_id(*ids.address(session_id)) == session_id


@given(st.lists(st.none() | st.text(), min_size=1, max_size=5))
def test_a_merged_cursor_holds_any_cursors_of_its_members(positions: list[str | None]) -> None:
    cursors = MergedCursors("list", "ann")
    if any(position != "" for position in positions):
        cursor = cursors.write([encode_position(position) for position in positions])
        assert cursors.read(cursor, len(positions)) == positions


@given(st.lists(st.lists(st.integers(0, 9), max_size=8), min_size=1, max_size=4), st.integers(1, 4), st.integers(0, 2))
def test_the_merged_pages_have_each_row_once_even_if_members_return_short_pages(
    lists: list[list[int]], limit: int, lacking: int
) -> None:
    cursors = MergedCursors()
    rows = [sorted(numbers) for numbers in lists]
    walked: list[int] = []
    cursor = ""
    for _ in range(200):
        positions = cursors.read(cursor, len(rows))
        parts: dict[int, MemberPage[Session]] = {}
        for number, position in enumerate(positions):
            if position is not None:
                start = int(position or 0)
                end = min(start + max(limit - lacking, 1), len(rows[number]))
                page = [Session(id=f"{rows[number][place]}", cursor=f"{place + 1}") for place in range(start, end)]
                parts[number] = MemberPage(page, f"{end}" if end < len(rows[number]) else "")
        merged = merge(parts, positions, limit, order=lambda session: int(session.id), cursors=cursors)
        walked += [int(row.id) for _, row, _ in merged.rows]
        cursor = merged.next_cursor
        if not cursor:
            break
    assert walked == sorted(number for numbers in lists for number in numbers)
