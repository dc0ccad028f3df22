"""AgentOS as a backend: every operation but adding messages, which only a run can do there."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from ...caller import Caller
from ...errors import Forbidden, Invalid, SessionsError, Unauthorized
from ...json_documents import JsonObject
from ...models import (
    DEFAULT_HISTORY,
    BulkAction,
    BulkResult,
    Change,
    Clearable,
    HistoryQuery,
    MessagePage,
    RunPage,
    SearchPage,
    SessionDetail,
    SessionFilter,
    SessionPage,
    StateMode,
    iso,
)
from ...text.validate import plain
from ...text.words import words_of
from ..base import Capability, SessionBackend, Tell
from ..http.credentials import ANONYMOUS, Credential
from ..paging import message_page
from ..validation import NAME_LENGTH, SUMMARY_LENGTH, json_text, session_name, session_type
from .accounts import Accounts
from .api import Api
from .checks import examine
from .creation import create, fork
from .listing import list_sessions
from .recheck import edits
from .recheck.rechecker import Keeper
from .recheck.writer import Changes, Made, Plan, told
from .runs import count_runs, run_page
from .search import search_sessions
from .transcript import read_transcript
from .versions import Trait, find_version
from .wire import ARCHIVED_AT, Stored

logger = logging.getLogger(__name__)

_SHARE_OF_TIME = 0.6
"""The part of a call's time after which a list or a search says how far it came."""


