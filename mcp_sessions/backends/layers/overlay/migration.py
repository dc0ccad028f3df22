"""Moves facts into their system, once the system can store a field that only the overlay kept."""

from collections.abc import AsyncGenerator
from dataclasses import dataclass
from functools import partial
from typing import Any, Literal

from ....errors import Conflict, Invalid, NotFound, Unsupported
from ....json_documents import is_equal
from ....models import Change, SessionDetail
from ...base import SessionBackend
from ...capability import OVERLAY_FIELDS
from ...database.database import Transaction
from . import facts
from .facts import FactsRow, OverlayFacts
from .store import OverlayStore

Outcome = Literal["moved", "equal", "different", "not found", "failed"]

_BATCH = 100  # rows read at once
_DAMAGED = (
    "the session's {} in the overlay can't be read. Restore the overlay from a backup, or export it and import that "
    "into a new one, which leaves out what is damaged."
)
_ABOUT_ONE_SESSION = (Conflict, Invalid, Unsupported)
"""Errors of one session. After any other error, the next session would fail too."""


@dataclass(frozen=True, slots=True)
class MoveResult:
    """The outcome of moving a fact, or what it would be.

    `moved`: it is in the system now. `equal`: it was there already. These two are removed from the overlay. The others
    stay: `different`, since the system has another value; `not found`, since it has no such session; and `failed`,
    since the system refused it, as `error` says.
    """

    session_id: str
    field: str
    outcome: Outcome
    error: str = ""


async def has_facts(store: OverlayStore, source: str) -> bool:
    """Return whether the overlay has facts of a system's sessions."""
    return await store.scan(lambda tx: facts.has_any(tx, source), default=False)


async def migrate(
    system: SessionBackend, store: OverlayStore, *, source: str, apply: bool
) -> AsyncGenerator[MoveResult]:
    """Move the facts of the fields that a system can store itself. Without `apply`, change nothing.

    `system` is the backend without an overlay. Each value is read back from it before it is removed from the overlay.
    Never change a value that the system has.
    """
    fields = frozenset(OVERLAY_FIELDS) & system.keeps
    migration = _Migration(system, store, source, apply=apply)
    after = (source, "")
    while fields:
        rows = await store.scan(partial(facts.page, after=after, limit=_BATCH), list[FactsRow]())
        own = [row for row in rows if row.source == source]
        for _, row, damaged in own:
            values = row.values(fields)
            if damaged:  # then the row can't be changed
                for field in (*values, *sorted(fields.intersection(damaged))):
                    yield MoveResult(row.session_id, field, "failed", _DAMAGED.format(" and ".join(damaged)))
            else:
                async for move in migration.moves(row, values):
                    yield move
        if len(own) < _BATCH:
            return
        after = (source, own[-1].facts.identity)


class _Migration:
    """The migration of a system's facts."""

    def __init__(self, system: SessionBackend, store: OverlayStore, source: str, *, apply: bool) -> None:
        self._system = system
        self._store = store
        self._source = source
        self._apply = apply

    async def moves(self, row: OverlayFacts, values: dict[str, Any]) -> AsyncGenerator[MoveResult]:
        """Move the values of a session, which is archived last, since a system may refuse changes after that."""
        for field in reversed(values):
            try:
                outcome = await self._move(row, field, values[field])
            except NotFound:
                yield MoveResult(row.session_id, field, "not found")
            except _ABOUT_ONE_SESSION as error:
                yield MoveResult(row.session_id, field, "failed", error.text)
            else:
                yield MoveResult(row.session_id, field, outcome)

    async def _move(self, row: OverlayFacts, field: str, value: Any) -> Outcome:
        session = await self._find(row, row.session_id)
        native = getattr(session, field)
        if _is_equal(field, native, value):
            await self._remove(row, field, value, session)
            return "equal"
        if native:
            return "different"
        if self._apply:
            change = await self._write(session, field, value)
            session = await self._find(row, change.session_id)
            if not _is_equal(field, getattr(session, field), value):
                return "different"
            await self._remove(row, field, value, session)
        return "moved"

    async def _find(self, row: OverlayFacts, session_id: str) -> SessionDetail:
        session = await self._system.get_session(session_id)
        if facts.session_identity(session) != row.identity:
            raise NotFound("the session is gone, and another one has its id now.")
        return session

    async def _write(self, session: SessionDetail, field: str, value: Any) -> Change:
        """Set an empty field in the system."""
        if field == "archived_at":
            return await self._system.archive_session(session.id)
        expected = session.version
        if field == "state":
            return await self._system.update_session_state(session.id, value, mode="replace", expected_version=expected)
        if field == "metadata":
            return await self._system.update_session(session.id, metadata=value, expected_version=expected)
        return await self._system.update_session(session.id, summary=value, expected_version=expected)

    async def _remove(self, row: OverlayFacts, field: str, value: Any, session: SessionDetail) -> None:
        """Remove a fact from the overlay, unless it has been changed since it was read."""

        def work(tx: Transaction) -> None:
            found = facts.lock_session(tx, self._source, session)
            if is_equal(found.values(frozenset({field})).get(field), value):
                facts.write(tx, self._source, found, {field: None})

        if self._apply:
            await self._store.write(work)


def _is_equal(field: str, native: Any, value: Any) -> bool:
    if field == "archived_at":
        return native is not None  # a system sets the time itself
    return is_equal(native, value) or not (native or value)
