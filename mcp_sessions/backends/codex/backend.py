"""Codex's threads as a backend. Codex itself makes each change, in an app-server that is started for it."""

from collections.abc import Callable, Sequence
from contextlib import AsyncExitStack, ExitStack
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import anyio

from ...errors import BadResponse, Invalid, OutcomeUnknown, SessionsError, Timeout, Unavailable, quoted
from ...json_documents import JsonObject
from ...models import Change, SessionDetail, iso
from ..deadline import remaining
from ..health import Report
from ..validation import check_version, session_name
from . import CodexOptions, change_requests
from .app_server import AppServers, RequestRefused, ResponseLost
from .catalogue import Catalogue, CatalogueEntry
from .change_requests import ChangeRequest, refusal_error
from .checks import examine_program
from .details import lineage_of
from .fork_points import find_fork, turn_ending_with
from .preconditions import are_growing, deletable, refuse_if_archived, refuse_if_moved, refuse_if_open
from .reader import CHANGES, CodexReader
from .related_threads import (
    filter_threads,
    is_active,
    is_archived,
    is_deleted,
    listing,
    note_on_subagents,
    with_subagents,
)

T = TypeVar("T")

_REQUEST_FRACTION = 0.6
"""The part of a call's time that Codex gets. The rest is for ending it, and for reading what it did."""
_LATE = "Codex did not answer in time, so it was ended; nothing was changed. Try again, or raise the backend's timeout."
_ENDED = "Codex ended before it answered; nothing was changed. Try again."
_NOT_SEEN = "Codex accepted the change, but its files don't show it. Update Codex, or make the change there."
_UNKNOWN = "Codex did not confirm the change, and reading could not settle it. Read the session to find out."


