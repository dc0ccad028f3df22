"""A result as it is sent: the same object as compact text and as structured content, within its budget."""

from collections.abc import Callable

from mcp.types import CallToolResult, TextContent

from .budget import fit
from .context import CURRENT, AppContext, AppRequest, app_of, current_session
from .models import Change, Json, JsonObject, Model, SessionDetail, is_array, is_object
from .pruning import compact
from .seal import ROOM as SEAL_ROOM

# Text that came from outside. State and metadata are not among it: they are written back, so they stay exact.
_STORED_TEXT = frozenset(
    {
        *("name", "session_name", "text", "snippet", "summary", "input", "output", "arguments", "tool_name", "topics"),
        *("type", "agent_id", "user_id", "channel", "media_type", "url"),
    }
)
_ALTERED = "The previous text is shown without hidden characters and credentials, so sending it back is no full undo."


def rendered(result: Model, arguments: JsonObject, context: AppRequest) -> CallToolResult:
    app = app_of(context)
    payload = payload_of(result, app)
    if isinstance(result, SessionDetail) and arguments.get("state_path"):
        payload["state"] = result.state  # asked for, so an empty one says something
    current = current_session(context)
    if current is not None:
        if CURRENT in (arguments.get("session_id"), *_listed(arguments.get("session_ids"))):
            payload["resolved_from"] = current.resolved_from
        _mark_current(payload, current.id)
    payload = fit(result, payload, app.max_chars - (SEAL_ROOM if app.seal else 0))
    if "next_cursor" in payload:
        payload["next_cursor"] = app.closed(payload["next_cursor"])
    return CallToolResult(content=[TextContent(type="text", text=compact(payload))], structured_content=payload)


def payload_of(result: Model, app: AppContext) -> JsonObject:
    """A result as plain JSON, without what says nothing, its stored text as a model may see it."""
    payload = result.model_dump(mode="json", exclude_defaults=True, exclude_none=True)
    _present(payload, app.operator.present)
    if isinstance(result, Change) and any(
        result.previous[key] != shown for key, shown in payload.get("previous", {}).items()
    ):
        payload["note"] = f"{result.note} {_ALTERED}".strip()
    return payload


def _listed(value: Json) -> list[Json]:
    return value if is_array(value) else []


def _mark_current(payload: JsonObject, session_id: str) -> None:
    for session in payload.get("sessions", (payload,)):
        if session.get("id") == session_id:
            session["is_current"] = True


def _present(value: Json, present: Callable[[str], str]) -> None:
    if is_array(value):
        for item in value:
            _present(item, present)
    elif is_object(value):
        for key, child in value.items():
            if key in _STORED_TEXT:
                value[key] = [present(item) for item in child] if is_array(child) else present(child)
            elif not isinstance(child, str) and key not in ("state", "metadata"):
                _present(child, present)
