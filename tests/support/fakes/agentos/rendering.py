"""Renders sessions and runs as AgentOS does, with the fields that each version lacks."""

import json
from collections.abc import Iterable
from datetime import UTC, datetime

from mcp_sessions.json_documents import Json, JsonObject, is_object

from .store import Session

_PREVIEW_CHARACTERS = 280
_NOT_IN_HISTORY = ("PAUSED", "CANCELLED", "ERROR")
_FORK = ("followups", "forked_from_run_id", "forked_from_message_index", "forked_from_session_id", "regenerated_from")
_SINCE_3 = (*_FORK, "last_checkpoint_at_message_index")


def without_nulls(answer: JsonObject) -> JsonObject:
    return {key: value for key, value in answer.items() if value is not None}


def time_of(seconds: int | None) -> str | None:
    return None if seconds is None else datetime.fromtimestamp(seconds, UTC).isoformat().replace("+00:00", "Z")


def name_of(row: JsonObject, type: str, runs: list[JsonObject]) -> str:
    """Return the session's name, or else the first words of the first message."""
    data: JsonObject = row["session_data"] or {}
    if data.get("session_name") is not None:
        if not isinstance(data["session_name"], str):
            raise ValueError("1 validation error: session_name: Input should be a valid string")
        return data["session_name"]
    if type == "workflow":
        return _workflow_name(row, runs)
    for run in runs:
        if type == "team" and run.get("agent_id"):
            continue
        for message in run.get("messages") or ():
            if message["role"] == "user" and message.get("content"):
                return message["content"]
        if run.get("input") is not None:
            return _as_text(run["input"])
    return ""


def _workflow_name(row: JsonObject, runs: list[JsonObject]) -> str:
    if not runs:
        return ""
    asked = runs[0].get("input")
    if isinstance(asked, str):
        return asked
    if is_object(asked):
        return json.dumps(asked)
    about: JsonObject = row["workflow_data"] or {}
    return f"New {about['name']} Session" if about.get("name") else ""


def _as_text(content: Json) -> str:
    if isinstance(content, str):
        return content
    return json.dumps(content, indent=2) if is_object(content) else str(content)


def item(row: JsonObject, *, newer: bool) -> JsonObject:
    """Return a session as an item of a list."""
    data: JsonObject = row["session_data"] or {}
    shown: JsonObject = {
        "session_id": row["session_id"],
        "session_name": name_of(row, row["session_type"], row["runs"] or []),
        "session_state": data.get("session_state"),
        "created_at": time_of(row["created_at"]),
        "updated_at": time_of(row["updated_at"]),
    }
    if newer:
        metrics = data.get("session_metrics")
        shown |= {key: row[key] for key in ("session_type", "user_id", "agent_id", "team_id", "workflow_id")}
        shown |= {"session_summary": row["summary"], "metrics": metrics, "metadata": row["metadata"]}
        shown["total_tokens"] = metrics.get("total_tokens") if metrics else None
    return without_nulls(shown)


def detail(session: Session, *, newer: bool) -> JsonObject:
    """Return a session as its class renders it, with nulls."""
    row = session.row
    data: JsonObject = row["session_data"] or {}
    common: JsonObject = {
        "user_id": row["user_id"],
        "session_id": row["session_id"],
        "session_name": name_of(row, session.type, session.runs),
        "session_state": data.get("session_state"),
        "metadata": row["metadata"],
        "created_at": time_of(row["created_at"] or None),
        "updated_at": time_of(row["updated_at"] or row["created_at"] or None),
    }
    if session.type == "workflow":
        own: JsonObject = {"workflow_id": row["workflow_id"], "workflow_name": None, "session_data": data}
        return {**common, **own, "workflow_data": row["workflow_data"]}
    metrics: JsonObject = data.get("session_metrics", {})
    common |= {
        "session_summary": row["summary"],
        "total_tokens": metrics.get("total_tokens"),
        "metrics": metrics if data else None,
        "chat_history": list(_chat_history(session.runs, failed=newer)),
    }
    if session.type == "team":
        return {**common, "team_id": row["team_id"], "team_data": row["team_data"]}
    own = {"agent_session_id": row["session_id"], "agent_id": row["agent_id"] or None, "agent_data": row["agent_data"]}
    return common | own


