"""Sessions and runs as agno stores them, built from a test's description (as tests/support/servers does with agno)."""

import json
from base64 import b64encode
from collections.abc import Mapping, Sequence
from uuid import uuid4

from mcp_sessions.json_documents import JsonObject

from .rendering import without_nulls
from .store import Session, Table, blank

_MEDIA = {"image": "images", "audio": "audio", "video": "videos", "file": "files"}
_NOT_CALLED_SO = (
    *("tool_call_error", "metrics", "child_run_id", "requires_confirmation", "confirmed", "confirmation_note"),
    *("requires_user_input", "user_input_schema", "user_feedback_schema", "answered", "external_execution_required"),
    *("external_execution_silent", "approval_type", "approval_id"),
)


def store(table: Table, given: Mapping[str, object], now: int, *, newer: bool) -> str:
    """Store a session that is described as for the real server's control route. Return its id."""
    wanted: JsonObject = dict(given)
    moment: int = wanted.get("created_at") or now
    session_id: str = wanted.get("session_id") or str(uuid4())
    type: str = wanted.get("type") or "agent"
    user_id: str | None = wanted.get("user_id") or None
    component_id: str | None = wanted.get("component_id") or None
    data: JsonObject = {"session_name": wanted.get("name") or None, "session_state": wanted.get("state") or None}
    row = blank(session_id) | {
        f"{type}_id": component_id,
        "user_id": user_id,
        "session_data": wanted.get("data", without_nulls(data)),
        "metadata": wanted.get("metadata") or None,
        "summary": {"summary": wanted["summary"]} if wanted.get("summary") else None,
        "created_at": moment,
    }
    runs = [
        run_of(type, row, [message_of(said, moment, newer=newer) for said in messages], now, newer=newer)
        for messages in wanted.get("runs", ())
    ]
    saved = table.read_as(type, row)
    table.save(Session(type, saved.row, runs))
    table.add_runs(session_id, user_id, runs)
    table.overwrite(session_id, wanted.get("columns") or {})
    if wanted.get("created_at") == 0:  # which agno's own class takes for no time
        table.overwrite(session_id, {"created_at": 0, "updated_at": 0})
    return session_id


def message_of(given: JsonObject, moment: int, *, newer: bool) -> JsonObject:
    message: JsonObject = {
        "id": given.get("id") or str(uuid4()),
        "content": given.get("text") or None,
        "from_history": False,
        "stop_after_tool_call": False,
        "role": given["role"],
        "tool_name": given.get("tool_name") or None,
        "tool_call_id": given.get("tool_call_id") or None,
        "created_at": given.get("created_at") or moment,
    }
    if given.get("tool_calls"):
        message["tool_calls"] = [
            {"id": call["id"], "type": "function", "function": {key: call[key] for key in ("name", "arguments")}}
            for call in given["tool_calls"]
        ]
    for attachment in given.get("attachments", ()):
        message.setdefault(_MEDIA[attachment["type"]], []).append(_media_of(attachment, newer=newer))
    return without_nulls(message)


def _media_of(attachment: JsonObject, *, newer: bool) -> JsonObject:
    data = b"x" * (attachment.get("bytes") or 1)
    media: JsonObject = {
        "id": str(uuid4()) if newer or attachment["type"] != "file" else None,
        "mime_type": attachment.get("media_type") or None,
    }
    if attachment["type"] == "audio":
        media |= {"sample_rate": 24000, "channels": 1}
    if attachment.get("url"):
        return without_nulls(media | {"url": attachment["url"]})
    is_text = attachment["type"] == "file" and str(media["mime_type"]).startswith("text/")
    return without_nulls(media | {"content": data.decode() if is_text else b64encode(data).decode()})


def run_of(type: str, row: JsonObject, messages: Sequence[JsonObject], now: int, *, newer: bool) -> JsonObject:
    """Return a run with these messages that has ended, in the session of this row."""
    asked = next((message.get("content", "") for message in messages if message["role"] == "user"), "")
    answers = [message["content"] for message in messages if message["role"] == "assistant" and "content" in message]
    common: JsonObject = {
        "run_id": str(uuid4()),
        "session_id": row["session_id"],
        "user_id": row["user_id"],
        f"{type}_id": row[f"{type}_id"],
        "content": answers[-1] if answers else None,
        "content_type": "str",
        "created_at": messages[0]["created_at"],
        "status": "COMPLETED",
    }
    said: JsonObject = {"messages": list(messages), "input": {"input_content": asked}}
    if tools := _tools_of(messages, now, newer=newer):
        said["tools"] = tools
    if type != "workflow":
        return without_nulls(common) | said
    ids = {"run_id": str(uuid4()), "agent_id": "helper", "agent_name": "Helper", "parent_run_id": common["run_id"]}
    step = without_nulls(common | {"workflow_id": None} | ids | said | {"workflow_step_id": "first"})
    results = [_result(common["content"], step["run_id"], newer=newer)]
    executed: JsonObject = {"step_results": results, "step_executor_runs": [step]}
    return without_nulls(common) | {"input": asked} | executed


def _tools_of(messages: Sequence[JsonObject], now: int, *, newer: bool) -> list[JsonObject]:
    """Return the tool calls as agno stores them in addition to the messages."""
    results = {message["tool_name"]: message.get("content") for message in messages if "tool_name" in message}
    absent: JsonObject = dict.fromkeys((*_NOT_CALLED_SO, *(("parent_tool_call_id",) if newer else ())))
    return [
        absent
        | {"tool_call_id": call["id"], "tool_name": call["function"]["name"], "created_at": now}
        | {"tool_args": json.loads(call["function"]["arguments"] or "{}")}
        | {"result": results.get(call["function"]["name"]), "stop_after_tool_call": False}
        for message in messages
        for call in message.get("tool_calls", ())
    ]


def _result(content: str | None, step_run_id: str, *, newer: bool) -> JsonObject:
    absent = ("step_id", "step_type", "executor_type", "images", "videos", "audio", "files", "metrics", "error")
    result: JsonObject = dict.fromkeys(absent)
    result |= {"content": content, "step_name": "first", "executor_name": "Helper", "step_run_id": step_run_id}
    return result | {"success": True, "stop": False} | ({"is_paused": False} if newer else {})
