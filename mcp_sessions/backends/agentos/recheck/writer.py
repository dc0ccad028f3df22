"""The session writer: makes each change of a session under a lock (read, modify, write), and confirms it.

AgentOS sets whole fields and has no versions. The lock makes this user's servers change a session one at a time.
A write by another client of the same AgentOS, between our read and our write, can't be detected.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ....errors import BadResponse, NotFound, OutcomeUnknown, SessionsError
from ....json_documents import Json, JsonObject
from ....models import (
    Change,
    SessionDetail,
    iso,
)
from ...deadline import deadline
from ...http.client import AnswerLost, Redirect
from ...session_locks import SessionLocks
from ...validation import check_version
from ..api import Api
from ..api_errors import not_found
from ..removals import as_stored, has_fields, removal_note, without_reserved
from ..wire import AgentOsSession
from .journal import PendingWrite
from .rechecker import Rechecker, is_overwritten
from .values import PendingValue, apply_pending_values, json_equal

Edit = Callable[[AgentOsSession], JsonObject]
"""Returns the fields of the session's document that a change sets, with their new values. May raise `SessionsError`."""


class WriteResult(NamedTuple):
    """The session before and after a change. `note` is for the caller."""

    before: AgentOsSession
    after: AgentOsSession
    note: str


class SessionWriter:
    """All writes to one AgentOS with one credential."""

    def __init__(self, api: Api, rechecker: Rechecker, locks: SessionLocks) -> None:
        self._api = api
        self._rechecker = rechecker
        self._locks = locks

    async def change(self, session_id: str, owner: str, edit: Edit, *, expected_version: str = "") -> WriteResult:
        """Read the session, apply `edit`, and write the fields that differ, if there are any.

        If a run has ended since our last write and overwrote it, put our earlier values back before applying the edit.
        The new values become pending even if AgentOS has them already.
        """
        async with self._locks.lock(session_id):
            before = await self._api.find(session_id, owner)
            check_version(before.id, before.version, expected_version)
            with_pending = self._rechecker.apply_pending(before)
            base = with_pending if self._rechecker.has_run_ended(before) else before
            wanted, intended = base.document | edit(base), with_pending.document | edit(with_pending)
            fields = _differing_fields(before.document, wanted)
            if not fields and not _differing_fields(with_pending.document, intended):
                return WriteResult(before, before, "")
            earlier = self._rechecker.pop(session_id)
            try:
                after = await self._write(before, owner, fields) if fields else before
            except OutcomeUnknown:
                raise
            except SessionsError:
                self._rechecker.put_back(earlier)
                raise
            stored = {key: as_stored(value, after.document[key]) for key, value in without_reserved(intended).items()}
            note = self._rechecker.add(owner, after, without_reserved(with_pending.document), stored, earlier)
            return WriteResult(base, after, " ".join(filter(None, (removal_note(after, fields), note))))

    async def delete(self, session_id: str, owner: str, *, expected_version: str = "") -> None:
        """Delete the session, and read it to confirm that it is gone. Raise `OutcomeUnknown` if it can't be read."""
        async with self._locks.lock(session_id):
            before = await self._api.find(session_id, owner)
            check_version(before.id, before.version, expected_version)
            lost: AnswerLost | None = None
            try:
                await self._api.delete(before, owner)
            except AnswerLost as error:
                lost = error
            try:
                await self._api.find(session_id, owner)
            except NotFound:
                self._rechecker.delete(session_id)
                return
            except SessionsError as error:
                raise lost or OutcomeUnknown(
                    "the deletion was sent to AgentOS, but reading the session back failed, so it may still be there. "
                    "Look for it with get_session."
                ) from error
            raise _not_made_error(lost)

    async def recheck(self, pending: PendingWrite) -> None:
        """Write those pending values again that a run has overwritten."""
        with deadline(self._api.http.timeout):
            async with self._locks.lock(pending.session_id):
                # Another write may have changed or deleted the pending write since it was claimed.
                current = self._rechecker.pending_write(pending.session_id)
                if current is None:
                    return
                session = await self._api.find(current.session_id, current.owner)
                if current.identity != session.identity:
                    raise not_found(current.session_id)
                overwritten: list[PendingValue] = []
                if self._rechecker.may_rewrite(current, session):
                    overwritten = [item for item in current.values if is_overwritten(item, session)]
                fields = _differing_fields(session.document, apply_pending_values(session.document, overwritten))
                if fields:
                    await self._write(session, current.owner, fields)
                self._rechecker.save_check(current, session, overwritten)

    async def _write(self, before: AgentOsSession, owner: str, fields: JsonObject) -> AgentOsSession:
        """Write these fields and return the session.

        After a rename, this is the session in AgentOS's answer. After an update, it is read back.
        """
        if fields.keys() == {"name"}:
            renamed = await self._rename(before, owner, fields)
            if renamed is not None:
                return renamed
        try:
            after = await self._update(before, owner, fields)
        except (AnswerLost, BadResponse) as error:
            return await self._confirm(before, owner, fields, error)
        return after if has_fields(after, fields) else await self._confirm(before, owner, fields, None)

    async def _rename(self, before: AgentOsSession, owner: str, fields: JsonObject) -> AgentOsSession | None:
        """Rename the session and return it, or return None if AgentOS's rename had no effect.

        The caller then tries an update. On PostgreSQL, agno's rename sets a key inside `session_data`, which fails
        while that column is null. AgentOS then answers 500, or 404 with an asynchronous driver, or 200 without the new
        name (seen on 2.5.6 and 3.1.10).
        """
        error: SessionsError | None = None
        try:
            after = await self._api.rename(before, owner, fields["name"])
        except NotFound:
            after = await self._api.find(before.id, owner)
        except (AnswerLost, BadResponse) as failure:
            error, after = failure, await self._read_back(before, owner, failure)
        else:
            if not has_fields(after, fields):
                after = await self._read_back(before, owner, None)
        if has_fields(after, fields):
            return after
        if isinstance(error, AnswerLost) and (not error.ended or isinstance(error.failure, Redirect)):
            raise error.not_made_error() from error
        return None

    async def _update(self, before: AgentOsSession, owner: str, fields: JsonObject) -> AgentOsSession:
        after = await self._api.update(before, owner, _wire_fields(before, fields))
        try:
            return await self._api.find(before.id, owner)
        except NotFound:
            raise
        except SessionsError:
            return after  # the change was made, and AgentOS's answer shows it

    async def _confirm(
        self, before: AgentOsSession, owner: str, fields: JsonObject, error: SessionsError | None
    ) -> AgentOsSession:
        """Return the session if reading it back shows the written fields, else raise an error."""
        after = await self._read_back(before, owner, error)
        if has_fields(after, fields):
            return after
        raise _not_made_error(error if isinstance(error, AnswerLost) else None) from error

    async def _read_back(self, before: AgentOsSession, owner: str, error: SessionsError | None) -> AgentOsSession:
        """Return the session after a write that may have failed with `error`.

        If it can't be read, raise `error` if that is an `AnswerLost`, else `OutcomeUnknown`.
        """
        try:
            return await self._api.find(before.id, owner)
        except NotFound:
            raise
        except SessionsError as unread:
            if isinstance(error, AnswerLost):
                raise error from unread
            raise OutcomeUnknown(
                "the change was sent to AgentOS, but reading the session back failed, so the change may or may not "
                "have been made. Look at the session with get_session."
            ) from unread


