"""The Guayaba backend: the sessions and archives of hosted agents."""

from collections.abc import Sequence
from contextlib import suppress
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

import anyio

from ... import cursors
from ...errors import BadResponse, Forbidden, Invalid, SessionsError, Unauthorized, Unavailable, Unsupported
from ...models import (
    DEFAULT_HISTORY,
    Change,
    HistoryQuery,
    MessagePage,
    SearchPage,
    SessionDetail,
    SessionFilter,
    SessionPage,
    iso,
)
from ...text.search_query import parse_query
from ...text.validate import check_text
from ..base import Capability
from ..deadline import remaining
from ..health import Report
from ..http.backend import HttpBackend
from ..http.client import HttpClient, path
from ..http.credentials import ANONYMOUS, Credential, CredentialCache
from ..paging import message_page
from ..project_filter import NO_HITS, NO_SESSIONS, in_project
from ..validation import NAME_LENGTH, check_filter, session_name
from . import GuayabaOptions
from .api import MAX_MESSAGES, Api
from .changes import SessionWriter
from .checks import examine
from .directory import Directory, ListingCache
from .listing import page_of
from .search import search_sessions
from .transcript import read_messages
from .wire import GuayabaSession

_TIME_FRACTION = 0.6
"""A search returns what it has found after this fraction of a call's time."""
_LABEL_LENGTH = 255
_DETAIL_NOTE = "Guayaba has no creation time or counts of a session."


