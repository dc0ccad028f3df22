"""A search that runs out of time says so, and its cursor continues where it stopped."""

from itertools import count
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database import search
from mcp_sessions.backends.sql.search_rows import StoreSearchRows
from mcp_sessions.models import SearchPage

from ...contract.walks import walk
from ...support.store_files import assert_whole, connected

STRETCH = 8  # messages in a stretch, so that a few messages need several stretches


@pytest.fixture
async def words(store: SessionBackend, path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Create 60 sessions with one message each; every third name and every fifth message contains the word."""
    with connected(path) as connection:
        connection.execute("BEGIN")
        for key in range(1, 61):
            name, text = "word" if key % 3 == 0 else "name", "word" if key % 5 == 0 else "text"
            connection.execute(
                "INSERT INTO sessions VALUES"
                " (?, ?, ?, ?, 'agent', '', '', 0, 1, 1, NULL, NULL, 1, 1, 1, '', '{}', '{}')",
                (key, f"id{key}", name, name),
            )
            connection.execute("INSERT INTO messages VALUES (?, ?, 1, 1, 'user', 1, '', '', '', ?)", (key, key, text))
            connection.execute("INSERT INTO name_index (rowid, owner, words) VALUES (?, '', ?)", (key, name))
            connection.execute("INSERT INTO message_index (rowid, owner, words) VALUES (?, '', ?)", (key, text))
        connection.execute("COMMIT")
    assert_whole(path)
    monkeypatch.setattr(StoreSearchRows, "first_range", STRETCH)


EVERYTHING = [*(f"id{key}" for key in range(60, 0, -3)), *(f"id{key} m1" for key in range(60, 0, -5))]


def _places(page: SearchPage) -> list[str]:
    return [f"{hit.session_id} {hit.message_id}".strip() for hit in page.hits]


def _let_time_run(monkeypatch: pytest.MonkeyPatch, looks: int) -> None:
    """Make every check of the clock take a second, with a time limit after `looks` checks."""
    seconds = count()
    monkeypatch.setattr(search, "thread_time", lambda: next(seconds))
    monkeypatch.setattr(search, "BUDGET", looks + 0.5)


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_a_search_that_ends_in_time_is_complete(store: SessionBackend, limit: int) -> None:
    pages = await walk(lambda cursor: store.search_sessions("word", limit=limit, cursor=cursor))
    assert [place for page in pages for place in _places(page)] == EVERYTHING
    assert all(page.complete and not page.note for page in pages)


@pytest.mark.usefixtures("words")
async def test_a_search_without_time_is_incomplete_and_has_a_cursor(
    store: SessionBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(search, "BUDGET", 0)
    page = await store.search_sessions("word")
    assert not page.complete
    assert page.next_cursor
    assert "Continue with next_cursor" in page.note


@pytest.mark.usefixtures("words")
@pytest.mark.parametrize("looks", [1, 2, 3])
@pytest.mark.parametrize("limit", [1, 3, 50])
async def test_a_search_that_is_stopped_repeatedly_finds_every_hit_once(
    store: SessionBackend, monkeypatch: pytest.MonkeyPatch, limit: int, looks: int
) -> None:
    places: list[str] = []
    complete: list[bool] = []
    cursor = ""
    while cursor or not complete:
        _let_time_run(monkeypatch, looks)
        page = await store.search_sessions("word", limit=limit, cursor=cursor)
        places += _places(page)
        complete.append(page.complete)
        cursor = page.next_cursor
        assert len(page.hits) <= limit
        assert page.complete or cursor
        assert page.complete or "Continue with next_cursor" in page.note
    assert places == EVERYTHING
    assert complete[-1]
    # A page with few hits is full before its time is up.
    assert False in complete or limit < 50


@pytest.mark.slow
@pytest.mark.usefixtures("words")
async def test_a_search_returns_a_page_whichever_statement_is_stopped(
    store: SessionBackend, monkeypatch: pytest.MonkeyPatch
) -> None:
    """SQLite counts the steps of a statement over all its runs, so any run may be the one that is interrupted."""
    monkeypatch.setattr(search, "BUDGET", 0)
    monkeypatch.setattr(search, "thread_time", lambda: 0.0)
    pages = [await store.search_sessions("word", limit=50) for _ in range(500)]
    assert {page.complete for page in pages} == {True, False}
    assert all(_places(page) == EVERYTHING[: len(page.hits)] for page in pages)
    monkeypatch.undo()
    assert (await store.search_sessions("word")).complete
