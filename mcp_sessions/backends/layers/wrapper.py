"""`Wrapper`, the base class of layers around one backend."""

from collections.abc import AsyncGenerator, Mapping, Sequence
from copy import copy
from datetime import datetime
from types import TracebackType
from typing import Self

from ...json_documents import JsonObject
from ...models import (
    DEFAULT_HISTORY,
    BulkAction,
    BulkResult,
    Change,
    Clearable,
    HistoryQuery,
    MessagePage,
    NewMessage,
    RunPage,
    SearchPage,
    Session,
    SessionDetail,
    SessionFilter,
    SessionPage,
    StateMode,
)
from ..base import SessionBackend
from ..health import Report
from ..transcript_feed import TranscriptFeed


class Wrapper(SessionBackend):
    """A backend that passes every call on to the backend that it wraps, `inner`.

    A subclass overrides the methods that it changes. The others call only `inner`, never the subclass. So a subclass
    that overrides `archive_session` must also override `apply_to_sessions`, which archives several sessions.
    """

    def __init__(self, inner: SessionBackend) -> None:
        self.inner = inner
        self.title = inner.title
        self.capabilities = inner.capabilities
        self.appended_roles = inner.appended_roles
        self.has_search_index = inner.has_search_index
        self.options = inner.options

    async def __aenter__(self) -> Self:
        await self.inner.__aenter__()
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.inner.__aexit__(exc_type, exc, traceback)

    @property
    def keeps(self) -> frozenset[str]:
        return self.inner.keeps

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        return self.inner.deletion_notice(session_ids)

    def why_no_user_scoping(self) -> str:
        return self.inner.why_no_user_scoping()

    def _prepare_view(self) -> None:
        self.inner = self.inner.for_caller(self.caller)

    def canonical_id(self, session_id: str) -> str:
        return self.inner.canonical_id(session_id)

    def may_be_hint(self, hint: str, session_id: str) -> bool:
        return self.inner.may_be_hint(hint, session_id)

    async def resolve_hint(self, hint: str) -> str:
        return await self.inner.resolve_hint(hint)

    def client_session(self) -> str:
        return self.inner.client_session()

    async def find_client_sessions(self) -> Sequence[str]:
        return await self.inner.find_client_sessions()

    def session_in_meta(self, meta: Mapping[str, object]) -> str:
        return self.inner.session_in_meta(meta)

    async def check_reachable(self) -> None:
        await self.inner.check_reachable()

    async def examine(self, report: Report) -> None:
        await self.inner.examine(report)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        return await self.inner.list_sessions(filter, limit=limit, cursor=cursor)

    async def get_session(self, session_id: str) -> SessionDetail:
        return await self.inner.get_session(session_id)

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        return await self.inner.find_session_ids(prefix, limit=limit)

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        return await self.inner.get_session_for_deletion(session_id)

    async def get_sessions_for_deletion(self, session_ids: Sequence[str]) -> Sequence[SessionDetail]:
        return await self.inner.get_sessions_for_deletion(session_ids)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        return await self.inner.get_session_history(session_id, query, limit=limit, cursor=cursor)

    def changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        return self.inner.changes(since)

    async def transcript_feed(self) -> TranscriptFeed | None:
        return await self.inner.transcript_feed()

    async def export_session(self, session_id: str) -> JsonObject:
        return await self.inner.export_session(session_id)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        return await self.inner.get_session_runs(session_id, run_id=run_id, limit=limit, cursor=cursor)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        return await self.inner.search_sessions(query, project=project, limit=limit, cursor=cursor)

    def create_targets(self) -> Sequence[str]:
        return self.inner.create_targets()

    def creating_in(self, name: str) -> Self:
        view = copy(self)
        view.inner = self.inner.creating_in(name)
        return view

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        return await self.inner.create_session(name=name, type=type, agent_id=agent_id, state=state, metadata=metadata)

    async def rename_session(self, session_id: str, name: str) -> Change:
        return await self.inner.rename_session(session_id, name)

    async def archive_session(self, session_id: str) -> Change:
        return await self.inner.archive_session(session_id)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        return await self.inner.restore_session(session_id, name=name)

    async def protect_session(self, session_id: str, *, is_protected: bool = True) -> None:
        await self.inner.protect_session(session_id, is_protected=is_protected)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        return await self.inner.delete_session(session_id, expected_version=expected_version)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        return await self.inner.update_session_state(session_id, changes, mode=mode, expected_version=expected_version)

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        return await self.inner.update_session(
            session_id, metadata=metadata, summary=summary, clear=clear, expected_version=expected_version
        )

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        return await self.inner.append_messages(session_id, messages)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        return await self.inner.fork_session(session_id, up_to_message_id=up_to_message_id, name=name)

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        return await self.inner.apply_to_sessions(
            action, session_ids, dry_run=dry_run, expected_versions=expected_versions
        )