class GuayabaBackend(HttpBackend):
    """Sessions of Guayaba's agents.

    The id of an active session is its key. The id of an archived session is a handle for its file. Both begin with
    `AGENT/` unless the backend is limited to one agent.

    Guayaba does not expose a session's owner. A caller that is limited to a user gets the sessions of the user's agents
    in the option `agents`, and is refused if that option is not set.
    """

    title = "Guayaba"
    capabilities = frozenset(
        {
            Capability.LIST_SESSIONS,
            Capability.GET_SESSION,
            Capability.SEARCH_SESSIONS,
            Capability.RENAME_SESSION,
            Capability.ARCHIVE_SESSION,
            Capability.RESTORE_SESSION,
            Capability.DELETE_SESSION,
            Capability.GET_SESSION_HISTORY,
            Capability.APPLY_TO_SESSIONS,
        }
    )

    def __init__(self, http: HttpClient, credential: Credential, options: GuayabaOptions) -> None:
        self.options = options
        self._http = http
        self._apis = CredentialCache(lambda credential: Api(http.with_credential(credential)))
        self._configured_credential = self._credential = credential
        self._agent = options.agent.lower()
        self._agents_of = {user: frozenset(id.lower() for id in ids) for user, ids in options.agents.items()}
        self._cache = ListingCache()
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        return "Its messages are deleted too. This can't be undone; archive_session keeps the session instead."

    def why_no_user_scoping(self) -> str:
        if self._agents_of:
            return ""
        return "Guayaba does not expose a session's owner, so each user's agents must be named. Set the option agents."

    def _prepare_view(self) -> None:
        self._credential = self._configured_credential.for_caller(self.caller)

    async def check_reachable(self) -> None:
        """Raise an error if Guayaba can't be reached, or refuses a key that all callers share."""
        if not self._credential.is_missing:
            await super().check_reachable()
            return
        with suppress(Unauthorized, Forbidden):
            await self._http.with_credential(ANONYMOUS).read(path("agents"))

    async def examine(self, report: Report) -> None:
        async with self:
            await examine(self._directory, self._agents_of, self.check_reachable, report)

    @property
    def _api(self) -> Api:
        return self._apis.get(self._credential)

    @property
    def _directory(self) -> Directory:
        user = self.caller.user_id
        allowed_agents = self._agents_of.get(user, frozenset[str]()) if user else None
        return Directory(self._api, self._cache, self._agent, allowed_agents, agent_timeout=self.options.timeout / 4)

    @property
    def _writer(self) -> SessionWriter:
        return SessionWriter(self._directory, self._locks)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """List sessions. `Directory` says how changes affect the later pages."""
        check_filter(filter)
        if not in_project(filter.project)(""):
            return NO_SESSIONS
        if filter.order.startswith("created"):
            raise Unsupported(
                "Guayaba does not expose when a session was created. Order by updated_desc or updated_asc."
            )
        walk_id = cursors.walk("list", self.caller.user_id, *vars(filter).values())
        after = cursors.read(cursor, walk_id, 2) if cursor else None
        directory, caller = self._directory, self.caller
        listing = await directory.list_sessions(
            archived=filter.archived, agent_id=filter.agent_id.lower(), fresh=not cursor
        )
        return page_of(
            listing,
            filter,
            limit,
            after,
            walk_id,
            sanitize=caller.sanitize,
            id_of=directory.id_of,
            owner=caller.user_id,
        )

    async def get_session(self, session_id: str) -> SessionDetail:
        return self._detail(await self._find(session_id))

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        session = await self._find(session_id)
        if session.is_archived:
            return self._detail(session)
        try:
            history = await self._api.history(session)
            count = len(read_messages(history.answer))
        except (BadResponse, Unavailable):  # a session whose messages can't be read can still be deleted
            return self._detail(session)
        return self._detail(session).model_copy(update={"message_count": count if count < history.limit else None})

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Return messages from the newest 1,000, as Guayaba returns no more. A note says if there may be more."""
        session = await self._find(session_id)
        if session.is_archived:
            raise Unsupported("Guayaba shows no messages of an archived session. Use restore_session first.")
        history = await self._api.history(session)
        messages = read_messages(history.answer)
        page = message_page(session_id, messages, query.selects, query, limit=limit, cursor=cursor)
        if len(messages) < history.limit:
            return page
        why = "Guayaba returns no more" if history.limit == MAX_MESSAGES else "more would be too large to read"
        note = f"Only the newest {len(messages):,} messages can be read: {why}."
        return page.model_copy(update={"note": f"{page.note} {note}".strip()})

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search names and messages of active sessions, one at a time, newest first, and names of archived ones."""
        parsed = parse_query(query)
        if not in_project(project)(""):
            return NO_HITS
        seconds = remaining(self.options.timeout) * _TIME_FRACTION
        return await search_sessions(self._directory, self.caller, parsed, limit, cursor, seconds=seconds)

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session; `""` removes its label."""
        new = _label(name)
        self._validate(session_id)
        before, after = await self._writer.rename(session_id, new)
        return self._change(after, {"name": after.name}, {"name": before.name})

    async def archive_session(self, session_id: str) -> Change:
        """Archive a session. The result has the id to restore it with."""
        self._validate(session_id)
        before, after = await self._writer.archive(session_id)
        if before.is_archived:
            return self._change(after, note="Nothing was changed: the session is archived already.")
        changed, previous = {"archived_at": self._archived_at(after)}, {"archived_at": ""}
        if after.name != before.name:  # some versions keep no label in the archive
            changed, previous = changed | {"name": after.name}, previous | {"name": before.name}
        return self._change(after, changed, previous)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore a session. The result has its id, which may be a new one."""
        new = _label(name)
        self._validate(session_id)
        before, after = await self._writer.restore(session_id, new)
        changed = {"archived_at": ""} if before.is_archived else {}
        previous = {"archived_at": self._archived_at(before)} if before.is_archived else {}
        note = "" if before.is_archived else "The session was active already."
        wanted = new or before.name
        if wanted and after.name != wanted:  # some versions don't restore the label
            try:
                _, after = await self._writer.rename(self._directory.id_of(after), wanted)
            except SessionsError as error:
                note = f"The session was restored, but could not be renamed ({error.code}). Try rename_session."
        if after.name != before.name:
            changed, previous = changed | {"name": after.name}, previous | {"name": before.name}
        return self._change(after, changed, previous, note)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Delete a session, or the file of an archived one."""
        self._validate(session_id)
        await self._writer.delete(session_id, expected_version)
        return Change(session_id=session_id, note="Deleted, with its messages. Guayaba documents no way to undo this.")

    async def _find(self, session_id: str) -> GuayabaSession:
        self._validate(session_id)
        return await self._directory.find(session_id)

    def _validate(self, session_id: str) -> None:
        check_text(session_id, "session_id", NAME_LENGTH)

    def _detail(self, session: GuayabaSession) -> SessionDetail:
        item = session.to_session(self._directory.id_of(session), owner=self.caller.user_id)
        return SessionDetail(**dict(item), version=session.version, note=_DETAIL_NOTE)

    def _archived_at(self, session: GuayabaSession) -> str:
        archived_at = session.to_session("").archived_at
        return iso(archived_at) if archived_at else ""

    def _change(
        self,
        session: GuayabaSession,
        changed: dict[str, str] | None = None,
        previous: dict[str, str] | None = None,
        note: str = "",
    ) -> Change:
        return Change(
            session_id=self._directory.id_of(session),
            changed=dict(changed or {}),
            previous=dict(previous or {}),
            version=session.version,
            note=note,
        )


def _label(name: str) -> str:
    label = session_name(name)
    if len(label) > _LABEL_LENGTH:
        raise Invalid(f'"name" has {len(label)} characters; Guayaba keeps at most {_LABEL_LENGTH}. Shorten it.')
    return label
