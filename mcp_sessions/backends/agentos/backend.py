"""The AgentOS backend: every operation except appending messages, which only a run can do there."""

import logging
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack, suppress
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

from ...errors import Forbidden, SessionsError, Unauthorized
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
from ...text.search_query import parse_query
from ...text.validate import check_text
from ..base import Capability
from ..deadline import remaining
from ..health import Report
from ..http.backend import HttpBackend
from ..http.credentials import ANONYMOUS, Credential
from ..paging import message_page
from ..project_filter import NO_HITS, NO_SESSIONS, in_project
from ..session_updates import check_update
from ..validation import NAME_LENGTH, check_filter, json_text, session_name
from . import AgentOsOptions
from .accounts import Accounts
from .agno_before_2_6_7 import fetch_any_version
from .api import Api
from .checks import examine
from .creation import create, fork
from .listing import list_sessions
from .recheck import edits
from .recheck.rechecker import Rechecker
from .recheck.writer import Edit, SessionWriter, WriteResult, change_of
from .runs import count_runs, run_page
from .search import search_sessions
from .transcript import read_transcript
from .wire import ARCHIVED_AT, AgentOsSession

logger = logging.getLogger(__name__)

_TIME_FRACTION = 0.6
"""A list or a search returns what it has found after this fraction of a call's time."""