class CodexBackend(CodexReader):
    """The threads in Codex's home. `program` is the codex that changes them."""

    capabilities = CodexReader.capabilities | CHANGES

    def __init__(self, root: Path, options: CodexOptions, program: str) -> None:
        super().__init__(root, options)
        self._servers = AppServers(program, root)
        self._subagents: dict[str, Sequence[str]] = {}
        self._open = AsyncExitStack()

    async def __aenter__(self) -> Self:
        await self._open.enter_async_context(self._servers.open())
        return self

    async def __aexit__(
        self, exc_type: type[BaseException] | None, exc: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._open.aclose()

    async def examine(self, report: Report) -> None:
        await self._examine_home(report)
        await examine_program(self._servers.program, report)

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        subagents = [id for session_id in session_ids for id in self._subagents.get(session_id, ())]
        theirs = f" The sessions of its subagents are deleted too: {listing(subagents)}." if subagents else ""
        return f"Codex deletes it permanently: this can't be undone. archive_session keeps everything.{theirs}"

    async def get_session_for_deletion(self, session_id: str) -> SessionDetail:
        """Return a session, and keep its subagents for the notice. Raise `Conflict` if Codex would not delete it."""

        def read(catalogue: Catalogue) -> tuple[SessionDetail, Sequence[str]]:
            family = deletable(catalogue, session_id)
            return self._details(catalogue).read(session_id), [member.id for member in family]

        session, self._subagents[session_id] = await self._read(read)
        return session

    async def rename_session(self, session_id: str, name: str) -> Change:
        """Rename a session, also one that is open in Codex. A name can't be cleared."""
        new = session_name(name)
        if not new:
            raise Invalid('Codex can\'t remove a name. Give "name" a visible character.')

        def prepare(catalogue: Catalogue) -> tuple[ChangeRequest, str]:
            entry = catalogue.find(session_id)
            refuse_if_moved(catalogue, [entry])
            refuse_if_archived(entry)
            request = change_requests.rename(session_id, new, is_legacy=catalogue.is_legacy(entry))
            return request, catalogue.given_name(entry)

        def is_renamed(catalogue: Catalogue, _: JsonObject) -> bool:
            return catalogue.given_name(catalogue.find(session_id)) == new

        request, old = await self._read(prepare)
        await self._send(request, is_renamed)
        return Change(
            session_id=session_id,
            changed={"name": new},
            previous={"name": old},
            version=await self._version(session_id),
            note="" if old else "It had no name before, and Codex can't remove a name.",
        )

    async def archive_session(self, session_id: str) -> Change:
        """Archive a session with those of its subagents. Refused while Codex has one of them open."""

        def prepare(catalogue: Catalogue) -> tuple[ChangeRequest | None, Sequence[str]]:
            entry = catalogue.find(session_id)
            if entry.file.is_archived:
                return None, ()
            family = [member for member in with_subagents(catalogue, entry) if not member.file.is_archived]
            refuse_if_moved(catalogue, family)
            refuse_if_open(catalogue, family)
            return change_requests.archive(session_id, is_growing=are_growing(family)), [member.id for member in family]

        request, ids = await self._read(prepare)
        if request is None:
            return Change(
                session_id=session_id,
                version=await self._version(session_id),
                note="It was archived already; nothing was changed.",
            )
        note = await self._send_for_family(request, ids, "archived", is_archived)
        session = await self.get_session(session_id)
        return Change(
            session_id=session_id,
            changed={"archived_at": _shown_time(session)},
            previous={"archived_at": ""},
            version=session.version,
            note=note,
        )

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        """Restore an archived session with those of its subagents, and rename it if `name` is given."""
        new = session_name(name)

        def prepare(catalogue: Catalogue) -> tuple[ChangeRequest | None, Sequence[str]]:
            entry = catalogue.find(session_id)
            if not entry.file.is_archived:
                return None, ()
            family = [member for member in with_subagents(catalogue, entry) if member.file.is_archived]
            refuse_if_moved(catalogue, family)
            return change_requests.unarchive(session_id), [member.id for member in family]

        before = await self.get_session(session_id)
        request, ids = await self._read(prepare)
        change = Change(session_id=session_id, note="It was active already.")
        if request is not None:
            theirs = await self._send_for_family(request, ids, "restored", is_active)
            note = f"Codex counts it as changed now. {theirs}".strip()
            archived_at = {"archived_at": _shown_time(before)}
            change = Change(session_id=session_id, changed={"archived_at": ""}, previous=archived_at, note=note)
        if new:
            return await self._with_name(change, new)
        return change.model_copy(update={"version": await self._version(session_id)})

    async def _with_name(self, restored: Change, name: str) -> Change:
        try:
            renamed = await self.rename_session(restored.session_id, name)
        except SessionsError as error:
            note = f"{restored.note} It could not be renamed ({error.code}). Try rename_session."
            return restored.model_copy(update={"version": await self._version(restored.session_id), "note": note})
        return renamed.model_copy(
            update={
                "changed": restored.changed | renamed.changed,
                "previous": restored.previous | renamed.previous,
                "note": f"{restored.note} {renamed.note}".strip(),
            }
        )

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change:
        """Delete a session with those of its subagents, permanently. Refused while Codex has one of them open."""

        def prepare(catalogue: Catalogue) -> tuple[ChangeRequest, Sequence[str]]:
            family = deletable(catalogue, session_id)
            check_version(session_id, self._details(catalogue).version(family[0]), expected_version)
            is_legacy, is_growing = catalogue.is_legacy(family[0]), are_growing(family)
            request = change_requests.delete(session_id, is_legacy=is_legacy, is_growing=is_growing)
            return request, [member.id for member in family]

        request, ids = await self._read(prepare)
        theirs = await self._send_for_family(request, ids, "deleted", is_deleted)
        return Change(session_id=session_id, note=f"Deleted permanently: it can't be restored. {theirs}".strip())

    async def fork_session(self, session_id: str, *, up_to_message_id: str = "", name: str = "") -> SessionDetail:
        """Fork a session, also one that is open in Codex. `up_to_message_id` is the last message of a turn."""
        new = session_name(name)

        def prepare(catalogue: Catalogue) -> tuple[ChangeRequest, frozenset[str], bool]:
            entry = catalogue.find(session_id)
            refuse_if_moved(catalogue, [entry])
            refuse_if_archived(entry)
            turn = self._turn(catalogue, entry, up_to_message_id) if up_to_message_id else ""
            is_legacy = catalogue.is_legacy(entry)
            request = change_requests.fork(session_id, last_turn=turn, is_legacy=is_legacy)
            return request, frozenset(catalogue.threads), is_legacy

        forked = ""

        def is_forked(catalogue: Catalogue, answer: JsonObject) -> bool:
            nonlocal forked
            forked = find_fork(catalogue, session_id, known, answer)
            if forked and is_copied and not answer:
                raise OutcomeUnknown(
                    f"Codex ended while it made the fork, session {quoted(forked)}, so messages may be missing there. "
                    "Compare the two, or delete that one and try again."
                )
            return bool(forked)

        request, known, is_copied = await self._read(prepare)
        await self._send(request, is_forked)
        note = ""
        if new:
            try:
                await self.rename_session(forked, new)
            except SessionsError as error:
                note = f"It could not be renamed ({error.code}). Try rename_session."
        try:
            session = await self.get_session(forked)
        except SessionsError as error:
            raise OutcomeUnknown(
                f"the fork is session {quoted(forked)}, but it could not be read. Call get_session with that id."
            ) from error
        return session.model_copy(update={"note": f"{session.note} {note}".strip()})

    def _turn(self, catalogue: Catalogue, entry: CatalogueEntry, message_id: str) -> str:
        with ExitStack() as files:
            return turn_ending_with(lineage_of(catalogue, entry, catalogue.stops_at, files), message_id)

    async def _send_for_family(
        self, request: ChangeRequest, ids: Sequence[str], done: str, is_done: Callable[[Catalogue, str], bool]
    ) -> str:
        """Send a request that changes a session and its subagents' sessions. Return a note on the latter."""
        session_id, *subagents = ids
        changed: list[str] = []

        def is_made(catalogue: Catalogue, _: JsonObject) -> bool:
            changed[:] = filter_threads(catalogue, subagents, is_done)
            is_whole = is_done(catalogue, session_id)
            if changed and not is_whole:
                raise OutcomeUnknown(
                    f"Codex has {done} sessions of the session's subagents, but not the session itself: "
                    f"{listing(changed)}. Try again."
                )
            return is_whole

        await self._send(request, is_made)
        return note_on_subagents(subagents, changed, done)

    async def _send(self, request: ChangeRequest, is_done: Callable[[Catalogue, JsonObject], bool]) -> None:
        """Send a request to Codex, and read whether the change was made. Raise an error if it was not.

        Codex's answer is not trusted: some versions accept requests that they can't carry out. After a lost answer, the
        app-server has been ended, so the change can't be made later.
        """
        answer: JsonObject = {}
        failure: SessionsError = BadResponse(_NOT_SEEN)
        try:
            with anyio.fail_after(remaining(self.options.timeout) * _REQUEST_FRACTION):
                async with self._servers.use(keep=not request.loads) as server:
                    request.check_version(server.version)
                    answer = await server.call(request.method, request.params)
        except RequestRefused as error:
            failure = refusal_error(error.message)
        except ResponseLost:
            failure = Unavailable(_ENDED)
        except TimeoutError:
            failure = Timeout(_LATE)
        try:
            is_made = await self._read(lambda catalogue: is_done(catalogue, answer))
        except OutcomeUnknown:
            raise
        except SessionsError as error:
            raise OutcomeUnknown(_UNKNOWN) from error
        if not is_made:
            raise failure

    async def _version(self, session_id: str) -> str:
        """Return the version after a change, or "" if it can't be read: the change was made all the same."""
        try:
            return await self._read(lambda catalogue: self._details(catalogue).version(catalogue.find(session_id)))
        except SessionsError:
            return ""

    async def _read(self, work: Callable[[Catalogue], T]) -> T:
        return await self._in_thread(lambda stops_at: work(self._catalogue(stops_at)))


def _shown_time(session: SessionDetail) -> str:
    return iso(session.archived_at) if session.archived_at else ""
