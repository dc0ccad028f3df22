"""The session writer: every change of a session, one at a time for each session, and confirmed by reading back."""

from collections.abc import Callable, Sequence
from datetime import UTC, datetime
from typing import NamedTuple

from ...errors import BadResponse, Invalid, SessionsError, Unsupported
from ...json_documents import Json, JsonObject, is_array, is_object, merge_patch
from ..http.client import AnswerLost
from ..session_locks import SessionLocks
from ..validation import check_version, json_text
from .api import Api
from .wire import OpencodeSession

_MAX_INTEGER = 2**53 - 1
"""The largest whole number that JavaScript, and so opencode, keeps as it is."""


class WriteResult(NamedTuple):
    """A session before and after a change. They are the same object if nothing had to be changed."""

    before: OpencodeSession
    after: OpencodeSession


class SessionWriter:
    """Changes sessions. `locks` keep this user's processes from overwriting each other's changes."""

    def __init__(self, api: Api, locks: SessionLocks) -> None:
        self._api = api
        self._locks = locks

    async def rename(self, session_id: str, name: str) -> WriteResult:
        """Rename a session. "" gives it the title of a session that nobody has named."""
        async with self._locks.lock(session_id):
            before = await self._api.session(session_id)
            title = name or before.default_title
            if before.title == title:
                return WriteResult(before, before)
            return WriteResult(before, await self._update(before, {"title": title}, lambda after: after.title == title))

    async def archive(self, session_id: str) -> WriteResult:
        """Archive a session."""
        async with self._locks.lock(session_id):
            before = await self._api.session(session_id)
            if before.is_archived:
                return WriteResult(before, before)
            content: JsonObject = {"time": {"archived": round(datetime.now(UTC).timestamp() * 1000)}}
            return WriteResult(before, await self._update(before, content, lambda after: after.is_archived))

    async def restore(self, session_id: str, name: str) -> WriteResult:
        """Restore a session, and rename it unless `name` is "".

        opencode ignores a request to remove the time of archiving, but accepts 0, which its apps take for none.
        """
        async with self._locks.lock(session_id):
            before = await self._api.session(session_id)
            title = name or before.title
            content: JsonObject = {"time": {"archived": 0}} if before.is_archived else {}
            content |= {"title": title} if title != before.title else {}
            if not content:
                return WriteResult(before, before)
            after = await self._update(before, content, lambda after: not after.is_archived and after.title == title)
            return WriteResult(before, after)

    async def update_metadata(
        self, session_id: str, changes: JsonObject, *, clear: bool, expected_version: str
    ) -> WriteResult:
        """Merge `changes` into the metadata, which is emptied first if `clear` is set.

        opencode itself replaces all metadata with each change.
        """
        async with self._locks.lock(session_id):
            before = await self._api.session(session_id)
            check_version(session_id, before.version, expected_version)
            metadata: JsonObject = merge_patch({} if clear else before.metadata or {}, changes)
            json_text(metadata, "metadata")
            if metadata == (before.metadata or {}):
                return WriteResult(before, before)

            def is_made(after: OpencodeSession) -> bool:
                if metadata and after.metadata is None:
                    raise Unsupported("this version of opencode keeps no metadata. Upgrade it to 1.15 or later.")
                return (after.metadata or {}) == metadata

            return WriteResult(before, await self._update(before, {"metadata": metadata}, is_made))

    async def _update(
        self, before: OpencodeSession, content: JsonObject, is_made: Callable[[OpencodeSession], bool]
    ) -> OpencodeSession:
        """Set fields of a session, and return it after the change. Raise an error unless `is_made` confirms this."""
        failure: AnswerLost | None = None
        try:
            after = await self._api.update(before.id, content)
        except AnswerLost as error:
            failure = error
            try:
                after = await self._api.session(before.id)
            except SessionsError:
                raise failure from None
        if not is_made(after):
            raise not_made(failure)
        return after


def not_made(failure: AnswerLost | None) -> SessionsError:
    """Return the error for a change that reading back does not show."""
    if failure is not None:
        return failure.not_made_error()
    return BadResponse(
        "opencode answered that it made the change, but reading the session back does not show it. "
        "Look at the session with get_session."
    )


def check_metadata(metadata: JsonObject) -> None:
    """Raise `Invalid` for metadata that opencode could not return as it was given."""
    json_text(metadata, "metadata")
    if any(abs(number) > _MAX_INTEGER for number in _whole_numbers(metadata)):
        raise Invalid('"metadata" has a whole number beyond 2^53, which opencode rounds. Write it as a string.')


def _whole_numbers(value: Json) -> Sequence[int]:
    if is_object(value):
        return [number for item in value.values() for number in _whole_numbers(item)]
    if is_array(value):
        return [number for item in value for number in _whole_numbers(item)]
    return [value] if isinstance(value, int) else []
