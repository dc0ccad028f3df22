"""The operations that backends can have."""

from enum import StrEnum


class Capability(StrEnum):
    """The operations of backends. Each value is the name of both the method and the tool."""

    LIST_SESSIONS = "list_sessions"
    GET_SESSION = "get_session"
    SEARCH_SESSIONS = "search_sessions"
    CREATE_SESSION = "create_session"
    RENAME_SESSION = "rename_session"
    ARCHIVE_SESSION = "archive_session"
    RESTORE_SESSION = "restore_session"
    DELETE_SESSION = "delete_session"
    GET_SESSION_HISTORY = "get_session_history"
    GET_SESSION_RUNS = "get_session_runs"
    UPDATE_SESSION_STATE = "update_session_state"
    UPDATE_SESSION = "update_session"
    APPLY_TO_SESSIONS = "apply_to_sessions"
    APPEND_MESSAGES = "append_messages"
    FORK_SESSION = "fork_session"


REQUIRED = frozenset({Capability.LIST_SESSIONS, Capability.GET_SESSION, Capability.GET_SESSION_HISTORY})

KEPT_BY = {
    Capability.RENAME_SESSION: ("name",),
    Capability.ARCHIVE_SESSION: ("archived_at",),
    Capability.UPDATE_SESSION_STATE: ("state",),
    Capability.UPDATE_SESSION: ("metadata", "summary"),
}
"""Operation → the fields of a session that a system with this operation usually stores."""

OVERLAY_FIELDS = ("archived_at", "state", "metadata", "summary")
"""The fields that an overlay keeps for systems that can't store them."""
