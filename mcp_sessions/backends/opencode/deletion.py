"""Deletes sessions, after copying them into a trash, and restores them from there.

opencode itself keeps nothing of a deleted session, and its API has no import. But its route `/sync/replay`, which is
meant for workspaces on several machines, accepts the events that make a session.
"""

import json
import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import blake2b
from pathlib import Path
from tempfile import TemporaryDirectory

from anyio.to_thread import run_sync

from ...errors import Conflict, NotFound, OutcomeUnknown, SessionsError, Unavailable, Unsupported
from ...json_documents import Json, JsonObject, object_in, text_in
from ...models import iso
from ..http.client import AnswerLost, ServerFailed
from ..session_locks import SessionLocks
from ..transcripts.lines import parse
from ..transcripts.trash import Trash, TrashEntry, file_error
from ..validation import check_version
from .api import Api
from .wire import is_session_id, objects_in
from .writer import not_made

_RESTORING_FROM = (1, 15)
"""The earliest version of opencode on which restoring is tested."""
_BEGUN = "restoring"
"""The name of the file in an entry that says that its restoration has begun."""
_IMPORT = "Its own command `opencode import` can, from the copies in the folder `deleted` of mcp-sessions' data."


@dataclass(frozen=True, slots=True)
class Deletion:
    """Deletes sessions, each with those that it started, and restores them. `locks` are those of all changes."""

    api: Api
    locks: SessionLocks
    trash: Trash

    async def delete(self, session_id: str, expected_version: str) -> bool:
        """Copy a session into the trash, then delete it. Return whether this version of opencode can restore it.

        The session is read first, since some versions of opencode confirm the deletion of one that does not exist.
        """
        async with self.locks.lock(session_id):
            before = await self.api.session(session_id)
            check_version(session_id, before.version, expected_version)
            can_restore = _can_restore(await self.api.version())
            await run_sync(self.trash.remove_old)
            await self._copy(session_id)
            try:
                await self._delete(session_id)
            except OutcomeUnknown:
                raise
            except SessionsError:
                await run_sync(self._discard, session_id)
                raise
        return can_restore

    async def restore(self, session_id: str) -> bool:
        """Restore a session that was deleted. Return False if there is no copy of it, or the session is there.

        Complete an earlier restoration that was interrupted. Raise `Conflict` if the session was changed since.
        """
        if not is_session_id(session_id):
            return False
        async with self.locks.lock(session_id):
            entry = await run_sync(self.trash.find, session_id)
            if entry is None:
                return False
            copies = [await run_sync(_read_copy, path) for path in _files(entry)]
            is_complete = await self._has(copies[0])
            if not is_complete:
                # Never write an old copy over a session that is there: one whose deletion was interrupted, or imported.
                if not _is_begun(entry) and await self._is_there(copies[0]):
                    return False
                if not _can_restore(await self.api.version()):
                    raise Unsupported(f"this version of opencode can't restore a deleted session. {_IMPORT}")
                await run_sync(_begin, entry)
                for copy in reversed(copies):  # the session itself comes last: if it is complete, all others are
                    await self._restore_one(copy)
            await run_sync(self.trash.remove, entry)
        return not is_complete

    async def _copy(self, session_id: str) -> None:
        """Put a session and those that it started into the trash, each as opencode's export."""
        try:
            self.trash.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            # Its name is that of an incomplete entry, which the trash removes after a kill.
            with TemporaryDirectory(prefix=".", dir=self.trash.folder, ignore_cleanup_errors=True) as folder:
                paths: list[Path] = []
                for member in [session_id, *await self.api.descendants(session_id)]:
                    paths.append(Path(folder) / f"{member}.json")
                    await run_sync(_write, paths[-1], await self.api.export(member))
                await run_sync(replace(self.trash, root=Path(folder)).put, session_id, paths)
        except OSError as error:
            raise file_error(error) from error

    async def _delete(self, session_id: str) -> None:
        failure: AnswerLost | None = None
        try:
            await self.api.delete(session_id)
        except NotFound:
            return  # deleted meanwhile, or by this request, which is sent again if its connection was lost
        except AnswerLost as error:
            failure = error
        try:
            await self.api.session(session_id)
        except NotFound:
            return
        except SessionsError as error:
            raise failure or OutcomeUnknown(
                "opencode answered that it deleted the session, but reading it back failed. "
                "Look whether list_sessions still has it."
            ) from error
        raise not_made(failure)

    def _discard(self, session_id: str) -> None:
        """Remove the newest copy of a session."""
        if entry := self.trash.find(session_id):
            with suppress(OSError):
                self.trash.remove(entry)

    async def _restore_one(self, copy: JsonObject) -> None:
        """Let opencode apply the events that make a session. Raise an error if the session is not complete then.

        opencode 1.15 does not count the events of a session, so it expects the number 0 for each. If it gets several
        events, it applies the first and fails. Therefore the others are sent one by one, with that number. Applying an
        event twice changes nothing.
        """
        if await self._has(copy):
            return
        events = [*_events(copy)]
        if not await self._replay(copy, events):
            is_created = await self._is_there(copy)
            for event in events[1:] if is_created else events:
                if not await self._replay(copy, [event | {"seq": 0}]):
                    break
        if not await self._is_there(copy):
            raise Unavailable(f"opencode did not accept the copy of the deleted session. {_IMPORT}")
        if not await self._has(copy):
            raise Conflict(
                "the session was only partly restored, and it was changed since. Delete the incomplete session "
                "in opencode, then restore it again."
            )

    async def _replay(self, copy: JsonObject, events: Sequence[JsonObject]) -> bool:
        """Let opencode apply events. Return whether it accepted them."""
        try:
            await self.api.replay(text_in(object_in(copy, "info"), "directory"), events)
        except AnswerLost as lost:
            if isinstance(lost.failure, ServerFailed):
                return False
            raise
        return True

    async def _is_there(self, copy: JsonObject) -> bool:
        try:
            await self.api.session(_id_of(copy))
        except NotFound:
            return False
        return True

    async def _has(self, copy: JsonObject) -> bool:
        """Return whether opencode has the session, with all messages and parts that its copy has."""
        try:
            found = _parts_by_message((await self.api.messages(_id_of(copy))).rows)
        except NotFound:
            return False
        needed = _parts_by_message(objects_in(copy, "messages"))
        return all(id in found and found[id] >= parts for id, parts in needed.items())


