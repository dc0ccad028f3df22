"""Errors for AgentOS's refusals."""

import re

from ...errors import Forbidden, Invalid, NotFound, SessionsError, quoted
from ...json_documents import is_object, text_in
from ..http.client import Reply


def explain(reply: Reply, credential: str) -> SessionsError | None:
    """Return the error for a response whose cause only its text states; None for any other response."""
    answer = reply.json()
    detail = text_in(answer, "detail") if is_object(answer) else ""
    if reply.status in (400, 404) and "db_id query parameter is required" in detail:
        return Invalid(
            "this AgentOS has several databases. Name one in the backend's URL: agentos+http://HOST?db_id=ID."
        )
    if reply.status in (400, 404) and re.search("No database|with id '.*' has table", detail):
        return Invalid("this AgentOS has no such database or table. Correct db_id or table in the backend's URL.")
    if reply.status == 400 and "no runs to fork" in detail:
        return Invalid("this session has no messages to fork. Create a new one with create_session.")
    if reply.status == 403:
        scope = re.search(r"\b(sessions|agents|teams|config|system):[a-z*]+\b", detail)
        lacks = f"lacks {scope.group()}" if scope else "lacks the permission for this"
        return Forbidden(f"{credential} {lacks}. Ask the operator of AgentOS for it.")
    return None


def not_found(session_id: str) -> NotFound:
    """Return the error for a session that doesn't exist."""
    return NotFound(
        f"no session {quoted(session_id)}. Find sessions with list_sessions; AgentOS stores a new one only when its "
        "first run has ended."
    )