class AgentOsBackend(SessionBackend):
    """Sessions of an AgentOS, through its REST API. Archived ones bear `archived_at` in their metadata."""

    title = "AgentOS"
    capabilities = frozenset(Capability) - {Capability.APPEND_MESSAGES}

    def __init__(self, accounts: Accounts, credential: Credential, *, timeout: float) -> None:
        self._accounts = accounts
        self._opened_with = self._credential = credential
        self._timeout = timeout
        self._caller = Caller()
        self._owner = ""
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(self._accounts.open())
            if self._credential.token:
                tasks.start_soon(self._warn_if_open)
            self._accounts.of(self._credential)  # which has checked what is held with it
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    def for_caller(self, caller: Caller) -> Self:
        plain(caller.user_id, "user_id", NAME_LENGTH)
        credential = self._opened_with.of(caller)
        view = object.__new__(type(self))
        view.__dict__.update(self.__dict__, _caller=caller, _owner=caller.user_id, _credential=credential)
        return view

    async def check_reachable(self) -> None:
        """Where each caller has a credential and this view has none, whether an AgentOS answers anybody."""
        if not self._credential.is_missing:
            await super().check_reachable()
            return
        with self._accounts.http.call(), suppress(Unauthorized, Forbidden):
            await find_version(self._accounts.http.bearing(ANONYMOUS))

    async def examine(self, tell: Tell) -> None:
        async with self._accounts.http:
            with self._accounts.http.call():
                await examine(self._api, self.check_reachable, tell)

    @property
    def _api(self) -> Api:
        return self._accounts.of(self._credential).api

    @property
    def _keeper(self) -> Keeper:
        return self._accounts.of(self._credential).keeper

    @property
    def _changes(self) -> Changes:
        return self._accounts.of(self._credential).changes

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """By our own cursors over AgentOS's pages; `pages.py` says what they can't hold against removals."""
        plain(filter.query, "query", NAME_LENGTH)
        plain(filter.agent_id, "agent_id", NAME_LENGTH)
        if filter.type:
            session_type(filter.type)
        with self._api.http.call():
            return await list_sessions(
                self._api,
                self._owner,
                filter,
                limit,
                cursor,
                present=self._caller.present,
                seconds=self._timeout * _SHARE_OF_TIME,
            )

    async def get_session(self, session_id: str) -> SessionDetail:
        with self._api.http.call():
            return self._detail(await self._find(session_id))

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        with self._api.http.call():
            stored = await self._find(session_id)
            count = await count_runs(self._api, stored, self._owner)
            return self._detail(stored).model_copy(update={"run_count": count})

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """From all of a session's runs, which AgentOS gives in one piece: at most 32 MiB are read."""
        with self._api.http.call():
            type = await self._type_of(session_id)
            transcript = read_transcript((await self._api.runs(session_id, self._owner, type)).json())
            return message_page(
                session_id, transcript.messages, transcript.selects(query), query, limit=limit, cursor=cursor
            )

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        with self._api.http.call():
            type = await self._type_of(session_id)
            return await run_page(self._api, session_id, self._owner, type, run_id=run_id, limit=limit, cursor=cursor)

    async def search_sessions(self, query: str, *, limit: int = 10, cursor: str = "") -> SearchPage:
        """Reads the sessions one by one, newest first: names, summaries and messages, active and archived."""
        words = words_of(query)
        with self._api.http.call():
            return await search_sessions(
                self._api, self._caller, words, limit, cursor, seconds=self._timeout * _SHARE_OF_TIME
            )

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        with self._api.http.call():
            made = await create(
                self._api,
                self._owner,
                name=name,
                type=type,
                agent_id=agent_id,
                state=state or {},
                metadata=edits.own_metadata(metadata or {}),
            )
            return made.detail()

    async def rename_session(self, session_id: str, name: str) -> Change:
        """`""` clears it: AgentOS then shows no name, rather than the first words."""
        new = session_name(name)
        return told(await self._make(session_id, lambda stored: {"name": new}), ("name",))

    async def archive_session(self, session_id: str) -> Change:
        made = await self._make(session_id, edits.archived(iso(datetime.now(UTC))))
        if made.before.archived_at:
            return told(made, (), "It was archived already; nothing was changed.")
        return told(made, ("archived_at",))

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        new = session_name(name)
        made = await self._make(session_id, edits.restored(new))
        fields = [*(["archived_at"] if made.before.archived_at else []), *(["name"] if new else [])]
        return told(made, fields, "" if made.before.archived_at else "It was active already.")

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        with self._api.http.call():
            await self._changes.delete(session_id, self._owner, expected_version=expected_version)
        # Seen on 2.5.6 and 3.1.10: a run saves the session when it ends, whether or not it is still there.
        note = "Deleted for good, with its runs. A run of it that is executing now would make it anew when it ends."
        return Change(session_id=session_id, note=note)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        json_text(changes, "changes")
        return told(await self._make(session_id, edits.with_state(changes, mode), expected_version), ("state",))

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        if not (metadata or summary or clear):
            raise Invalid('nothing to change. Give "metadata", "summary" or "clear".')
        given = edits.own_metadata(metadata or {})
        plain(summary, "summary", SUMMARY_LENGTH)
        made = await self._make(session_id, edits.updated(given, summary, clear), expected_version)
        set_too = {"metadata": bool(given), "summary": bool(summary)}
        return told(made, [field for field, is_set in set_too.items() if is_set or field in clear])

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        with self._api.http.call():
            return await fork(self._api, self._changes, session_id, self._owner, up_to_message_id, session_name(name))

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        with self._api.http.call():
            result = await super().apply_to_sessions(
                action, session_ids, dry_run=dry_run, expected_versions=expected_versions
            )
        if action == "delete" or not result.succeeded:
            return result
        return result.model_copy(update={"note": self._keeper.notice()})

    async def _make(self, session_id: str, plan: Plan, expected_version: str = "") -> Made:
        plain(session_id, "session_id", NAME_LENGTH)
        with self._api.http.call():
            return await self._changes.make(session_id, self._owner, plan, expected_version=expected_version)

    async def _find(self, session_id: str) -> Stored:
        plain(session_id, "session_id", NAME_LENGTH)
        return await self._api.find(session_id, self._owner)

    async def _type_of(self, session_id: str) -> str:
        """The type, once it is certain that the caller may read the session; "" where neither need be asked."""
        plain(session_id, "session_id", NAME_LENGTH)
        if not self._owner and (await self._api.version()).has(Trait.FINDS_TYPES):
            return ""
        return (await self._find(session_id)).type

    def _detail(self, stored: Stored) -> SessionDetail:
        undone = {"archived_at" if ARCHIVED_AT in item.path else item.path[0] for item in self._keeper.undone(stored)}
        note = (
            f"A run undid a change of {', '.join(sorted(undone))}, which will be set again shortly." if undone else ""
        )
        return stored.detail().model_copy(update={"note": note})

    async def _warn_if_open(self) -> None:
        """Some versions leave sessions open to everybody though a key is set (facts: D15)."""
        try:
            if await self._api.is_open_to_anyone():
                logger.warning("This AgentOS shows its sessions without a credential, though one is configured here.")
        except SessionsError as error:
            logger.info("AgentOS could not be asked whether it needs a credential: %s", error.code)
