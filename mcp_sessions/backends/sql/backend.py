"""The embedded store as a backend. Each operation is one transaction."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ...json_documents import JsonObject
from ...models import (
    DEFAULT_HISTORY,
    BulkAction,
    Change,
    Clearable,
    HistoryQuery,
    MessagePage,
    NewMessage,
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
from ..base import Capability, SessionBackend
from ..database import search as store_search
from ..database.database import Database, Transaction
from ..database.times import days_from_now, now_micros, to_datetime
from ..health import Report
from ..project_filter import NO_HITS, NO_SESSIONS, in_project
from ..session_updates import check_update, updated_fields, updated_state
from ..validation import NAME_LENGTH, check_filter, check_version, json_text, session_name, session_type
from . import StoreOptions, retention
from . import messages as message_rows
from . import sessions as session_rows
from .search_rows import StoreSearchRows
from .sessions import ARCHIVED, DELETED, LISTED, SessionRow


class SqlBackend(SessionBackend):
    """The embedded store. It can restore a deleted session for `keep_deleted` days.

    `read_only`: entering it creates, migrates and purges nothing, and fails if there is no store.
    """

    title = "the embedded store"
    capabilities = frozenset(Capability)
    has_search_index = True

    def __init__(self, database: Database, options: StoreOptions, *, read_only: bool = False) -> None:
        self.database = database
        self.options = options
        self._read_only = read_only
        self._keep_deleted = options.keep_deleted

    async def __aenter__(self) -> Self:
        await (self.database.open_existing() if self._read_only else self.database.open(self._purge))
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.database.close()

    async def examine(self, report: Report) -> None:
        if self._read_only:
            async with self:  # raises if there is no store; without `read_only`, a missing one is no fault
                pass
        await self.database.examine(report)

    @property
    def _owner(self) -> str:
        return self.caller.user_id

    def why_no_user_scoping(self) -> str:
        return ""

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        until = iso(to_datetime(days_from_now(self._keep_deleted)))
        return f"Messages and state are deleted too. restore_session can restore everything until {until[:10]}."

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        check_filter(filter)
        check_text(filter.agent_id, "agent_id", NAME_LENGTH)
        if not in_project(filter.project)(""):
            return NO_SESSIONS
        if filter.query:
            return await self.database.scan(
                lambda tx: session_rows.list_page_by_name(tx, self._owner, filter, limit, cursor, self.caller.sanitize)
            )
        run = self.database.read if session_rows.is_answered_by_index(filter, self._owner) else self.database.scan
        return await run(lambda tx: session_rows.list_page(tx, self._owner, filter, limit, cursor))

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        check_text(prefix, "session_id", NAME_LENGTH)
        return await self.database.scan(lambda tx: session_rows.ids_beginning_with(tx, self._owner, prefix, limit))

    async def get_session(self, session_id: str) -> SessionDetail:
        return await self.database.read(lambda tx: self._find(tx, session_id).detail())

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        def work(tx: Transaction) -> MessagePage:
            session = self._find(tx, session_id)
            if query.message_id:
                return message_rows.one_message(tx, session, query.message_id)
            return message_rows.history(tx, session, query, limit=limit, cursor=cursor)

        return await self.database.read(work)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        return await self.database.read(
            lambda tx: message_rows.runs(tx, self._find(tx, session_id), run_id=run_id, limit=limit, cursor=cursor)
        )

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search active and archived sessions: names first, then messages, each newest first.

        A search may take 50 ms of processor time in this process, and one second in all. On PostgreSQL, the server's
        work counts only towards that second.
        """
        parsed = store_search.CallerSearch(parse_query(query), self._owner, self.caller.sanitize)
        if not in_project(project)(""):
            return NO_HITS
        return await self.database.search(
            lambda tx: store_search.search(tx, self.database.index, StoreSearchRows(), parsed, limit, cursor),
            store_search.BUDGET,
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
        values = {
            "name": session_name(name),
            "type": session_type(type),
            "agent_id": check_text(agent_id, "agent_id", NAME_LENGTH),
            "state": json_text(state or {}, "state"),
            "metadata": json_text(metadata or {}, "metadata"),
        }
        session = await self.database.write(
            lambda tx: session_rows.insert(tx, self.database.index, user_id=self._owner, **values)
        )
        return session.detail()

    async def rename_session(self, session_id: str, name: str) -> Change:
        new = session_name(name)

        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id)
            version = session_rows.rename(tx, self.database.index, session, new)
            return _change(session, version, {"name": new}, {"name": session.name})

        return await self.database.write(work)

    async def archive_session(self, session_id: str) -> Change:
        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id)
            if session.place == ARCHIVED:
                return _change(session, session.version, note="It was archived already; nothing was changed.")
            archived = now_micros()
            version = session_rows.update(tx, session, place=ARCHIVED, archived_at=archived)
            shown = iso(to_datetime(archived))
            return _change(session, version, {"archived_at": shown}, {"archived_at": ""})

        return await self.database.write(work)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore a deleted session as it was (active or archived), or make an archived one active."""
        new = session_name(name)

        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id, deleted=True)
            place, columns, changed, previous, note = session_rows.plan_restore(session)
            if new:
                changed, previous = changed | {"name": new}, previous | {"name": session.name}
                version = session_rows.rename(tx, self.database.index, session, new, place=place, **columns)
            elif place == session.place:
                version = session.version
            else:
                version = session_rows.update(tx, session, place=place, **columns)
            return _change(session, version, changed, previous, note)

        return await self.database.write(work)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id)
            check_version(session.id, str(session.version), expected_version)
            retention.purge(tx, self.database.index, retention.BATCH_AT_DELETION)
            purge_at = days_from_now(self._keep_deleted)
            version = session_rows.update(tx, session, place=DELETED, purge_at=purge_at)
            until = iso(to_datetime(purge_at))
            return _change(
                session, version, note=f'Deleted. restore_session("{session.id}") can restore it until {until}.'
            )

        return await self.database.write(work)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        json_text(changes, "changes")

        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id)
            check_version(session.id, str(session.version), expected_version)
            detail = session.detail()
            state = updated_state(detail, changes, mode)
            version = session_rows.update(tx, session, state=json_text(state, "state"))
            return _change(session, version, {"state": state}, {"state": detail.state})

        return await self.database.write(work)

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

        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id)
            check_version(session.id, str(session.version), expected_version)
            detail = session.detail()
            changed = updated_fields(detail, metadata, summary, clear)
            columns = {key: json_text(new, key) if key == "metadata" else new for key, new in changed.items()}
            version = session_rows.update(tx, session, **columns)
            return _change(session, version, changed, {key: getattr(detail, key) for key in changed})

        return await self.database.write(work)

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        def work(tx: Transaction) -> Change:
            session = self._find(tx, session_id)
            version, ids = message_rows.append(tx, self.database.index, session, messages)
            appended = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
            note = f"Appended {appended}. Messages can't be removed; fork_session can leave them out."
            count = session.message_count
            return _change(session, version, {"message_count": count + len(ids)}, {"message_count": count}, note)

        return await self.database.write(work)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        new = session_name(name)

        def work(tx: Transaction) -> SessionDetail:
            source = self._find(tx, session_id)
            copied = {field: getattr(source, field) for field in _FORKED}
            target = session_rows.insert(tx, self.database.index, name=new or source.name, **copied)
            message_rows.copy(tx, self.database.index, source, target, up_to_message_id)
            return self._find(tx, target.id).detail()

        return await self.database.write(work)

    async def _preview(self, action: BulkAction, session_id: str) -> SessionDetail | None:
        unchanged = {"archive": ARCHIVED, "restore": LISTED}.get(action)

        def work(tx: Transaction) -> SessionDetail | None:
            session = self._find(tx, session_id, deleted=action == "restore")
            return None if session.place == unchanged else session.detail()

        return await self.database.read(work)

    def _find(self, tx: Transaction, session_id: str, *, deleted: bool = False) -> SessionRow:
        return session_rows.find(tx, self._owner, session_id, deleted=deleted)

    def _purge(self, tx: Transaction) -> bool:
        return retention.purge(tx, self.database.index)


_FORKED = ("type", "agent_id", "user_id", "state", "metadata", "summary")


def _change(
    session: SessionRow,
    version: int,
    changed: JsonObject | None = None,
    previous: JsonObject | None = None,
    note: str = "",
) -> Change:
    return Change(
        session_id=session.id, changed=changed or {}, previous=previous or {}, version=str(version), note=note
    )
