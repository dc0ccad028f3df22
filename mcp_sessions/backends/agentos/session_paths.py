"""Paths of AgentOS's routes for one session, and the error for an id that can't be part of a path."""

from ...errors import Unsupported, quoted
from ..http.urls import path, path_obstacle

UNADDRESSABLE = "their ids contain \"/\" or similar, which AgentOS's URLs can't contain"
PYTHON_API = "agno's Python API where AgentOS runs"


def session_path(session_id: str, *route: str) -> str:
    """Return the path of a session, or of a route below it. Raise `Unsupported` if the id can't be part of a path."""
    obstacle = path_obstacle(session_id)
    if obstacle:
        raise Unsupported(
            f"AgentOS can list a session with the id {quoted(session_id)}, but not open or change it: its URLs can't "
            f"contain an id that {obstacle}. Use {PYTHON_API}."
        )
    return path("sessions", session_id, *route)
