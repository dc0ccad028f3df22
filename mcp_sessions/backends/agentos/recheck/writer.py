"""Every change of a session: read, merged, written at once, read back, and held.

AgentOS sets whole fields and has no versions, so changes of one session by this user's servers wait for each other;
what another client of the same AgentOS does between our reading and our writing can't be told.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple

from ....errors import BadResponse, Conflict, NotFound, OutcomeUnknown, SessionsError, quoted
from ....json_documents import Json, JsonObject
from ....models import (
    Change,
    SessionDetail,
    iso,
)
from ...http.client import AnswerLost
from ...http.responses import Redirected
from ..api import Api, absent
from ..removals import as_stored, removed, shows, without_reserved
from ..wire import Stored
from .journal import Entry
from .locks import Turns
from .rechecker import Keeper, is_undone
from .values import Held, same, with_held

Plan = Callable[[Stored], JsonObject]
"""The fields of the session's document that a change sets, each whole. May raise."""


class Made(NamedTuple):
    """A change that was made; `note` is what a caller should know of it."""

    before: Stored
    after: Stored
    note: str


class Changes:
    """All writes to one AgentOS with one credential."""

    def __init__(self, api: Api, keeper: Keeper, turns: Turns) -> None:
        self._api = api
        self._keeper = keeper
        self._turns = turns

    async def make(self, session_id: str, owner: str, plan: Plan, *, expected_version: str = "") -> Made:
        """Set what `plan` makes of the session as it is now; nothing is sent where it is so already.

        A change is made to the session as it is meant: what a run has undone of others is set again with it, where it
        is certain that a run did that, and where a change takes another back, it is held that it does.
        """
        async with self._turns.alone(session_id):
            before = await self._api.find(session_id, owner)
            check_version(before, expected_version)
            meant = self._keeper.meant(before)
            base = meant if self._keeper.has_run(before) else before
            wanted, held = base.document | plan(base), meant.document | plan(meant)
            fields = _changed(before.document, wanted)
            if not fields and not _changed(meant.document, held):
                return Made(before, before, "")
            taken = self._keeper.take(session_id)
            try:
                after = await self._write(before, owner, fields) if fields else before
            except OutcomeUnknown:
                raise
            except SessionsError:
                self._keeper.put_back(taken)
                raise
            kept = {key: as_stored(value, after.document[key]) for key, value in without_reserved(held).items()}
            note = self._keeper.hold(owner, after, without_reserved(meant.document), kept, taken)
            return Made(base, after, " ".join(filter(None, (removed(fields, after), note))))

    async def delete(self, session_id: str, owner: str, *, expected_version: str = "") -> None:
        async with self._turns.alone(session_id):
            before = await self._api.find(session_id, owner)
            check_version(before, expected_version)
            lost: AnswerLost | None = None
            try:
                await self._api.delete(before, owner)
            except AnswerLost as error:
                lost = error
            try:
                await self._api.find(session_id, owner, type=before.type)
            except NotFound:
                self._keeper.forget(session_id)
                return
            except SessionsError as error:
                raise lost or OutcomeUnknown(
                    "AgentOS was told to delete the session, and could not be asked whether it is gone. Look again."
                ) from error
            raise _not_done(lost)

    async def check(self, entry: Entry) -> None:
        """Write again what a run undid of the changes that are held."""
        with self._api.http.call():
            async with self._turns.alone(entry.session_id):
                # Changes may have come, or been settled, since it was claimed.
                current = self._keeper.current(entry.session_id)
                if current is None:
                    return
                stored = await self._api.find(current.session_id, current.owner)
                if current.born != stored.born:
                    raise absent(current.session_id)
                undone: list[Held] = []
                if self._keeper.may_rewrite(current, stored):
                    undone = [item for item in current.held if is_undone(item, stored)]
                fields = _changed(stored.document, with_held(stored.document, undone))
                if fields:
                    await self._write(stored, current.owner, fields)
                self._keeper.checked(current, stored, undone)

    async def _write(self, before: Stored, owner: str, fields: JsonObject) -> Stored:
        """Return the session as it is once written: AgentOS's word for a name, a look at the rest."""
        if fields.keys() == {"name"}:
            renamed = await self._rename(before, owner, fields)
            if renamed is not None:
                return renamed
        try:
            after = await self._update(before, owner, fields)
        except (AnswerLost, BadResponse) as error:
            return await self._settle(before, owner, fields, error)
        return after if shows(after, fields) else await self._settle(before, owner, fields, None)

    async def _rename(self, before: Stored, owner: str, fields: JsonObject) -> Stored | None:
        """Return the session once it is renamed, or None if AgentOS's rename had no effect: an update may have one.

        On PostgreSQL, agno's rename sets a key inside the session's data, which fails as long as these are null. It
        answers 500, or 404 over an asynchronous driver, or 200 without the name (seen on 2.5.6 and 3.1.10).
        """
        error: SessionsError | None = None
        try:
            after = await self._api.rename(before, owner, fields["name"])
        except NotFound:
            after = await self._api.find(before.id, owner, type=before.type)
        except (AnswerLost, BadResponse) as failure:
            error, after = failure, await self._read_back(before, owner, failure)
        else:
            if not shows(after, fields):
                after = await self._read_back(before, owner, None)
        if shows(after, fields):
            return after
        if isinstance(error, AnswerLost) and (not error.ended or isinstance(error.failure, Redirected)):
            raise error.not_made() from error
        return None

    async def _update(self, before: Stored, owner: str, fields: JsonObject) -> Stored:
        after = await self._api.update(before, owner, _as_sent(before, fields))
        try:
            return await self._api.find(before.id, owner, type=before.type)
        except NotFound:
            raise
        except SessionsError:
            return after  # it was made, and AgentOS's answer shows it

    async def _settle(self, before: Stored, owner: str, fields: JsonObject, error: SessionsError | None) -> Stored:
        """What became of a change whose answer doesn't tell."""
        after = await self._read_back(before, owner, error)
        if shows(after, fields):
            return after
        raise _not_done(error if isinstance(error, AnswerLost) else None) from error

    async def _read_back(self, before: Stored, owner: str, error: SessionsError | None) -> Stored:
        """Return the session after a write that may have failed with `error`. If it can't be read, raise that error,
        or `OutcomeUnknown`."""
        try:
            return await self._api.find(before.id, owner, type=before.type)
        except NotFound:
            raise
        except SessionsError as unread:
            if isinstance(error, AnswerLost):
                raise error from unread
            raise OutcomeUnknown(
                "AgentOS took the change, and could not be asked what became of it. Look at the session."
            ) from unread


