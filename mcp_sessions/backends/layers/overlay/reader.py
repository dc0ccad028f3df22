"""The reading operations of an overlay: what the system returns, with the facts that the overlay keeps."""

from collections.abc import AsyncGenerator, Awaitable, Callable, Mapping, Sequence
from contextlib import aclosing, suppress
from datetime import datetime
from types import TracebackType
from typing import Self

from ....errors import SessionsError
from ....json_documents import JsonObject, is_object
from ....models import Session, SessionDetail, SessionFilter, SessionPage
from ...base import Capability, SessionBackend
from ...capability import OVERLAY_FIELDS
from ...deadline import deadline, remaining
from ...health import Report
from ..wrapper import Wrapper
from . import facts
from .facts import OverlayFacts, session_identity
from .lists import PageAt, active_page, archived_page
from .store import OverlayStore

_OPERATIONS = {
    "archived_at": {Capability.ARCHIVE_SESSION, Capability.RESTORE_SESSION, Capability.APPLY_TO_SESSIONS},
    "state": {Capability.UPDATE_SESSION_STATE},
    "metadata": {Capability.UPDATE_SESSION},
    "summary": {Capability.UPDATE_SESSION},
}
"""field → the operations that an overlay adds to a system that can't store the field."""
_WALK_SHARE = 0.6
"""The part of a call's time after which a list returns the sessions that it has found."""