def change_of(result: WriteResult, fields: Sequence[str], note: str = "") -> Change:
    """Return a `Change` that shows these fields of `SessionDetail` before and after a write."""
    before, after = result.before.to_detail(), result.after.to_detail()
    if result.before is result.after:
        note = note or "Nothing was changed: the session has these values already."

    def shown(detail: SessionDetail, name: str) -> Json:
        value = getattr(detail, name)
        return (iso(value) if value else "") if name == "archived_at" else value

    return Change(
        session_id=result.after.id,
        changed={name: shown(after, name) for name in fields},
        previous={name: shown(before, name) for name in fields},
        version=after.version,
        note=" ".join(filter(None, (note, result.note))),
    )


def _not_made_error(lost: AnswerLost | None) -> SessionsError:
    """Return the error for a change that reading back does not show."""
    if lost is None:
        return BadResponse(
            "AgentOS answered that it made the change, but reading the session back does not show it. "
            "Look at the session with get_session."
        )
    return lost.not_made_error()


def _differing_fields(document: JsonObject, wanted: JsonObject) -> JsonObject:
    return {key: value for key, value in wanted.items() if not json_equal((document[key],), (value,))}


def _wire_fields(before: AgentOsSession, fields: JsonObject) -> JsonObject:
    """Return the fields under AgentOS's names."""
    wire_names = {"name": "session_name", "state": "session_state"}
    sent = {wire_names.get(key, key): value for key, value in fields.items()}
    if "summary" in sent:  # AgentOS replaces the topics together with the summary
        sent["summary"] = {"summary": sent["summary"], "topics": list(before.topics)}
    return sent