def told(made: Made, fields: Sequence[str], note: str = "") -> Change:
    """What a change set and replaced, in `SessionDetail`'s terms."""
    before, after = made.before.detail(), made.after.detail()
    if made.before is made.after:
        note = note or "It was so already; nothing was changed."

    def shown(detail: SessionDetail, name: str) -> Json:
        value = getattr(detail, name)
        return (iso(value) if value else "") if name == "archived_at" else value

    return Change(
        session_id=made.after.id,
        changed={name: shown(after, name) for name in fields},
        previous={name: shown(before, name) for name in fields},
        version=after.version,
        note=" ".join(filter(None, (note, made.note))),
    )


def check_version(stored: Stored, expected: str) -> None:
    """Raise `Conflict` when an expected version is given and is not the session's."""
    if expected and expected != stored.version:
        raise Conflict(
            f"session {quoted(stored.id)} is at version {stored.version} now, not {quoted(expected)}. "
            "Read it again with get_session, then repeat the change."
        )


def _not_done(lost: AnswerLost | None) -> SessionsError:
    """The error for a change that reading back does not show."""
    if lost is None:
        return BadResponse("AgentOS answered that it made the change, but reading back does not show it. Look again.")
    return lost.not_made()


def _changed(document: JsonObject, wanted: JsonObject) -> JsonObject:
    return {key: value for key, value in wanted.items() if not same((document[key],), (value,))}


def _as_sent(before: Stored, fields: JsonObject) -> JsonObject:
    sent = {
        "name": "session_name",
        "state": "session_state",
    }
    named = {sent.get(key, key): value for key, value in fields.items()}
    if "summary" in named:  # the topics are part of what AgentOS replaces with it
        named["summary"] = {"summary": named["summary"], "topics": list(before.topics)}
    return named
