"""The reading operations, which are the same for opencode's REST API and for its database."""

from contextlib import suppress

from ...errors import BadResponse, Unavailable
from ...models import (
    DEFAULT_HISTORY,
    HistoryQuery,
    MessagePage,
    RunPage,
    SearchPage,
    SessionDetail,
    SessionFilter,
    SessionPage,
)
from ...text.search_query import parse_query
from .. import paging
from ..base import SessionBackend
from ..deadline import remaining
from ..validation import check_filter
from .creation import APPENDED_ROLES
from .details import detail_of
from .listing import list_sessions
from .search import search_sessions
from .source import MessageRows, OpencodeSource
from .transcript import read_messages, read_runs

_TIME_FRACTION = 0.6
"""A search returns what it has found after this fraction of a call's time."""


class OpencodeReader(SessionBackend):
    """Reads sessions of opencode. Sessions that another session started are not listed, but can be read by their ids.

    opencode has no users, state or summaries. A session that nobody has named has a default title, which is shown as
    no name.
    """

    appended_roles = APPENDED_ROLES

    @property
    def _source(self) -> OpencodeSource:
        raise NotImplementedError

    @property
    def keeps(self) -> frozenset[str]:
        return super().keeps - {"summary"}

    def why_no_user_scoping(self) -> str:
        return "opencode has no users: everybody who can reach its sessions sees all of them."

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """List the sessions of all projects. `walk.py` says how they are paged."""
        check_filter(filter)
        caller = self.caller
        return await list_sessions(self._source, filter, limit, cursor, sanitize=caller.sanitize, owner=caller.user_id)

    async def get_session(self, session_id: str) -> SessionDetail:
        return detail_of(await self._source.session(session_id))

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        session = await self._source.session(session_id)
        facts: dict[str, int] = {"child_count": await self._source.count_children(session_id)}
        with suppress(BadResponse, Unavailable):  # a session whose messages can't be read can still be deleted
            found = await self._source.messages(session_id)
            facts |= {"message_count": len(read_messages(found.rows))} if found.is_complete else {}
        return detail_of(session).model_copy(update=facts)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        found = await self._source.messages(session_id)
        messages = read_messages(found.rows)
        page = paging.message_page(session_id, messages, query.selects, query, limit=limit, cursor=cursor)
        return page.model_copy(update={"note": f"{page.note} {_gap_note(found)}".strip()})

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        runs = read_runs((await self._source.messages(session_id)).rows)
        return paging.run_page(session_id, runs, run_id=run_id, limit=limit, cursor=cursor)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search names and messages of active and archived sessions, one session at a time, newest first."""
        seconds = remaining(self.options.timeout) * _TIME_FRACTION
        parsed = parse_query(query)
        return await search_sessions(self._source, self.caller, parsed, limit, cursor, project=project, seconds=seconds)


def _gap_note(found: MessageRows) -> str:
    if found.is_complete:
        return ""
    return f"Only the newest {len(found.rows):,} messages can be read: more would be too large."
