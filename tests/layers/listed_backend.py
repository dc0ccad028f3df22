"""A backend in memory that stores nothing but names, for tests of what an overlay adds."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path

from mcp_sessions.backends.base import REQUIRED, Capability, SessionBackend
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.read_all import ReadAllBackend
from mcp_sessions.errors import Timeout
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import Change, Message, SessionDetail, SessionFilter, SessionPage

START = datetime(2026, 1, 1, tzinfo=UTC)


@dataclass
class Contents:
    """What all views of the backend share."""

    sessions: dict[str, SessionDetail] = field(default_factory=dict[str, SessionDetail])
    pages: int = 0
    """How many pages of lists were read."""
    last_page: int = 10_000
    """The number of pages after which a list is not answered in time."""


class ListedBackend(ReadAllBackend):
    """Sessions of users, which can be listed, created, and deleted. It has no versions."""

    title = "a list"
    capabilities = REQUIRED | {Capability.CREATE_SESSION, Capability.DELETE_SESSION, Capability.RENAME_SESSION}

    def __init__(self, *, has_cursors: bool = True) -> None:
        self.contents = Contents()
        self._has_cursors = has_cursors

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset({"name"})

    def why_no_user_scoping(self) -> str:
        return ""

    def add(self, session_id: str, *, second: int = 0, user_id: str = "") -> None:
        time = START + timedelta(seconds=second)
        self.contents.sessions[session_id] = SessionDetail(
            id=session_id, name=f"name of {session_id}", user_id=user_id, created_at=time, updated_at=time
        )

    async def read_sessions(self) -> Sequence[SessionDetail]:
        return list(self.contents.sessions.values())

    async def read_messages(self, session_id: str) -> Sequence[Message]:
        return ()

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        self.contents.pages += 1
        if self.contents.pages > self.contents.last_page:
            raise Timeout("the list did not answer in time. Try again.")
        page = await super().list_sessions(filter, limit=limit, cursor=cursor)
        if self._has_cursors:
            return page
        rows = tuple(session.model_copy(update={"cursor": ""}) for session in page.sessions)
        return page.model_copy(update={"sessions": rows})

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        assert not (state or metadata), "this backend can't store them"
        session_id = f"new{len(self.contents.sessions)}"
        self.add(session_id, second=1_000, user_id=self.caller.user_id)
        return self.contents.sessions[session_id]

    async def rename_session(self, session_id: str, name: str) -> Change:
        before = await self.get_session(session_id)
        self.contents.sessions[session_id] = before.model_copy(update={"name": name})
        return Change(session_id=session_id, changed={"name": name}, previous={"name": before.name})

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        del self.contents.sessions[(await self.get_session(session_id)).id]
        return Change(session_id=session_id, note="Deleted.")


class Summarizing(ListedBackend):
    """A system that can store summaries, but no metadata."""

    capabilities = ListedBackend.capabilities | {Capability.UPDATE_SESSION}

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset({"name", "summary", "archived_at", "state"})

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: object = (),
        expected_version: str = "",
    ) -> Change:
        assert not metadata, "this backend can't store it"
        before = await self.get_session(session_id)
        self.contents.sessions[session_id] = before.model_copy(update={"summary": summary})
        return Change(session_id=session_id, changed={"summary": summary}, previous={"summary": before.summary})


def overlaid(inner: SessionBackend, path: Path, *, options: str = "", source: str = "list:") -> Overlay:
    return Overlay(inner, OverlayStore.from_url(f"sqlite:///{path}{options}"), source=source)


def number_in(version: str) -> int:
    """Return the overlay's part of a version."""
    return int(version.rpartition("+")[2])


async def ids(backend: SessionBackend, filter: SessionFilter = SessionFilter()) -> list[str]:  # noqa: B008 - immutable
    return [session.id for session in (await backend.list_sessions(filter)).sessions]
