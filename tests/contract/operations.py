"""A table of all operations as calls on one session, for tests of what they have in common."""

from collections.abc import Awaitable, Callable, Mapping

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.models import NewMessage, SessionFilter

Call = Callable[[SessionBackend, str], Awaitable[object]]

ADDRESSED: Mapping[Capability, Call] = {
    Capability.GET_SESSION: lambda backend, session_id: backend.get_session(session_id),
    Capability.RENAME_SESSION: lambda backend, session_id: backend.rename_session(session_id, "Renamed"),
    Capability.ARCHIVE_SESSION: lambda backend, session_id: backend.archive_session(session_id),
    Capability.RESTORE_SESSION: lambda backend, session_id: backend.restore_session(session_id),
    Capability.DELETE_SESSION: lambda backend, session_id: backend.delete_session(session_id),
    Capability.GET_SESSION_HISTORY: lambda backend, session_id: backend.get_session_history(session_id),
    Capability.GET_SESSION_RUNS: lambda backend, session_id: backend.get_session_runs(session_id),
    Capability.UPDATE_SESSION_STATE: lambda backend, session_id: backend.update_session_state(session_id, {"a": 1}),
    Capability.UPDATE_SESSION: lambda backend, session_id: backend.update_session(session_id, metadata={"a": 1}),
    Capability.APPEND_MESSAGES: lambda backend, session_id: backend.append_messages(
        session_id, [NewMessage(role="user", text="Hello")]
    ),
    Capability.FORK_SESSION: lambda backend, session_id: backend.fork_session(session_id),
}
"""The operations on one session."""

CALLS: Mapping[Capability, Call] = {
    **ADDRESSED,
    Capability.LIST_SESSIONS: lambda backend, _: backend.list_sessions(SessionFilter()),
    Capability.SEARCH_SESSIONS: lambda backend, _: backend.search_sessions("hello"),
    Capability.CREATE_SESSION: lambda backend, _: backend.create_session(),
    Capability.APPLY_TO_SESSIONS: lambda backend, session_id: backend.apply_to_sessions("archive", [session_id]),
}