class OverlayReader(Wrapper):
    """A backend whose system can't store some fields of a session, with what `store` has in these fields.

    `source` names the system in the overlay, and must always be the same for the same system.
    """

    def __init__(self, inner: SessionBackend, store: OverlayStore, *, source: str) -> None:
        super().__init__(inner)
        self._store = store
        self._source = source
        self._kept = frozenset(OVERLAY_FIELDS) - inner.keeps
        self.capabilities = inner.capabilities.union(*(_OPERATIONS[field] for field in self._kept))

    async def __aenter__(self) -> Self:
        await self._store.__aenter__()
        try:
            return await super().__aenter__()
        except BaseException:
            await self._store.__aexit__(None, None, None)
            raise

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        try:
            await super().__aexit__(exc_type, exc, traceback)
        finally:
            await self._store.__aexit__(exc_type, exc, traceback)

    @property
    def keeps(self) -> frozenset[str]:
        return self.inner.keeps | self._kept

    async def examine(self, report: Report) -> None:
        await self._store.examine(self._source, report)  # first, since the system may not answer
        await self.inner.examine(report)

    async def get_session(self, session_id: str) -> SessionDetail:
        return await self._show(await self._find(session_id, self.inner.get_session))

    get_sessions_for_deletion = SessionBackend.get_sessions_for_deletion

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        return await self._show(await self._find(session_id, self.inner.get_session_for_deletion))

    async def _find(
        self, session_id: str, get: Callable[[str], Awaitable[SessionDetail]] | None = None
    ) -> SessionDetail:
        """Return a session as the system has it.

        A missing session proves nothing: its id may have changed, or another credential may see it.
        """
        return await (get or self.inner.get_session)(session_id)

    async def _read(self, session: SessionDetail) -> SessionDetail:
        """Return a session of the system with what the overlay keeps. Raise an error if the overlay can't be read."""

        return facts.show(session, await self._row(session), self._kept)

    async def _row(self, session: Session) -> OverlayFacts:
        """Return what the overlay keeps of a session that the system has. Raise an error if it can't be read."""
        new = facts.empty_row(session)
        row = await self._store.read(lambda tx: facts.find(tx, self._source, session), default=new)
        if row.gone_at is not None or row.session_id != new.session_id:
            await self._mark_found([session])
        return row

    async def _mark_found(self, sessions: Sequence[Session]) -> None:
        with suppress(SessionsError):  # the next call that reads them records it
            await self._store.write(lambda tx: facts.mark_found(tx, self._source, sessions))

    async def _show(self, session: SessionDetail) -> SessionDetail:
        """Return a session of the system with what the overlay keeps, or with a note that this is missing."""
        try:
            return await self._read(session)
        except SessionsError as error:
            return session.model_copy(update={"note": f"{session.note} {self._missing(error)}".strip()})

    def _missing(self, error: SessionsError) -> str:
        fields = ", ".join(field for field in OVERLAY_FIELDS if field in self._kept)
        return f"What the overlay keeps is missing here ({fields}), since {error.message}"

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """List sessions. If the overlay can't be read, `note` says that archived sessions may be among them.

        In that case, a list of archived sessions raises an error.
        """
        if "archived_at" not in self._kept:
            return await self.inner.list_sessions(filter, limit=limit, cursor=cursor)
        try:
            has_archived = await self._store.read(lambda tx: facts.has_archived(tx, self._source), False)
        except SessionsError as error:
            if filter.archived:
                raise
            return _with_note(await self.inner.list_sessions(filter, limit=limit, cursor=cursor), error)
        if not (has_archived or filter.archived):
            return await self.inner.list_sessions(filter, limit=limit, cursor=cursor)
        with deadline(self.options.timeout):
            return await self._list(filter, limit, cursor)

    async def _list(self, filter: SessionFilter, limit: int, cursor: str) -> SessionPage:
        seconds = remaining(self.options.timeout) * _WALK_SHARE
        active = filter.model_copy(update={"archived": False})

        async def active_at(limit: int, cursor: str) -> SessionPage:
            return await self.inner.list_sessions(active, limit=limit, cursor=cursor)

        async def archived_at(limit: int, cursor: str) -> SessionPage:
            return await self.inner.list_sessions(filter, limit=limit, cursor=cursor)

        if not filter.archived:
            return await self._active_page(active_at, limit, cursor, seconds)
        return await archived_page(
            active_at,
            archived_at,
            self._archived_among,
            filter,
            identities=self._archived_identities,
            limit=limit,
            cursor=cursor,
            user_id=self.caller.user_id,
            seconds=seconds,
        )

    async def _active_page(self, active_at: PageAt, limit: int, cursor: str, seconds: float) -> SessionPage:
        failures: list[SessionsError] = []

        async def archived(sessions: Sequence[Session]) -> Mapping[str, datetime]:
            if not failures:
                try:
                    return await self._archived_among(sessions)
                except SessionsError as error:
                    failures.append(error)
            return {}

        page = await active_page(active_at, archived, limit=limit, cursor=cursor, seconds=seconds)
        return _with_note(page, failures[0]) if failures else page

    async def _archived_among(self, sessions: Sequence[Session]) -> Mapping[str, datetime]:
        times, gone = await self._store.read(
            lambda tx: facts.archived_among(tx, self._source, sessions), (dict[str, datetime](), ())
        )
        if gone:
            await self._mark_found(gone)
        return times

    async def _archived_identities(self, limit: int) -> set[str]:
        return await self._store.scan(lambda tx: facts.archived_identities(tx, self._source, limit), set[str]())

    def changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        """Yield the sessions that the system updated since a time. Archiving one in the overlay is no such update."""
        return self._changes(since) if "archived_at" in self._kept else self.inner.changes(since)

    async def _changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        archived = await self._store.scan(lambda tx: facts.all_archived(tx, self._source), dict[str, datetime]())
        async with aclosing(self.inner.changes(since)) as changes:
            async for session in changes:
                time = archived.get(session_identity(session))
                yield session.model_copy(update={"archived_at": time}) if time else session

    async def export_session(self, session_id: str) -> JsonObject:
        exported = await self.inner.export_session(session_id)
        session = exported.get("session")
        if not is_object(session):
            return exported
        shown = await self._read(await self._find(session_id))
        own = shown.model_dump(mode="json", include={*self._kept, "version", "kept_by_overlay"})
        return {**exported, "session": session | own}


def _with_note(page: SessionPage, error: SessionsError) -> SessionPage:
    note = f"Archived sessions may be among these, since {error.message}"
    return page.model_copy(update={"note": f"{page.note} {note}".strip()})
