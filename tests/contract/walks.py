"""Functions that follow next_cursor to the last page."""

from collections.abc import Awaitable, Callable
from typing import Protocol, TypeVar

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.models import HistoryQuery, Message, MessagePage, Role, Run, SearchHit, Session, SessionFilter

MAX_PAGES = 500


class Page(Protocol):
    @property
    def next_cursor(self) -> str: ...


P = TypeVar("P", bound=Page)


async def walk(first_to_last: Callable[[str], Awaitable[P]]) -> list[P]:
    """Return all pages. Fail if there is no last one."""
    pages: list[P] = []
    cursor = ""
    for _ in range(MAX_PAGES):
        pages.append(await first_to_last(cursor))
        cursor = pages[-1].next_cursor
        if not cursor:
            return pages
    pytest.fail(f"the walk did not end after {MAX_PAGES} pages")


async def all_sessions(backend: SessionBackend, filter: SessionFilter, limit: int) -> list[Session]:
    pages = await walk(lambda cursor: backend.list_sessions(filter, limit=limit, cursor=cursor))
    assert all(len(page.sessions) <= limit for page in pages)
    return [session for page in pages for session in page.sessions]


async def history_pages(
    backend: SessionBackend,
    session_id: str,
    limit: int,
    *,
    around: str = "",
    roles: tuple[Role, ...] = (),
    include_tools: bool = False,
) -> list[MessagePage]:
    """Return all pages of a history, newest first."""
    pages = await walk(
        lambda cursor: backend.get_session_history(
            session_id,
            HistoryQuery(around="" if cursor else around, roles=roles, include_tools=include_tools),
            limit=limit,
            cursor=cursor,
        )
    )
    assert all(len(page.messages) <= limit for page in pages)
    return pages


def oldest_first(pages: list[MessagePage]) -> list[Message]:
    return [message for page in reversed(pages) for message in page.messages]


async def all_runs(backend: SessionBackend, session_id: str, limit: int) -> list[Run]:
    pages = await walk(lambda cursor: backend.get_session_runs(session_id, limit=limit, cursor=cursor))
    assert all(len(page.runs) <= limit for page in pages)
    return [run for page in pages for run in page.runs]


async def all_hits(backend: SessionBackend, query: str, limit: int) -> list[SearchHit]:
    pages = await walk(lambda cursor: backend.search_sessions(query, limit=limit, cursor=cursor))
    assert all(len(page.hits) <= limit for page in pages)
    return [hit for page in pages for hit in page.hits]
