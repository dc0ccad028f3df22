"""Guayaba as a backend: the sessions and archives of hosted agents."""

from collections.abc import Mapping
from contextlib import suppress
from types import TracebackType
from typing import Self
from weakref import WeakValueDictionary

import anyio

from ... import cursors
from ...caller import Caller
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
from ...text.validate import plain
from ...text.words import words_of
from ..base import Capability, SessionBackend, Tell
from ..http.client import HttpClient, path
from ..http.credentials import ANONYMOUS, Credential, PerCredential
from ..paging import message_page
from ..validation import NAME_LENGTH, session_name, session_type
from .api import MOST_MESSAGES, Api
from .changes import Changes
from .checks import examine
from .directory import Directory, Kept
from .listing import page_of
from .search import search_sessions
from .transcript import read_messages
from .wire import Entry

_SHARE_OF_TIME = 0.6
_NAME_LENGTH = 255
_MISSING = "Guayaba tells no state, metadata, summary, creation time or counts of a session."


class GuayabaBackend(SessionBackend):
    """Active sessions by their keys, archived ones by a handle to their file; across agents, `AGENT/` before either.

    Guayaba doesn't tell whose a session is. A caller that is narrowed to a user sees those of the user's agents, where
    `agents_of` says which these are, and else is refused.
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

    def __init__(
        self,
        http: HttpClient,
        credential: Credential,
        *,
        agent: str,
        agents_of: Mapping[str, frozenset[str]],
        timeout: float,
    ) -> None:
        self._http = http
        self._apis = PerCredential(lambda credential: Api(http.bearing(credential)))
        self._opened_with = self._credential = credential
        self._agent = agent
        self._agents_of = agents_of
        self._kept = Kept()
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()
        self._timeout = timeout
        self._caller = Caller()

    async def __aenter__(self) -> Self:
        await self._http.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._http.__aexit__(exc_type, exc, traceback)

    def deletion_notice(self) -> str:
        return "Its messages are deleted too. This can't be undone; archive_session would keep it."

    def why_not_narrowed(self) -> str:
        if self._agents_of:
            return ""
        return "Guayaba doesn't tell whose a session is, so each user's agents must be named: set --agents FILE."

    def for_caller(self, caller: Caller) -> Self:
        plain(caller.user_id, "user_id", NAME_LENGTH)
        credential = self._opened_with.of(caller)
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, _caller=caller, _credential=credential)
        return view

    async def check_reachable(self) -> None:
        """Where each caller has a key and this view has none, whether Guayaba answers anybody."""
        if not self._credential.is_missing:
            await super().check_reachable()
            return
        with self._http.call(), suppress(Unauthorized, Forbidden):
            await self._http.bearing(ANONYMOUS).read(path("agents"))

    async def examine(self, tell: Tell) -> None:
        async with self:
            with self._http.call():
                await examine(self._directory, self._agents_of, self.check_reachable, tell)

    @property
    def _api(self) -> Api:
        return self._apis.of(self._credential)

    @property
    def _directory(self) -> Directory:
        user = self._caller.user_id
        reach = self._agents_of.get(user, frozenset[str]()) if user else None
        return Directory(self._api, self._kept, self._agent, reach, patience=self._timeout / 4)

    @property
    def _changes(self) -> Changes:
        return Changes(self._directory, self._locks)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """By place in the order of time, over the whole list: `Directory` says what a change in between does."""
        self._require_users_are_known()
        plain(filter.query, "query", NAME_LENGTH)
        if filter.type:
            session_type(filter.type)
        if filter.order.startswith("created"):
            raise Unsupported("Guayaba doesn't tell when a session was made. Order by updated_desc or updated_asc.")
        walk = cursors.walk("list", self._caller.user_id, *vars(filter).values())
        after = cursors.read(cursor, walk, 2) if cursor else None
        directory, caller = self._directory, self._caller
        with self._http.call():
            listed = await directory.listed(
                archived=filter.archived, agent_id=filter.agent_id.lower(), fresh=not cursor
            )
        return page_of(
            listed, filter, limit, after, walk, present=caller.present, id_of=directory.id_of, owner=caller.user_id
        )

    async def get_session(self, session_id: str) -> SessionDetail:
        return self._detail(await self._find(session_id))

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        with self._http.call():
            entry = await self._find(session_id)
            if entry.is_archived:
                return self._detail(entry)
            try:
                answer, asked, _ = await self._api.history(entry)
                count = len(read_messages(answer))
            except (BadResponse, Unavailable):  # what can't be read can still be deleted
                return self._detail(entry)
        return self._detail(entry).model_copy(update={"message_count": count if count < asked else None})

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Of the newest 1,000 messages, which are all that Guayaba gives; the note says when there may be more."""
        with self._http.call():
            entry = await self._find(session_id)
            if entry.is_archived:
                raise Unsupported("Guayaba shows no messages of an archived session. restore_session first.")
            answer, asked, _ = await self._api.history(entry)
        messages = read_messages(answer)
        page = message_page(session_id, messages, query.selects, query, limit=limit, cursor=cursor)
        if len(messages) < asked:
            return page
        why = "Guayaba gives no more" if asked == MOST_MESSAGES else "they are too large to ask for more"
        note = f"Only the newest {len(messages):,} messages can be reached: {why}."
        return page.model_copy(update={"note": f"{page.note} {note}".strip()})

    async def search_sessions(self, query: str, *, limit: int = 10, cursor: str = "") -> SearchPage:
        """Reads the active sessions one by one, newest first: names and messages; of archived ones, the names."""
        self._require_users_are_known()
        words = words_of(query)
        with self._http.call():
            seconds = self._timeout * _SHARE_OF_TIME
            return await search_sessions(self._directory, self._caller, words, limit, cursor, seconds=seconds)

    async def rename_session(self, session_id: str, name: str) -> Change:
        """`""` clears the label."""
        new = _label(name)
        self._check(session_id)
        with self._http.call():
            before, after = await self._changes.rename(session_id, new)
        return self._change(after, {"name": after.name}, {"name": before.name})

    async def archive_session(self, session_id: str) -> Change:
        """The result's id is what restores it."""
        self._check(session_id)
        with self._http.call():
            before, after = await self._changes.archive(session_id)
        if before.is_archived:
            return self._change(after, note="It was archived already; nothing was changed.")
        changed, previous = {"archived_at": self._archived_at(after)}, {"archived_at": ""}
        if after.name != before.name:  # some keep no label in the archive
            changed, previous = changed | {"name": after.name}, previous | {"name": before.name}
        return self._change(after, changed, previous)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """The result's id is the key that it has now, which may be a new one."""
        new = _label(name)
        self._check(session_id)
        with self._http.call():
            before, after = await self._changes.restore(session_id, new)
            changed = {"archived_at": ""} if before.is_archived else {}
            previous = {"archived_at": self._archived_at(before)} if before.is_archived else {}
            note = "" if before.is_archived else "It was active already."
            wanted = new or before.name
            if wanted and after.name != wanted:  # some bring no label back
                try:
                    _, after = await self._changes.rename(self._directory.id_of(after), wanted)
                except SessionsError as error:
                    note = f"It is active, but could not be renamed ({error.code}). Try rename_session."
        if after.name != before.name:
            changed, previous = changed | {"name": after.name}, previous | {"name": before.name}
        return self._change(after, changed, previous, note)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Of an archived session, its file."""
        self._check(session_id)
        with self._http.call():
            await self._changes.delete(session_id, expected_version)
        return Change(session_id=session_id, note="Deleted, with its messages. Guayaba documents no way back.")

    async def _find(self, session_id: str) -> Entry:
        self._check(session_id)
        with self._http.call():
            return await self._directory.find(session_id)

    def _check(self, session_id: str) -> None:
        self._require_users_are_known()
        plain(session_id, "session_id", NAME_LENGTH)

    def _require_users_are_known(self) -> None:
        if self._caller.user_id and (why_not := self.why_not_narrowed()):
            raise Unsupported(why_not)

    def _detail(self, entry: Entry) -> SessionDetail:
        session = entry.session(self._directory.id_of(entry), owner=self._caller.user_id)
        return SessionDetail(**dict(session), version=entry.version, note=_MISSING)

    def _archived_at(self, entry: Entry) -> str:
        archived_at = entry.session("").archived_at
        return iso(archived_at) if archived_at else ""

    def _change(
        self,
        entry: Entry,
        changed: dict[str, str] | None = None,
        previous: dict[str, str] | None = None,
        note: str = "",
    ) -> Change:
        return Change(
            session_id=self._directory.id_of(entry),
            changed=dict(changed or {}),
            previous=dict(previous or {}),
            version=entry.version,
            note=note,
        )


def _label(name: str) -> str:
    label = session_name(name)
    if len(label) > _NAME_LENGTH:
        raise Invalid(f'"name" has {len(label)} characters; Guayaba keeps at most {_NAME_LENGTH}. Shorten it.')
    return label
