"""Walks through lists of `Many` end and repeat no session, even if a backend fails, recovers or returns odd pages."""

import pytest

from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import BadResponse, Invalid
from mcp_sessions.models import SessionFilter, SessionPage

from .faulty import pair

ALL = SessionFilter()


async def test_a_backend_that_fails_between_pages_hides_no_sessions_of_the_others() -> None:
    async with pair() as (many, bare, work):
        own = [(await bare.create_session(name=f"{number}")).id for number in range(7)]
        theirs = [f"work/{(await work.inner.create_session(name=f'{number}')).id}" for number in range(7)]
        first = await many.list_sessions(ALL, limit=4)
        work.faults.now = "dead"
        ids = [session.id for session in first.sessions]
        notes: list[str] = []
        cursor = first.next_cursor
        while cursor:
            page = await many.list_sessions(ALL, limit=4, cursor=cursor)
            ids += [session.id for session in page.sessions]
            notes.append(page.note)
            cursor = page.next_cursor
        assert len(ids) == len(set(ids))
        assert set(own) <= set(ids) <= {*own, *theirs}
        assert all("work" in note for note in notes)


async def test_the_last_page_of_a_walk_tells_how_to_get_sessions_that_are_missing() -> None:
    async with pair() as (many, bare, work):
        for number in range(3):
            await bare.create_session(name=f"{number}")
        work.faults.now = "dead"
        first = await many.list_sessions(ALL, limit=2)
        assert "Call again" not in first.note
        last = await many.list_sessions(ALL, limit=2, cursor=first.next_cursor)
        assert last.note.endswith(" Call again with the same arguments to get them.")


async def test_sessions_of_a_backend_that_recovers_between_pages_are_listed_once() -> None:
    async with pair() as (many, bare, work):
        own = [(await bare.create_session(name=f"{number}")).id for number in range(5)]
        theirs = [f"work/{(await work.inner.create_session(name=f'{number}')).id}" for number in range(5)]
        work.faults.now = "dead"
        first = await many.list_sessions(ALL, limit=2)
        assert {session.id for session in first.sessions} <= set(own)
        work.faults.now = ""
        await many.get_session(theirs[0])
        ids = [session.id for session in first.sessions]
        cursor = first.next_cursor
        while cursor:
            page = await many.list_sessions(ALL, limit=2, cursor=cursor)
            ids += [session.id for session in page.sessions]
            cursor = page.next_cursor
        assert sorted(ids) == sorted([*own, *theirs])


async def test_a_list_ends_with_a_note_if_only_a_failing_backend_has_more_sessions() -> None:
    async with pair() as (many, bare, work):
        await bare.create_session(name="1")
        for number in range(4):
            await work.inner.create_session(name=f"{number}")
        first = await many.list_sessions(SessionFilter(order="updated_asc"), limit=2)
        work.faults.now = "dead"
        last = await many.list_sessions(SessionFilter(order="updated_asc"), limit=2, cursor=first.next_cursor)
        assert (last.sessions, last.next_cursor) == ((), "")
        assert last.note.startswith("The sessions of work")
        assert last.note.endswith(" Call again with the same arguments to get them.")
        work.faults.now = ""
        await many.get_session(f"work/{(await work.inner.create_session()).id}")
        rest = await many.list_sessions(SessionFilter(order="updated_asc"), limit=9, cursor=first.next_cursor)
        assert len(first.sessions) + len(rest.sessions) == 6


async def test_a_cursor_of_other_backends_or_of_another_user_is_refused() -> None:
    stores = [open_backend() for _ in range(3)]
    async with Many({"": stores[0], "work": stores[1]}) as many:
        for _ in range(3):
            await many.create_session(name="Rome")
        listed = (await many.list_sessions(ALL, limit=1)).next_cursor
        found = (await many.search_sessions("rome", limit=1)).next_cursor
        renamed = Many({"": stores[0], "home": stores[1]})
        more = Many({"": stores[0], "work": stores[1], "home": stores[2]})
        for view in (many.for_caller(Caller(user_id="ann")), renamed, more):
            for call in (view.list_sessions(ALL, cursor=listed), view.search_sessions("rome", cursor=found)):
                with pytest.raises(Invalid, match="cursor"):
                    await call


async def test_a_page_without_sessions_does_not_disturb_the_order() -> None:
    class Sparse(Wrapper):
        """Its first page has no session, only a cursor."""

        async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
            if not cursor:
                return SessionPage(sessions=(), next_cursor="1")
            return await super().list_sessions(filter, limit=limit)

    older, newer = open_backend(), open_backend()
    async with Many({"": older, "work": Sparse(newer)}) as many:
        for backend in (older, newer):
            await backend.create_session(name="older" if backend is older else "newer")
        shown = (await many.list_sessions(SessionFilter(order="created_desc"))).sessions
        assert sorted(shown, key=lambda one: str(one.created_at), reverse=True) == [*shown]
        assert {session.name for session in shown} == {"older", "newer"}


async def test_rows_without_cursors_are_an_error_since_they_would_be_repeated() -> None:
    class WithoutCursors(Wrapper):
        async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
            page = await super().list_sessions(filter, limit=limit, cursor=cursor)
            rows = [session.model_copy(update={"cursor": ""}) for session in page.sessions]
            return page.model_copy(update={"sessions": tuple(rows)})

    work = open_backend()
    async with Many({"": open_backend(), "work": WithoutCursors(work)}) as many:
        for _ in range(3):
            await work.create_session()
        with pytest.raises(BadResponse, match="rows without cursors"):
            await many.list_sessions(ALL, limit=2)