def _chat_history(runs: list[JsonObject], *, failed: bool) -> Iterable[JsonObject]:
    for run in runs:
        if run.get("parent_run_id") is None and (failed or run.get("status") not in _NOT_IN_HISTORY):
            for message in run.get("messages") or ():
                if not message.get("from_history") and message["role"] not in ("system", "tool"):
                    yield message


def runs_of(row: JsonObject, type: str, *, newer: bool) -> list[JsonObject]:
    """Return all runs, each as the session's type renders it, with nulls."""
    shown: list[JsonObject] = []
    for run in row["runs"] or ():
        if type == "agent" or run.get("agent_id") is not None:
            shown.append(run_in(run, "agent", newer=newer))
        elif run.get("workflow_id") is not None and type == "workflow":
            shown.append(run_in(run, "workflow", newer=newer))
        elif run.get("team_id") is not None:
            shown.append(run_in(run, "team", newer=newer))
        elif type == "workflow":
            shown.append(run_in(run, "agent", newer=newer))
    return shown


def true_type(run: JsonObject) -> str:
    kinds = (kind for kind in ("workflow", "team") if run.get(f"{kind}_id") is not None)
    return next(kinds, "agent")


def run_in(run: JsonObject, type: str, *, newer: bool) -> JsonObject:
    """Return a run as one type renders it, with nulls."""
    shown: JsonObject = {
        "run_id": run.get("run_id", ""),
        "status": run.get("status"),
        "content": run.get("content", ""),
        "reasoning_content": run.get("reasoning_content", ""),
        "metrics": run.get("metrics", {}),
        "created_at": time_of(run.get("created_at")),
        "citations": run.get("citations"),
        "response_audio": run.get("response_audio"),
    }
    lists = ("reasoning_steps", "references", "reasoning_messages", "images", "videos", "audio", "files")
    shown |= {key: run.get(key, []) for key in lists}
    if newer:
        shown["cancellation_stage"] = run.get("cancellation_stage")
    if type == "workflow":
        return shown | _as_workflow_run(run, newer=newer)
    asked: Json = run.get("input")
    media: JsonObject = asked if is_object(asked) else {}
    shown |= {
        "parent_run_id": run.get("parent_run_id", ""),
        f"{type}_id": run.get(f"{type}_id", ""),
        "run_input": _input_of(run),
        "run_response_format": "text" if run.get("content_type", "str") == "str" else "json",
        "messages": run.get("messages") or None,
        "tools": run.get("tools") or None,
        "events": run.get("events") or None,
        "session_state": run.get("session_state"),
        "input_media": {key: media.get(key, []) for key in ("images", "videos", "audios", "files")},
    }
    if newer:
        shown |= {key: run.get(key) for key in _SINCE_3}
    if type == "agent":
        shown["user_id"] = run.get("user_id", "")
        return shown | ({"metadata": run.get("metadata")} if newer else {})
    return shown | ({"user_id": run.get("user_id")} if newer else {})


def _as_workflow_run(run: JsonObject, *, newer: bool) -> JsonObject:
    shown: JsonObject = {key: run.get(key, "") for key in ("workflow_id", "user_id", "content_type", "status")}
    shown |= {key: run.get(key, []) for key in ("events", "step_results", "step_executor_runs")}
    shown["run_input"] = _input_of(run) if run.get("input") is None else _as_text(run["input"])
    if newer:
        paused = ("step_requirements", "pause_kind", "paused_step_name", "paused_step_index")
        shown |= {key: run.get(key) for key in paused}
    return shown


def _input_of(run: JsonObject) -> str:
    asked: Json = run.get("input")
    if is_object(asked) and asked.get("input_content") is not None:
        return _as_text(asked["input_content"])
    users = [message for message in run.get("messages") or () if message["role"] == "user"]
    return users[-1].get("content", "") if users else ""


def preview(run: JsonObject) -> JsonObject:
    """Return the preview of a run that `runs_of` returned."""
    ids = ("run_id", "parent_run_id", "agent_id", "team_id", "workflow_id", "user_id", "status", "created_at")
    shown: JsonObject = {key: run.get(key) for key in ids}
    return without_nulls(
        shown | {"run_input": _preview(run.get("run_input")), "content_preview": _preview(run.get("content"))}
    )


def _preview(value: Json) -> str | None:
    if value is None:
        return None
    return (value if isinstance(value, str) else json.dumps(value))[:_PREVIEW_CHARACTERS]
