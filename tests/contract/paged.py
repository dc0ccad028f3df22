"""All operations that return pages, as calls with a cursor."""

from collections.abc import Awaitable, Callable, Mapping

import pytest

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.errors import Invalid
from mcp_sessions.models import SessionFilter

from .walks import Page

Paged = Callable[[SessionBackend, str, str], Awaitable[Page]]

PAGED: Mapping[Capability, Paged] = {
    Capability.LIST_SESSIONS: lambda backend, _, cursor: backend.list_sessions(SessionFilter(), limit=2, cursor=cursor),
    Capability.GET_SESSION_HISTORY: lambda backend, session_id, cursor: backend.get_session_history(
        session_id, limit=2, cursor=cursor
    ),
    Capability.GET_SESSION_RUNS: lambda backend, session_id, cursor: backend.get_session_runs(
        session_id, limit=2, cursor=cursor
    ),
    Capability.SEARCH_SESSIONS: lambda backend, _, cursor: backend.search_sessions("question", limit=2, cursor=cursor),
}
"""Calls with backend, session id and cursor. Each returns a page of two."""


async def is_refused(call: Awaitable[Page], cursor: str) -> None:
    try:
        await call
    except Invalid as refusal:
        assert "cursor" in refusal.text
        assert refusal.text.isprintable()
    else:
        pytest.fail(f"{cursor!r} was taken for a cursor")
