"""`Overlay`, a backend with the operations that its system lacks."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from datetime import UTC, datetime
from typing import Any

from ....errors import NotFound, SessionsError, Unsupported
from ....json_documents import JsonObject
from ....models import (
    BulkAction,
    BulkResult,
    Change,
    Clearable,
    NewMessage,
    SessionDetail,
    StateMode,
)
from ...base import Capability, SessionBackend
from ...database.database import Transaction
from ...session_updates import check_update, updated_fields, updated_state
from ...validation import check_version, json_text, session_name
from . import facts
from .facts import OverlayFacts
from .reader import OverlayReader

Edit = Callable[[SessionDetail], Mapping[str, Any]]
"""Returns the fields that a change sets, with their new values. Empty if there is nothing to change."""
Guard = Callable[[SessionDetail], None]
"""Raises `Conflict` if a session is not at the version that a caller expects."""


class Overlay(OverlayReader):
    """A backend with the operations that its system lacks: archive, restore, state, metadata and summary.

    A field that the system can store is stored there. The other fields are kept in `store`, and a value there is shown
    instead of the system's. The version of a session is `SYSTEM+OVERLAY`, such as `7+2`. If the system has no versions,
    `SYSTEM` is a hash of the session's identity.
    """

    async def archive_session(self, session_id: str) -> Change:
        if "archived_at" not in self._kept:
            return await self._with_full_version(await self.inner.archive_session(session_id))
        now = datetime.now(UTC)
        change = await self._change(session_id, lambda session: {} if session.archived_at else {"archived_at": now})
        return change if change.changed else _with_note(change, "It was archived already; nothing was changed.")

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        if "archived_at" not in self._kept:
            return await self._with_full_version(await self.inner.restore_session(session_id, name=name))
        new = session_name(name)
        if new and Capability.RENAME_SESSION not in self.capabilities:
            raise Unsupported(f"{self.title} can't rename a session. Call restore_session without a name.")
        try:
            session = await self._find(session_id)
        except NotFound:
            if Capability.RESTORE_SESSION not in self.inner.capabilities:
                raise
            return await self._with_full_version(await self.inner.restore_session(session_id, name=name))
        if session.archived_at:
            return await self._restore_in_system(session, name)
        change = await self._change(session_id, lambda shown: {"archived_at": None} if shown.archived_at else {})
        change = change if change.changed else _with_note(change, "It was active already.")
        return await self._rename_restored(change, new) if new else change

    async def _restore_in_system(self, session: SessionDetail, name: str) -> Change:
        if Capability.RESTORE_SESSION not in self.inner.capabilities:
            raise Unsupported(f"{self.title} archived this session itself, and can't restore it. Restore it there.")
        return await self._with_full_version(await self.inner.restore_session(session.id, name=name))

    async def _rename_restored(self, restored: Change, name: str) -> Change:
        try:
            renamed = await self.rename_session(restored.session_id, name)
        except SessionsError as error:
            return _with_note(restored, f"It could not be renamed ({error.code}). Try rename_session.")
        return _merge_changes(restored, renamed)

    async def update_session_state(
        self, session_id: str, changes: JsonObject, *, mode: StateMode = "merge", expected_version: str = ""
    ) -> Change:
        if "state" not in self._kept:
            expected = await self._system_version(session_id, expected_version)
            change = await self.inner.update_session_state(session_id, changes, mode=mode, expected_version=expected)
            return await self._with_full_version(change)
        json_text(changes, "changes")
        return await self._change(
            session_id,
            lambda session: {"state": updated_state(session, changes, mode)},
            _at_version(expected_version),
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
        """Change metadata and summary, each where it is kept.

        If only one of the two is in the overlay, the system's is changed first, since that fails more often. If the
        overlay then fails, `note` says that only the first change was made.
        """
        check_update(metadata, summary, clear)
        given: dict[Clearable, object] = {"metadata": metadata, "summary": summary}
        named: list[Clearable] = [field for field, value in given.items() if value or field in clear]
        own: list[Clearable] = [field for field in named if field in self._kept]

        def values(fields: Sequence[Clearable]) -> tuple[JsonObject | None, str, list[Clearable]]:
            return (
                metadata if "metadata" in fields else None,
                summary if "summary" in fields else "",
                [field for field in clear if field in fields],
            )

        def edit(session: SessionDetail) -> JsonObject:
            return updated_fields(session, *values(own))

        if len(own) == len(named):
            return await self._change(session_id, edit, _at_version(expected_version))
        if not own:
            expected = await self._system_version(session_id, expected_version)
            return await self._with_full_version(
                await self.inner.update_session(
                    session_id, metadata=metadata, summary=summary, clear=clear, expected_version=expected
                )
            )
        before = await self._read(await self._find(session_id))
        json_text(edit(before).get("metadata", {}), "metadata")  # before anything is changed
        expected = await self._system_version(session_id, expected_version)
        rest, text, cleared = values([field for field in named if field not in own])
        change = await self.inner.update_session(
            session_id, metadata=rest, summary=text, clear=cleared, expected_version=expected
        )
        try:
            guard = _at_number(before.version.rpartition("+")[2]) if expected_version else None
            return _merge_changes(change, await self._change(session_id, edit, guard))
        except SessionsError as error:
            note = f"Only this was changed: the {own[0]}, which the overlay keeps, was not. {error.text}"
            return _with_note(await self._with_full_version(change), note)

    async def rename_session(self, session_id: str, name: str) -> Change:
        return await self._with_full_version(await self.inner.rename_session(session_id, name))

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        return await self._with_full_version(await self.inner.append_messages(session_id, messages))

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Delete a session in the system. What the overlay keeps of it stays for `keep_deleted` days."""
        expected = await self._system_version(session_id, expected_version)
        row: OverlayFacts | None = None
        with suppress(SessionsError):  # deleting a session does not need the overlay
            if await self._has_facts():
                row = await self._row(await self._find(session_id))
        change = await self.inner.delete_session(session_id, expected_version=expected)
        if change.version:  # of a session that the system can restore
            change = _at_row(change, row)
        with suppress(SessionsError):
            if row is not None and row.version:
                await self._store.write(lambda tx: facts.mark_gone(tx, self._source, row))
        return change

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        given = {"state": state, "metadata": metadata}
        own = {field: value for field, value in given.items() if value and field in self._kept}
        for field, value in own.items():
            json_text(value, field)
        native = {field: value for field, value in given.items() if field not in own}
        session = await self.inner.create_session(name=name, type=type, agent_id=agent_id, **native)
        return await self._store_initial_values(session, own)

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        source = await self._read(await self._find(session_id))
        session = await self.inner.fork_session(session_id, up_to_message_id=up_to_message_id, name=name)
        own = {field: getattr(source, field) for field in source.kept_by_overlay if field != "archived_at"}
        return await self._store_initial_values(session, own)

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        # Not the system's own bulk operation: each session's facts have to change with it.
        return await SessionBackend.apply_to_sessions(
            self, action, session_ids, dry_run=dry_run, expected_versions=expected_versions
        )

    async def _change(self, session_id: str, edit: Edit, guard: Guard | None = None) -> Change:
        """Change facts of a session that the system has for this caller."""
        session = await self._find(session_id)

        def work(tx: Transaction) -> Change:
            found = facts.lock_session(tx, self._source, session)
            before = facts.show(session, found, self._kept)
            if guard is not None:
                guard(before)
            new = edit(before)
            if not new:
                return Change(session_id=session.id, version=before.version)
            # Store an empty value only if it has to hide a value of the system.
            kept = {name: value if value or getattr(session, name) else None for name, value in new.items()}
            after = found._replace(version=facts.write(tx, self._source, found, kept))
            return Change(
                session_id=session.id,
                changed={name: facts.shown_value(name, value) for name, value in new.items()},
                previous={name: facts.shown_value(name, getattr(before, name)) for name in new},
                version=after.full_version(session.version),
                kept_by_overlay=tuple(new),
                note=f"Stored by mcp-sessions, not in {self.title}.",
            )

        return await self._store.write(work)

    async def _with_full_version(self, change: Change) -> Change:
        """Return a change that the system made, with the version that includes the overlay's part."""
        try:
            if change.version and not await self._has_facts():
                return _at_row(change, None)
            # By the session's identity, since the change may have given it another id.
            return _at_row(change, await self._row(await self.inner.get_session(change.session_id)))
        except SessionsError as error:
            return _with_note(change, self._missing(error))

    async def _has_facts(self) -> bool:
        return await self._store.read(lambda tx: facts.has_any(tx, self._source), default=False)

    async def _system_version(self, session_id: str, expected_version: str) -> str:
        """Return the part of an expected version that the system checks. Raise `Conflict` if it is not the current."""
        if not expected_version:
            return ""
        session = await self._find(session_id)
        check_version(session_id, (await self._read(session)).version, expected_version)
        return session.version

    async def _store_initial_values(self, session: SessionDetail, values: Mapping[str, Any]) -> SessionDetail:
        """Store values of a session that was just created, and return the session. If that fails, `note` says so."""

        def work(tx: Transaction) -> SessionDetail:
            facts.write(tx, self._source, facts.lock_session(tx, self._source, session), values)
            return facts.show(session, facts.find(tx, self._source, session), self._kept)

        if not values:
            return await self._show(session)
        try:
            return await self._store.write(work)
        except SessionsError as error:
            note = f"The session was created, but without its {' and '.join(values)}: {error.text}"
            return session.model_copy(update={"note": f"{session.note} {note}".strip()})


def _at_version(expected: str) -> Guard:
    return lambda session: check_version(session.id, session.version, expected)


def _at_number(expected: str) -> Guard:
    """Return a guard for the overlay's part of the version, after the system's part was changed by the same call."""

    def guard(session: SessionDetail) -> None:
        system, _, number = session.version.rpartition("+")
        if number != expected:
            check_version(session.id, session.version, f"{system}+{expected}")

    return guard


def _at_row(change: Change, row: OverlayFacts | None) -> Change:
    version = row.full_version(change.version) if row else f"{change.version}+0"
    return change.model_copy(update={"version": version})


def _with_note(change: Change, note: str) -> Change:
    return change.model_copy(update={"note": f"{change.note} {note}".strip()})


def _merge_changes(first: Change, second: Change) -> Change:
    """Return two changes of a session as one."""
    return second.model_copy(
        update={
            "changed": first.changed | second.changed,
            "previous": second.previous | first.previous,
            "kept_by_overlay": (*first.kept_by_overlay, *second.kept_by_overlay),
            "note": " ".join(dict.fromkeys(filter(None, (first.note, second.note)))),
        }
    )
