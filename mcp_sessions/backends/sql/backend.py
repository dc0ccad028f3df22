"""The embedded store as a backend: every operation, each one transaction."""

from collections.abc import Sequence
from types import TracebackType
from typing import Self

from ...caller import Caller
from ...errors import Invalid
from ...json_documents import JsonObject, merge_patch
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
from ...text.validate import plain
from ...text.words import words_of
from ..base import Capability, SessionBackend, Tell
from ..database import search as searching
from ..database.database import Database, Transaction
from ..validation import NAME_LENGTH, SUMMARY_LENGTH, json_text, session_name, session_type
from . import messages as message_rows
from . import retention
from . import sessions as session_rows
from .places import StorePlaces
from .sessions import ARCHIVED, DELETED, LISTED, Stored


class SqlBackend(SessionBackend):
    """Sessions in a database of our own. Deleted ones can be restored for `keep_deleted` days."""

    title = "the embedded store"
    capabilities = frozenset(Capability)

    def __init__(self, database: Database, *, keep_deleted: int, caller: Caller | None = None) -> None:
        self.database = database
        self._keep_deleted = keep_deleted
        self._caller = caller or Caller()
        self._owner = self._caller.user_id

    async def __aenter__(self) -> Self:
        await self.database.open(self._purge)
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self.database.close()

    async def examine(self, tell: Tell) -> None:
        await self.database.examine(tell)

    def for_caller(self, caller: Caller) -> Self:
        plain(caller.user_id, "user_id", NAME_LENGTH)
        return type(self)(self.database, keep_deleted=self._keep_deleted, caller=caller)

    def deletion_notice(self) -> str:
        until = iso(session_rows.moment(session_rows.days_from_now(self._keep_deleted)))
        return f"Messages and state are deleted too. restore_session can bring all back until {until[:10]}."

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """By keyset: no page costs more than the first, and sessions created during a walk move nothing.

        A session that is changed during a walk by update time moves to the newest end.
        """
        plain(filter.query, "query", NAME_LENGTH)
        plain(filter.agent_id, "agent_id", NAME_LENGTH)
        if filter.type:
            session_type(filter.type)
        if filter.query:
            return await self.database.scan(
                lambda tx: session_rows.named_page(tx, self._owner, filter, limit, cursor, self._caller.present)
            )
        run = self.database.read if session_rows.is_quick(filter, self._owner) else self.database.scan
        return await run(lambda tx: session_rows.list_page(tx, self._owner, filter, limit, cursor))

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        plain(prefix, "session_id", NAME_LENGTH)
        return await self.database.scan(lambda tx: session_rows.ids_from(tx, self._owner, prefix, limit))

    async def get_session(self, session_id: str) -> SessionDetail:
        return await self.database.read(lambda tx: self._find(tx, session_id).detail())

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        def work(tx: Transaction) -> MessagePage:
            stored = self._find(tx, session_id)
            if query.message_id:
                return message_rows.one_message(tx, stored, query.message_id)
            return message_rows.history(tx, stored, query, limit=limit, cursor=cursor)

        return await self.database.read(work)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        """One append is one run."""
        return await self.database.read(
            lambda tx: message_rows.runs(tx, self._find(tx, session_id), run_id=run_id, limit=limit, cursor=cursor)
        )

    async def search_sessions(self, query: str, *, limit: int = 10, cursor: str = "") -> SearchPage:
        """Active and archived sessions; names first, then messages, each newest first.

        For at most 50 ms of this process's processor: on SQLite all of the work, on PostgreSQL what is done with its
        answers. With waiting, for the disk or for PostgreSQL's own work, it may take a second.
        """
        asked = searching.Query(words_of(query), self._owner, self._caller.present)
        return await self.database.search(
            lambda tx: searching.search(tx, self.database.index, StorePlaces(), asked, limit, cursor), searching.BUDGET
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
            "agent_id": plain(agent_id, "agent_id", NAME_LENGTH),
            "state": json_text(state or {}, "state"),
            "metadata": json_text(metadata or {}, "metadata"),
        }
        stored = await self.database.write(
            lambda tx: session_rows.insert(tx, self.database.index, user_id=self._owner, **values)
        )
        return stored.detail()

    async def rename_session(self, session_id: str, name: str) -> Change:
        new = session_name(name)

        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id)
            version = session_rows.rename(tx, self.database.index, stored, new)
            return _change(stored, version, {"name": new}, {"name": stored.name})

        return await self.database.write(work)

    async def archive_session(self, session_id: str) -> Change:
        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id)
            if stored.place == ARCHIVED:
                return _change(stored, stored.version, note="It was archived already; nothing was changed.")
            archived = session_rows.now()
            version = session_rows.update(tx, stored, place=ARCHIVED, archived_at=archived)
            shown = iso(session_rows.moment(archived))
            return _change(stored, version, {"archived_at": shown}, {"archived_at": ""})

        return await self.database.write(work)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """A deleted one comes back as it was, archived if it was; an archived one becomes active."""
        new = session_name(name)

        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id, deleted=True)
            place, columns, changed, previous, note = session_rows.restored(stored)
            if new:
                changed, previous = changed | {"name": new}, previous | {"name": stored.name}
                version = session_rows.rename(tx, self.database.index, stored, new, place=place, **columns)
            elif place == stored.place:
                version = stored.version
            else:
                version = session_rows.update(tx, stored, place=place, **columns)
            return _change(stored, version, changed, previous, note)

        return await self.database.write(work)

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id)
            session_rows.check_version(stored, expected_version)
            retention.purge(tx, self.database.index, retention.AT_DELETION)
            purge_at = session_rows.days_from_now(self._keep_deleted)
            version = session_rows.update(tx, stored, place=DELETED, purge_at=purge_at)
            until = iso(session_rows.moment(purge_at))
            return _change(
                stored, version, note=f'Deleted. restore_session("{stored.id}") can bring it back until {until}.'
            )

        return await self.database.write(work)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        json_text(changes, "changes")

        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id)
            session_rows.check_version(stored, expected_version)
            detail = stored.detail()
            state = merge_patch(detail.state, changes) if mode == "merge" else changes
            version = session_rows.update(tx, stored, state=json_text(state, "state"))
            return _change(stored, version, {"state": state}, {"state": detail.state})

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
        if not (metadata or summary or clear):
            raise Invalid('nothing to change. Give "metadata", "summary" or "clear".')
        json_text(metadata or {}, "metadata")
        plain(summary, "summary", SUMMARY_LENGTH)

        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id)
            session_rows.check_version(stored, expected_version)
            detail = stored.detail()
            changed: JsonObject = {}
            if metadata or "metadata" in clear:
                given = metadata or {}
                changed["metadata"] = given if "metadata" in clear else merge_patch(detail.metadata, given)
            if summary or "summary" in clear:
                changed["summary"] = summary
            columns = {key: json_text(new, key) if key == "metadata" else new for key, new in changed.items()}
            version = session_rows.update(tx, stored, **columns)
            return _change(stored, version, changed, {key: getattr(detail, key) for key in changed})

        return await self.database.write(work)

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        def work(tx: Transaction) -> Change:
            stored = self._find(tx, session_id)
            version, ids = message_rows.append(tx, self.database.index, stored, messages)
            which = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
            note = f"Appended {which}. Messages can't be removed again; fork_session can leave them out."
            count = stored.message_count
            return _change(stored, version, {"message_count": count + len(ids)}, {"message_count": count}, note)

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
            stored = self._find(tx, session_id, deleted=action == "restore")
            return None if stored.place == unchanged else stored.detail()

        return await self.database.read(work)

    def _find(self, tx: Transaction, session_id: str, *, deleted: bool = False) -> Stored:
        return session_rows.find(tx, self._owner, session_id, deleted=deleted)

    def _purge(self, tx: Transaction) -> bool:
        return retention.purge(tx, self.database.index)


_FORKED = ("type", "agent_id", "user_id", "state", "metadata", "summary")


def _change(
    stored: Stored, version: int, changed: JsonObject | None = None, previous: JsonObject | None = None, note: str = ""
) -> Change:
    return Change(session_id=stored.id, changed=changed or {}, previous=previous or {}, version=str(version), note=note)
