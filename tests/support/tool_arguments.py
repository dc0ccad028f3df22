"""Valid arguments for every tool that takes a session's id."""

from collections.abc import Mapping, Sequence
from typing import Any

ARGUMENTS: Mapping[str, Sequence[Mapping[str, Any]]] = {
    "get_session": [{}, {"state_path": "/a"}],
    "get_session_history": [{}, {"message_id": "m1"}, {"around": "m1"}, {"cursor": "x"}],
    "get_session_runs": [{}, {"run_id": "r1"}, {"cursor": "x"}],
    "rename_session": [{"name": "Taken over"}],
    "archive_session": [{}],
    "restore_session": [{}],
    "delete_session": [{}, {"confirm": "abcd"}],
    "update_session_state": [{"changes": {"a": 1}}, {"changes": {}, "mode": "replace", "expected_version": "1"}],
    "update_session": [{"metadata": {"a": 1}}],
    "append_messages": [{"messages": [{"role": "user", "text": "Hello"}]}],
    "fork_session": [{}],
    "apply_to_sessions": [
        {"action": action, "dry_run": dry_run}
        for action in ("archive", "restore", "delete")
        for dry_run in (True, False)
    ],
}
"""Further arguments of every tool that takes a session id."""

UNNAMED = {"list_sessions", "search_sessions", "create_session"}
"""The tools that take no session's id."""
