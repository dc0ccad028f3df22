"""Lists of the embedded store: behaviour beyond the contract."""

from datetime import UTC, datetime, timedelta, timezone
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.sql import sessions as session_rows
from mcp_sessions.backends.sql.backend import SqlBackend
from mcp_sessions.caller import Caller
from mcp_sessions.models import Order, SessionFilter

from ...support.store_files import connected

SECOND = timedelta(seconds=1)
NOON = datetime(2024, 5, 1, 12, tzinfo=UTC)


async def _create_at(store: SessionBackend, path: Path, *moments: datetime) -> None:
    for moment in moments:
        session = await store.create_session(name=f"{moment:%M:%S.%f}")
        micros = round(moment.timestamp() * 1_000_000)
        with connected(path) as connection:
            connection.execute(
                "UPDATE sessions SET created_at = ?, updated_at = ? WHERE id = ?", (micros, micros, session.id)
            )


async def _names(store: SessionBackend, filter: SessionFilter) -> list[str]:
    return [session.name for session in (await store.list_sessions(filter)).sessions]


@pytest.mark.parametrize("order", ["updated_asc", "created_asc"])
async def test_filters_compare_times_to_the_second_as_they_are_shown(
    store: SessionBackend, path: Path, order: Order
) -> None:
    await _create_at(store, path, NOON, NOON + SECOND / 2, NOON + SECOND)
    for after, names in (
        (NOON - SECOND, ["00:00.000000", "00:00.500000", "00:01.000000"]),
        (NOON, ["00:01.000000"]),
        (NOON + SECOND / 2, ["00:01.000000"]),
        (NOON + SECOND, []),
    ):
        assert await _names(store, SessionFilter(updated_after=after, order=order)) == names
    for before, names in (
        (NOON, []),
        (NOON + SECOND / 2, ["00:00.000000", "00:00.500000"]),
        (NOON + SECOND, ["00:00.000000", "00:00.500000"]),
        (NOON + 2 * SECOND, ["00:00.000000", "00:00.500000", "00:01.000000"]),
    ):
        assert await _names(store, SessionFilter(updated_before=before, order=order)) == names


async def test_filters_accept_times_of_any_zone_and_year(store: SessionBackend, path: Path) -> None:
    await _create_at(store, path, NOON)
    in_tokyo = NOON.astimezone(timezone(timedelta(hours=9)))
    assert await _names(store, SessionFilter(updated_after=in_tokyo - SECOND)) == ["00:00.000000"]
    assert await _names(store, SessionFilter(updated_after=in_tokyo)) == []
    everything = SessionFilter(
        updated_after=datetime(1, 1, 2, tzinfo=UTC), updated_before=datetime(9999, 12, 30, tzinfo=UTC)
    )
    assert await _names(store, everything) == ["00:00.000000"]


async def test_a_page_with_all_sessions_has_a_total(store: SessionBackend) -> None:
    for number in range(3):
        await store.create_session(name=f"{number}")
    pages = [await store.list_sessions(SessionFilter(), limit=limit) for limit in (2, 3, 4)]
    assert [(page.total, bool(page.next_cursor)) for page in pages] == [(None, True), (3, False), (3, False)]
    last = await store.list_sessions(SessionFilter(), limit=2, cursor=pages[0].next_cursor)
    assert (len(last.sessions), last.total) == (1, None)


async def test_each_row_has_a_cursor_that_continues_after_it(store: SessionBackend) -> None:
    for number in range(5):
        await store.create_session(name=f"{number}")
    page = await store.list_sessions(SessionFilter())
    for place, session in enumerate(page.sessions):
        rest = await store.list_sessions(SessionFilter(), cursor=session.cursor)
        assert rest.sessions == page.sessions[place + 1 :]


