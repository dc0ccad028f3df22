"""Bulk actions made of single actions, for backends whose system has no bulk operation."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import suppress
from typing import Protocol

from ..errors import Invalid, NotFound, SessionsError, Unsupported, quoted
from ..models import BulkAction, BulkResult, Change, Failure, SessionDetail, Target


class SessionActions(Protocol):
    """The actions on one session that bulk actions are made of, and what they need to refuse a session."""

    async def get_session(self, session_id: str) -> SessionDetail: ...

    async def archive_session(self, session_id: str) -> Change: ...

    async def restore_session(self, session_id: str, *, name: str = "") -> Change: ...

    async def delete_session(self, session_id: str, *, expected_version: str = "") -> Change: ...


async def read_each(
    session_ids: Sequence[str], read: Callable[[str], Awaitable[SessionDetail]]
) -> Sequence[SessionDetail]:
    """Call `read` with each session's id in turn. Leave out sessions that don't exist or can't be read."""
    found: list[SessionDetail] = []
    for session_id in dict.fromkeys(session_ids):
        with suppress(NotFound, Invalid, Unsupported):
            found.append(await read(session_id))
    return found


def would_change(action: BulkAction, session: SessionDetail) -> bool:
    """Return whether the action would change the session."""
    unchanged = {"archive": session.archived_at is not None, "restore": session.archived_at is None}
    return not unchanged.get(action, False)


async def preview_each(
    action: BulkAction, session_ids: Sequence[str], preview: Callable[[str], Awaitable[SessionDetail | None]]
) -> BulkResult:
    """Return which sessions the action would change: those that `preview` returns."""
    would_change: list[Target] = []
    failed: list[Failure] = []
    for session_id in dict.fromkeys(session_ids):
        try:
            session = await preview(session_id)
        except SessionsError as error:
            failed.append(Failure(session_id=session_id, error=error.text))
        else:
            would_change += [Target(session_id=session.id, name=session.name)] if session else []
    return BulkResult(action=action, dry_run=True, failed=tuple(failed), would_change=tuple(would_change))


async def apply_to_each(
    action: BulkAction, session_ids: Sequence[str], apply: Callable[[str], Awaitable[Change]]
) -> BulkResult:
    """Call `apply` with each session's id in turn. A failure does not stop the rest."""
    succeeded: list[str] = []
    failed: list[Failure] = []
    for session_id in dict.fromkeys(session_ids):
        try:
            succeeded.append((await apply(session_id)).session_id)
        except SessionsError as error:
            failed.append(Failure(session_id=session_id, error=error.text))
    return BulkResult(action=action, dry_run=False, succeeded=tuple(succeeded), failed=tuple(failed))


async def apply_one(
    backend: SessionActions, action: BulkAction, session_id: str, expected_versions: Mapping[str, str] | None
) -> Change:
    """Apply an action to one session. Raise `NotFound` for a deletion that the user was not asked about."""
    if action == "archive":
        return await backend.archive_session(session_id)
    if action == "restore":
        return await backend.restore_session(session_id)
    if expected_versions is not None and session_id not in expected_versions:
        # If the error that kept the session out of the question persists, this raises it.
        await backend.get_session(session_id)
        raise NotFound(f"session {quoted(session_id)} was not found when the user was asked to confirm. Ask again.")
    return await backend.delete_session(session_id, expected_version=(expected_versions or {}).get(session_id, ""))