def deletion_notice(days: int) -> str:
    """Return a warning for the user before sessions are deleted, whose copies are kept for some days."""
    return (
        "Its messages and the sessions that it started are deleted too. "
        f"With opencode 1.15 or later, restore_session can restore them until {_until(days)[:10]}."
    )


def deletion_note(session_id: str, days: int, *, can_restore: bool) -> str:
    """Return a note on a session that was deleted, and whether it can be restored."""
    if can_restore:
        return (
            f'Deleted, with the sessions that it started. restore_session("{session_id}") can restore them until '
            f"{_until(days)}."
        )
    return (
        "Deleted, with the sessions that it started. restore_session can't restore them with this version of opencode. "
        f"{_IMPORT} They are kept until {_until(days)}."
    )


def _until(days: int) -> str:
    return iso(datetime.now(UTC) + timedelta(days=days))


def trash_in(data_folder: Path, system: str, days: int) -> Trash:
    """Return the trash for the sessions of a system."""
    # A digest, since the names of folders must not get too long.
    folder = data_folder / "deleted" / f"opencode-{blake2b(os.fsencode(system), digest_size=8).hexdigest()}"
    return Trash(folder, folder, days)


def _can_restore(version: str) -> bool:
    numbers = version.split(".")[:2]
    return all(map(str.isdecimal, numbers)) and tuple(map(int, numbers)) >= _RESTORING_FROM


def _write(path: Path, document: JsonObject) -> None:
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
        json.dump(document, file)
        file.flush()
        os.fsync(file.fileno())


def _files(entry: TrashEntry) -> Sequence[Path]:
    return [entry.folder / str(number) for number in range(len(entry.paths))]


def _begin(entry: TrashEntry) -> None:
    """Record that the restoration of an entry has begun, so that a partly restored session is recognized as such."""
    try:
        (entry.folder / _BEGUN).touch(mode=0o600)
    except OSError as error:
        raise file_error(error) from error


def _is_begun(entry: TrashEntry) -> bool:
    return (entry.folder / _BEGUN).exists()


def _read_copy(path: Path) -> JsonObject:
    try:
        copy = parse(path.read_bytes()) or {}
    except OSError as error:
        raise file_error(error) from error
    if not is_session_id(_id_of(copy)):
        raise Unavailable(f"the copy of the deleted session is damaged. Look at {path}.")
    return copy


def _id_of(copy: JsonObject) -> str:
    return text_in(object_in(copy, "info"), "id")


def _parts_by_message(rows: Sequence[JsonObject]) -> Mapping[str, set[str]]:
    """Return the ids of messages, each with the ids of its parts."""
    return {
        text_in(object_in(row, "info"), "id"): {text_in(part, "id") for part in objects_in(row, "parts")}
        for row in rows
    }


def _events(copy: JsonObject) -> Iterator[JsonObject]:
    """Yield the events that make a session. Their ids are the same each time, since opencode compares them."""
    info = object_in(copy, "info")
    session_id = _id_of(copy)
    for number, (kind, data) in enumerate(_event_data(info, objects_in(copy, "messages"))):
        digest = blake2b(f"{session_id} {number}".encode(), digest_size=13).hexdigest()
        yield {
            "id": f"evt_{digest}",
            "aggregateID": session_id,
            "seq": number,
            "type": f"{kind}.1",
            "data": {"sessionID": session_id, **data},
        }


def _event_data(info: JsonObject, rows: Sequence[JsonObject]) -> Iterator[tuple[str, JsonObject]]:
    """Yield the type and the data of each event."""
    yield "session.created", {"info": info}
    for row in rows:
        message = object_in(row, "info")
        yield "message.updated", {"info": message}
        created: Json = object_in(message, "time").get("created")
        yield from (("message.part.updated", {"part": part, "time": created}) for part in objects_in(row, "parts"))
    yield "session.updated", {"info": info}  # again, since opencode has added the tokens of all parts
