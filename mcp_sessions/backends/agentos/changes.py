"""Every change of a session: read, merged, written at once, read back, and held.

AgentOS sets whole fields and has no versions, so changes of one session wait for each other here; what another
client of the same AgentOS does between our reading and our writing can't be told.
"""

from collections.abc import Callable, Sequence
from typing import NamedTuple
from weakref import WeakValueDictionary

import anyio

from ...errors import BadResponse, Conflict, NotFound, OutcomeUnknown, SessionsError, Unavailable, quoted
from ...models import Change, Json, JsonObject, SessionDetail, is_object, iso
from .._http import AnswerLost
from .api import Api
from .held import same, with_held
from .journal import Entry
from .keeper import Keeper, is_undone
from .wire import Stored

Plan = Callable[[Stored], JsonObject]
"""The fields of the session's document that a change sets, each whole. May raise."""

# AgentOS takes these out of whatever metadata it is given, since a run would obey them (agno ≥ 2.7).
_RESERVED = ("agno_component_version", "agno_dispatch_chain", "agno_dispatch_depth")


class Made(NamedTuple):
    """A change that was made; `note` is what a caller should know of it."""

    before: Stored
    after: Stored
    note: str


class Changes:
    """All writes to one AgentOS by this process."""

    def __init__(self, api: Api, keeper: Keeper) -> None:
        self._api = api
        self._keeper = keeper
        self._locks: WeakValueDictionary[str, anyio.Lock] = WeakValueDictionary()

    async def make(self, session_id: str, owner: str, plan: Plan, *, expected_version: str = "") -> Made:
        """Set what `plan` makes of the session as it is now; nothing is sent where it is so already.

        What a run has undone of changes made before counts as theirs still: a change may be to take them back.
        """
        async with self._lock(session_id):
            before = await self._api.find(session_id, owner)
            check_version(before, expected_version)
            meant = self._keeper.meant(before)
            wanted = meant.document | plan(meant)
            fields = _changed(before.document, wanted)
            if not fields and meant is before:
                return Made(before, before, "")
            after = await self._write(before, owner, fields) if fields else before
            return Made(meant, after, self._keeper.hold(owner, session_id, meant.document, wanted))

    async def delete(self, session_id: str, owner: str, *, expected_version: str = "") -> None:
        async with self._lock(session_id):
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
            async with self._lock(entry.session_id):
                current = self._keeper.current(entry)
                if current is None:
                    return
                stored = await self._api.find(current.session_id, current.owner)
                undone = [item for item in current.held if is_undone(item, stored)]
                fields = _changed(stored.document, with_held(stored.document, undone))
                if fields:
                    await self._write(stored, current.owner, fields)
                self._keeper.checked(current, stored, undone)

    def _lock(self, session_id: str) -> anyio.Lock:
        return self._locks.setdefault(session_id, anyio.Lock())

    async def _write(self, before: Stored, owner: str, fields: JsonObject) -> Stored:
        """The session as it is when it was written: AgentOS's word for a name, a look at the rest."""
        try:
            if fields.keys() == {"name"}:
                after = await self._api.rename(before, owner, fields["name"])
            else:
                after = await self._update(before, owner, fields)
        except (AnswerLost, BadResponse) as error:
            return await self._settle(before, owner, fields, error)
        return after if _shows(after, fields) else await self._settle(before, owner, fields, None)

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
        lost = error if isinstance(error, AnswerLost) else None
        try:
            after = await self._api.find(before.id, owner, type=before.type)
        except NotFound:
            raise
        except SessionsError as unread:
            if lost is None:
                raise OutcomeUnknown(
                    "AgentOS took the change, and could not be asked what became of it. Look at the session."
                ) from unread
            raise lost from unread
        if _shows(after, fields):
            return after
        raise _not_done(lost) from error


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
    if lost.ended:
        return Unavailable("AgentOS failed on the change; reading back shows that it was not made. Try again.")
    return lost


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


def _shows(after: Stored, fields: JsonObject) -> bool:
    document = after.document
    return all(same((_kept(document[key]),), (_kept(value),)) for key, value in fields.items())


def _kept(value: Json) -> Json:
    if is_object(value):
        return {key: item for key, item in value.items() if key not in _RESERVED}
    return value
