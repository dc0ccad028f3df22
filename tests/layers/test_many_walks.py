"""Lists of `Many` while one of its backends dies or comes back: no session comes twice, and the walk ends."""

import pytest

from mcp_sessions.backends.layers.many import Many
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid
from mcp_sessions.models import SessionFilter

from .faulty import pair

ALL = SessionFilter()


async def test_a_backend_that_dies_during_a_walk_takes_nothing_of_the_others_with_it() -> None:
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


async def test_sessions_of_a_backend_that_comes_back_during_a_walk_come_late_and_once() -> None:
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


async def test_a_backend_that_dies_when_the_others_are_at_their_end_ends_the_walk_with_a_note() -> None:
    async with pair() as (many, bare, work):
        await bare.create_session(name="1")
        for number in range(4):
            await work.inner.create_session(name=f"{number}")
        first = await many.list_sessions(SessionFilter(order="updated_asc"), limit=2)
        work.faults.now = "dead"
        last = await many.list_sessions(SessionFilter(order="updated_asc"), limit=2, cursor=first.next_cursor)
        assert (last.sessions, last.next_cursor) == ((), "")
        assert last.note.startswith("The sessions of work")


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
