"""Lists under an overlay: every page is exact, whatever is archived, and the system is read no further than needed."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, Timeout
from mcp_sessions.models import Order, Session, SessionFilter, SessionPage

from ..contract.walks import all_sessions
from .listed_backend import ListedBackend

ACTIVE, ARCHIVED = SessionFilter(), SessionFilter(archived=True)


@asynccontextmanager
async def overlaid(inner: ListedBackend) -> AsyncGenerator[Overlay]:
    async with Overlay(inner, OverlayStore.from_url("sqlite:///:memory:"), source="list:") as backend:
        yield backend


def listing(count: int, *, has_cursors: bool = True) -> ListedBackend:
    """Return a system with the sessions s0, s1 …, each newer than the one before."""
    backend = ListedBackend(has_cursors=has_cursors)
    for number in range(count):
        backend.add(f"s{number}", second=number, user_id="ann" if number % 2 else "ben")
    return backend


def names(sessions: Sequence[Session]) -> list[str]:
    return [session.id for session in sessions]


@pytest.mark.parametrize("has_cursors", [True, False])
@pytest.mark.parametrize("order", ["updated_desc", "updated_asc", "created_desc", "created_asc"])
@pytest.mark.parametrize("limit", [1, 2, 3, 5, 100])
async def test_archived_sessions_are_left_out_of_one_list_and_fill_the_other(
    has_cursors: bool, order: Order, limit: int
) -> None:
    inner = listing(12, has_cursors=has_cursors)
    by_system = inner.contents.sessions["s5"]
    inner.contents.sessions["s5"] = by_system.model_copy(update={"archived_at": by_system.created_at})
    archived = ["s0", "s3", "s4", "s5", "s6", "s11"]
    async with overlaid(inner) as backend:
        for session_id in archived:
            await backend.archive_session(session_id)
        expected = [f"s{number}" for number in range(12)]
        if order.endswith("desc"):
            expected.reverse()
        for is_archived in (False, True):
            filter = SessionFilter(order=order, archived=is_archived)
            found = await all_sessions(backend, filter, limit)
            assert names(found) == [one for one in expected if (one in archived) is is_archived]
            assert all((session.archived_at is not None) is is_archived for session in found)
            if limit == 100:
                assert (await backend.list_sessions(filter, limit=limit)).total == 6


async def test_filters_and_users_select_among_archived_sessions_too() -> None:
    async with overlaid(listing(6)) as backend:
        for session_id in ("s1", "s2", "s3"):
            await backend.archive_session(session_id)
        anns = backend.for_caller(Caller(user_id="ann"))
        assert names(await all_sessions(anns, ARCHIVED, 1)) == ["s3", "s1"]
        assert names(await all_sessions(anns, ACTIVE, 1)) == ["s5"]
        assert names(await all_sessions(backend, SessionFilter(archived=True, query="OF S2"), 1)) == ["s2"]
        assert names(await all_sessions(backend, SessionFilter(query="of s2"), 1)) == []


async def test_a_page_may_be_cut_after_any_of_its_rows() -> None:
    async with overlaid(listing(9)) as backend:
        for session_id in ("s1", "s4", "s5", "s8"):
            await backend.archive_session(session_id)
        for filter in (ACTIVE, ARCHIVED):
            whole = await backend.list_sessions(filter, limit=100)
            for kept, row in enumerate(whole.sessions[:-1], 1):
                rest = await backend.list_sessions(filter, limit=100, cursor=row.cursor)
                assert names(rest.sessions) == names(whole.sessions[kept:])


async def test_a_system_of_which_nothing_is_archived_is_asked_for_one_page() -> None:
    inner = listing(500)
    async with overlaid(inner) as backend:
        page = await backend.list_sessions(ACTIVE, limit=2)
        assert page == await inner.list_sessions(ACTIVE, limit=2)
        assert inner.contents.pages == 2
        await backend.update_session("s1", summary="Kept")
        assert await backend.list_sessions(ACTIVE, limit=2, cursor=page.next_cursor) == await inner.list_sessions(
            ACTIVE, limit=2, cursor=page.next_cursor
        )
        assert inner.contents.pages == 4


async def test_a_list_of_archived_sessions_ends_once_all_were_found() -> None:
    inner = listing(1_000)
    async with overlaid(inner) as backend:
        for session_id in ("s999", "s950"):
            await backend.archive_session(session_id)
        page = await backend.list_sessions(ARCHIVED, limit=5)
        assert (names(page.sessions), page.next_cursor) == (["s999", "s950"], "")
        assert inner.contents.pages == 2  # of active sessions, and of those that the system archived itself


@pytest.mark.parametrize("action", ["restore", "archive"])
async def test_what_is_archived_or_restored_during_a_list_keeps_no_other_session_out_of_it(action: str) -> None:
    class Changing(ListedBackend):
        change: Callable[[], Awaitable[object]] | None = None

        async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
            if cursor and self.change is not None:
                change, self.change = self.change, None
                await change()
            return await super().list_sessions(filter, limit=limit, cursor=cursor)

    inner = Changing()
    for number in range(300):
        inner.add(f"s{number}", second=number)
    async with overlaid(inner) as backend:
        for session_id in ("s299", "s298", "s10"):
            await backend.archive_session(session_id)
        inner.change = (
            (lambda: backend.restore_session("s299"))
            if action == "restore"
            else (lambda: backend.archive_session("s20"))
        )
        found = names((await backend.list_sessions(ARCHIVED)).sessions)
        assert found == ["s299", "s298", *(["s20"] if action == "archive" else []), "s10"]


async def test_an_archived_session_that_comes_back_is_listed_wherever_it_is() -> None:
    inner = listing(300)
    async with overlaid(inner) as backend:
        for session_id in ("s299", "s1"):
            await backend.archive_session(session_id)
        deleted = inner.contents.sessions["s1"]
        await backend.delete_session("s1")
        inner.contents.sessions["s1"] = deleted
        assert names((await backend.list_sessions(ARCHIVED)).sessions) == ["s299", "s1"]


async def test_a_list_that_runs_out_of_time_says_so_and_continues_exactly() -> None:
    inner = listing(30)
    async with overlaid(inner) as backend:
        for number in range(10, 30):
            await backend.archive_session(f"s{number}")
        inner.contents.last_page = 2
        page = await backend.list_sessions(ACTIVE, limit=5)
        assert (page.sessions, page.total) == ((), None)
        assert page.note == "Time ran out before the page was full. Continue with next_cursor."
        with pytest.raises(Timeout):
            await backend.list_sessions(ACTIVE, limit=5, cursor=page.next_cursor)
        inner.contents.last_page = 1_000
        page = await backend.list_sessions(ACTIVE, limit=100, cursor=page.next_cursor)
        assert names(page.sessions) == [f"s{number}" for number in reversed(range(10))]


async def test_a_cursor_of_another_list_is_refused() -> None:
    async with overlaid(listing(6)) as backend:
        for session_id in ("s0", "s1", "s2"):
            await backend.archive_session(session_id)
        active, archived = [(await backend.list_sessions(each, limit=1)).next_cursor for each in (ACTIVE, ARCHIVED)]
        for filter, cursor in ((ACTIVE, archived), (ARCHIVED, active), (ARCHIVED, "x"), (ARCHIVED, archived + "!")):
            with pytest.raises(Invalid):
                await backend.list_sessions(filter, limit=1, cursor=cursor)


STEPS = st.lists(st.tuples(st.sampled_from(["archive", "restore", "add"]), st.integers(0, 30)), max_size=4)


@pytest.mark.slow
@settings(max_examples=60, deadline=None)
@given(
    st.sets(st.integers(0, 14)),
    st.lists(STEPS, min_size=1, max_size=8),
    st.lists(st.integers(1, 5), min_size=1, max_size=4),
    st.booleans(),
    st.booleans(),
)
def test_a_session_that_does_not_change_is_listed_once_whatever_is_archived_between_two_pages(
    archived: set[int], steps: list[list[tuple[str, int]]], limits: list[int], has_cursors: bool, lists_archived: bool
) -> None:
    async def run() -> None:
        inner = listing(15, has_cursors=has_cursors)
        async with overlaid(inner) as backend:
            for number in archived:
                await backend.archive_session(f"s{number}")
            changed, found, cursor, page_number = set[str](), list[str](), "", 0
            while page_number == 0 or cursor:
                page = await backend.list_sessions(
                    SessionFilter(archived=lists_archived), limit=limits[page_number % len(limits)], cursor=cursor
                )
                found += names(page.sessions)
                for operation, number in steps[page_number % len(steps)]:
                    session_id = f"s{number}"
                    changed.add(session_id)
                    if operation == "add":
                        if session_id not in inner.contents.sessions:
                            inner.add(session_id, second=number)
                    elif session_id in inner.contents.sessions:
                        await (backend.archive_session if operation == "archive" else backend.restore_session)(
                            session_id
                        )
                cursor = page.next_cursor
                page_number += 1
                assert page_number < 100
            assert len(found) == len(set(found))
            same = {f"s{number}" for number in range(15) if (number in archived) is lists_archived} - changed
            assert same <= set(found) <= same | changed

    anyio.run(run)