async def test_a_changed_session_moves_to_the_newest_end(store: SessionBackend) -> None:
    first = await store.create_session(name="first")
    await store.create_session(name="second")
    assert await _names(store, SessionFilter()) == ["second", "first"]
    await store.update_session_state(first.id, {"a": 1})
    assert await _names(store, SessionFilter()) == ["first", "second"]
    assert await _names(store, SessionFilter(order="created_desc")) == ["second", "first"]


@pytest.mark.parametrize("order", ["updated_desc", "created_asc"])
@pytest.mark.parametrize("user", ["", "ann"])
async def test_combined_filters_select_the_intersection(store: SessionBackend, user: str, order: Order) -> None:
    theirs = store.for_caller(Caller(user_id=user))
    for name in ("trip", "work"):
        for type in ("agent", "team"):
            for agent_id in ("a", "b"):
                await store.for_caller(Caller(user_id="ann")).create_session(
                    name=f"{name} {type} {agent_id}", type=type, agent_id=agent_id
                )
    for query in ("", "trip"):
        for type in ("", "team"):
            for agent_id in ("", "b"):
                names = await _names(theirs, SessionFilter(query=query, type=type, agent_id=agent_id, order=order))
                assert len(names) == 8 // (2 if query else 1) // (2 if type else 1) // (2 if agent_id else 1)
                assert all(query in name and type in name and name.endswith(agent_id) for name in names)


async def test_a_page_ends_early_after_reading_many_names_of_other_users(store: SessionBackend) -> None:
    assert isinstance(store, SqlBackend)
    index = store.database.index

    async def create(*names: str) -> None:
        def insert(tx: Transaction) -> None:
            for name in names:
                values = {"type": "agent", "agent_id": "", "user_id": "ann", "state": "{}", "metadata": "{}"}
                session_rows.insert(tx, index, name=name, **values)

        await store.database.write(insert)

    await create("trip there")
    for _ in range(10):  # on a busy machine, all of them together may exceed the time limit of one change
        await create(*["trip hidden"] * 410)
    await create("trip here")
    looked_at: list[str] = []

    def sanitize(text: str) -> str:
        looked_at.append(text)
        return text.replace("trip hidden", "[redacted]")

    ann = store.for_caller(Caller(user_id="ann", sanitize=sanitize))
    pages: list[tuple[list[str], bool, str]] = []
    cursor = ""
    while not pages or cursor:
        looked_at.clear()
        page = await ann.list_sessions(SessionFilter(query="trip"), limit=20, cursor=cursor)
        cursor = page.next_cursor
        pages.append(([session.name for session in page.sessions], page.total is None, page.note))
        assert len(looked_at) < 2_050
    note = "Stopped after 2,000 names. Continue with next_cursor."
    assert pages == [(["trip here"], True, note), ([], True, note), (["trip there"], True, "")]


@pytest.mark.parametrize("query", ["%", "_", "\\", "100%", "a_b"])
async def test_a_query_has_no_wildcards(store: SessionBackend, query: str) -> None:
    await store.create_session(name="100% a_b \\")
    for _ in range(3):
        await store.create_session(name="1000 acb /")
    page = await store.list_sessions(SessionFilter(query=query), limit=1)
    assert ([session.name for session in page.sessions], page.next_cursor) == (["100% a_b \\"], "")


async def test_frequent_lists_are_found_and_sorted_by_an_index(store: SessionBackend, path: Path) -> None:
    """No page sorts or reads more rows than it returns, so its cost does not grow with the store."""
    conditions = {
        "place = 0": ("updated_at", "created_at"),
        "user_id = 'u' AND place = 0": ("updated_at", "created_at"),
        "agent_id = 'a' AND place = 0": ("updated_at",),
    }
    with connected(path) as connection:
        for condition, columns in conditions.items():
            for column in columns:
                plan = connection.execute(
                    f"EXPLAIN QUERY PLAN SELECT * FROM sessions WHERE {condition} AND ({column}, key) < (1, 1)"
                    f" ORDER BY {column} DESC, key DESC LIMIT 20"
                ).fetchall()
                assert len(plan) == 1
                assert "USING INDEX sessions_" in plan[0][3]
