"""The requests that change threads: what Codex must be able to do for each, and what its refusals mean."""

from dataclasses import dataclass

from ...errors import BadResponse, Conflict, SessionsError, Unsupported
from ...json_documents import JsonObject
from .app_server import Version
from .preconditions import GROWING, OPEN

_LOCKS: Version = (0, 147, 0)
"""The first version that locks the threads that it has open."""
_PAGINATED: Version = (0, 151, 0)
_DELETES: Version = (0, 144, 0)
_FORKS_AFTER_A_TURN: Version = (0, 144, 0)
"""Earlier versions copy the whole thread, without an error."""


@dataclass(frozen=True, slots=True)
class ChangeRequest:
    """A request for one thread. `action` names it in errors: "Codex can't ACTION". `least` can carry it out.

    `loads`: Codex keeps a thread open after the request, until it is ended. `is_growing`: the thread may be open in a
    Codex that is too old to lock it.
    """

    action: str
    method: str
    params: JsonObject
    least: Version = (0, 0, 0)
    loads: bool = False
    is_growing: bool = False

    def check_version(self, version: Version) -> None:
        """Raise `Unsupported` if this version of Codex would refuse the request, or carry it out wrongly.

        Raise `Conflict` if the thread may be open, and this version does not tell.
        """
        if version < self.least:
            shown, least = (".".join(map(str, one[:count])) for one, count in ((version, 3), (self.least, 2)))
            raise Unsupported(
                f"Codex {shown} can't {self.action}, and nothing was changed. Update Codex to {least} or later."
            )
        if self.is_growing and version < _LOCKS:
            raise Conflict(GROWING)


def rename(thread_id: str, name: str, *, is_legacy: bool) -> ChangeRequest:
    least = (0, 0, 0) if is_legacy else _PAGINATED
    return ChangeRequest("rename this session", "thread/name/set", {"threadId": thread_id, "name": name}, least)


def archive(thread_id: str, *, is_growing: bool) -> ChangeRequest:
    return ChangeRequest("archive sessions", "thread/archive", {"threadId": thread_id}, is_growing=is_growing)


def unarchive(thread_id: str) -> ChangeRequest:
    return ChangeRequest("restore sessions", "thread/unarchive", {"threadId": thread_id})


def delete(thread_id: str, *, is_legacy: bool, is_growing: bool) -> ChangeRequest:
    least = _DELETES if is_legacy else _PAGINATED
    return ChangeRequest("delete this session", "thread/delete", {"threadId": thread_id}, least, is_growing=is_growing)


def fork(thread_id: str, *, last_turn: str, is_legacy: bool) -> ChangeRequest:
    """Return the request to fork a thread after a turn, "" for all of it."""
    least = (_FORKS_AFTER_A_TURN if last_turn else (0, 0, 0)) if is_legacy else _PAGINATED
    params: JsonObject = {"threadId": thread_id, "excludeTurns": True}
    if last_turn:
        params |= {"lastTurnId": last_turn}
    return ChangeRequest("fork this session", "thread/fork", params, least, loads=True)


def refusal_error(message: str) -> SessionsError:
    """Return the error for a request that Codex refused with this message, which must not be shown."""
    if "active writer" in message:
        return Conflict(OPEN)
    if "still references it" in message:
        return Conflict("other sessions were forked from this one and need it. Delete these forks first.")
    if "unknown variant" in message or "not supported" in message or "paginated_threads" in message:
        return Unsupported("this version of Codex can't do that, and nothing was changed. Update Codex.")
    return BadResponse(
        "Codex refused the change, and nothing was changed. Run mcp-sessions doctor, and check that Codex can open "
        "the session."
    )