class AgentOsBackend(HttpBackend):
    """Sessions of an AgentOS, through its REST API. Archived ones have `archived_at` in their metadata."""

    title = "AgentOS"
    capabilities = frozenset(Capability) - {Capability.APPEND_MESSAGES}

    def __init__(self, accounts: Accounts, credential: Credential, options: AgentOsOptions) -> None:
        self.options = options
        self._accounts = accounts
        self._configured_credential = self._credential = credential
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        async with AsyncExitStack() as stack:
            tasks = await stack.enter_async_context(self._accounts.open())
            if self._credential.token:
                tasks.start_soon(self._warn_if_open)
            self._accounts.get(self._credential)  # starts to recheck this credential's pending writes
            self._open = stack.pop_all()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    @property
    def _owner(self) -> str:
        return self.caller.user_id

    def why_no_user_scoping(self) -> str:
        return ""

    def _prepare_view(self) -> None:
        self._credential = self._configured_credential.for_caller(self.caller)

    async def check_reachable(self) -> None:
        """Raise an error if AgentOS can't be reached, or refuses a credential that all callers share."""
        if not self._credential.is_missing:
            await super().check_reachable()
            return
        with suppress(Unauthorized, Forbidden):
            await fetch_any_version(self._accounts.http.with_credential(ANONYMOUS))

    async def examine(self, report: Report) -> None:
        self._accounts.report_folder(report)
        async with self._accounts.http:
            await examine(self._api, self.check_reachable, report)

    @property
    def _api(self) -> Api:
        return self._accounts.get(self._credential).api

    @property
    def _rechecker(self) -> Rechecker:
        return self._accounts.get(self._credential).rechecker

    @property
    def _writer(self) -> SessionWriter:
        return self._accounts.get(self._credential).writer

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """List sessions. `pages.py` says how paging handles changes, and when it can miss a session."""
        check_filter(filter)
        check_text(filter.agent_id, "agent_id", NAME_LENGTH)
        if not in_project(filter.project)(""):
            return NO_SESSIONS
        return await list_sessions(
            self._api,
            self._owner,
            filter,
            limit,
            cursor,
            sanitize=self.caller.sanitize,
            seconds=remaining(self.options.timeout) * _TIME_FRACTION,
        )

    async def get_session(self, session_id: str) -> SessionDetail:
        return self._detail(await self._find(session_id))

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        session = await self._find(session_id)
        count = await count_runs(self._api, session_id, self._owner)
        return self._detail(session).model_copy(update={"run_count": count})

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Return messages of all runs. AgentOS returns all runs in one response, which may have at most 32 MiB."""
        await self._api.check_access(session_id, self._owner)
        transcript = read_transcript((await self._api.runs(session_id, self._owner)).json())
        return message_page(
            session_id, transcript.messages, transcript.selects(query), query, limit=limit, cursor=cursor
        )

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        await self._api.check_access(session_id, self._owner)
        return await run_page(self._api, session_id, self._owner, run_id=run_id, limit=limit, cursor=cursor)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search names, summaries and messages of active and archived sessions, one session at a time, newest first."""
        parsed = parse_query(query)
        if not in_project(project)(""):
            return NO_HITS
        return await search_sessions(
            self._api, self.caller, parsed, limit, cursor, seconds=remaining(self.options.timeout) * _TIME_FRACTION
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
        result = await create(
            self._api,
            self._owner,
            name=name,
            type=type,
            agent_id=agent_id,
            state=state or {},
            metadata=edits.validate_metadata(metadata or {}),
        )
        return result.to_detail()

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session; `""` clears the name. AgentOS then shows no name, not even its default one."""
        new = session_name(name)
        return change_of(await self._change(session_id, lambda session: {"name": new}), ("name",))

    async def archive_session(self, session_id: str) -> Change:
        result = await self._change(session_id, edits.archive(iso(datetime.now(UTC))))
        if result.before.archived_at:
            return change_of(result, (), "Nothing was changed: the session is archived already.")
        return change_of(result, ("archived_at",))

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        new = session_name(name)
        result = await self._change(session_id, edits.restore(new))
        fields = [*(["archived_at"] if result.before.archived_at else []), *(["name"] if new else [])]
        return change_of(result, fields, "" if result.before.archived_at else "The session was active already.")

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        await self._writer.delete(session_id, self._owner, expected_version=expected_version)
        # Seen on 2.5.6 and 3.1.10: when a run ends, it saves its session even if that was deleted.
        note = (
            "Deleted permanently, with its runs. If a run of this session is executing now, the session is created "
            "again when that run ends."
        )
        return Change(session_id=session_id, note=note)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        json_text(changes, "changes")
        return change_of(
            await self._change(session_id, edits.update_state(changes, mode), expected_version), ("state",)
        )

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        check_update(metadata, summary, clear)
        given = edits.validate_metadata(metadata or {})
        result = await self._change(session_id, edits.update(given, summary, clear), expected_version)
        given_fields = {"metadata": bool(given), "summary": bool(summary)}
        return change_of(result, [field for field, is_given in given_fields.items() if is_given or field in clear])

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        return await fork(self._api, self._writer, session_id, self._owner, up_to_message_id, session_name(name))

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        result = await super().apply_to_sessions(
            action, session_ids, dry_run=dry_run, expected_versions=expected_versions
        )
        if action == "delete" or not result.succeeded:
            return result
        return result.model_copy(update={"note": self._rechecker.note()})

    async def _change(self, session_id: str, edit: Edit, expected_version: str = "") -> WriteResult:
        return await self._writer.change(session_id, self._owner, edit, expected_version=expected_version)

    async def _find(self, session_id: str) -> AgentOsSession:
        return await self._api.find(session_id, self._owner)

    def _detail(self, session: AgentOsSession) -> SessionDetail:
        overwritten = {
            "archived_at" if ARCHIVED_AT in item.path else item.path[0]
            for item in self._rechecker.overwritten_values(session)
        }
        detail = session.to_detail()
        if not overwritten:
            return detail
        note = f"A run overwrote a change of {', '.join(sorted(overwritten))}. The change will be made again shortly."
        return detail.model_copy(update={"note": note})

    async def _warn_if_open(self) -> None:
        """Log a warning if AgentOS lists sessions without a credential: some versions do, although a key is set."""
        try:
            if await self._api.is_open_to_anyone():
                logger.warning("This AgentOS shows its sessions without a credential, although one is configured.")
        except SessionsError as error:
            logger.info("Can't check whether AgentOS requires a credential: %s", error.code)
