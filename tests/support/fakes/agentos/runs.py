"""Runs of an agent, team or workflow, which save at their end the session that they loaded at their start."""

from dataclasses import dataclass

from mcp_sessions.json_documents import JsonObject

from .rendering import without_nulls
from .seeds import message_of, run_of
from .store import Session, Table, blank, session_data

_USED = {"input_tokens": 10, "output_tokens": 5, "total_tokens": 15}
_COMPONENTS = {"agent": ("planner", "Planner"), "team": ("crew", "Crew"), "workflow": ("pipeline", "Pipeline")}


@dataclass(frozen=True)
class RunInFlight:
    """The session that a run has loaded. Nothing of the run is visible before it ends."""

    table: Table
    session: Session


def begin(table: Table, session_id: str, *, type: str, user_id: str | None, now: int) -> RunInFlight:
    """Begin a run. `type` and `user_id` are for a session that doesn't exist yet."""
    loaded = table.load(session_id)
    if loaded is None:
        component_id, name = _COMPONENTS[type]
        own = {f"{type}_id": component_id, f"{type}_data": {"name": name, f"{type}_id": component_id}}
        row = blank(session_id) | own | {"user_id": user_id, "created_at": now}
        loaded = table.read_as(type, row)
    return RunInFlight(table, loaded)


def end(run: RunInFlight, asked: str, answered: str, changes: JsonObject, *, now: int, newer: bool) -> str:
    """Save the loaded session, with the run's own changes of its state, and return the id of the new run."""
    session, row = run.session, run.session.row
    data = session_data(row)
    data["session_state"] = {**(data.get("session_state") or {}), **changes}
    used: JsonObject = data.get("session_metrics") or {}
    data["session_metrics"] = {**used, **{key: used.get(key, 0) + count for key, count in _USED.items()}}
    said: list[JsonObject] = [{"role": "user", "text": asked}, {"role": "assistant", "text": answered}]
    if session.type == "team":
        said.insert(0, {"role": "system", "text": "You coordinate a team."})
    messages = [message_of(message, now, newer=newer) for message in said]
    messages[-1]["metrics"] = _USED
    made: JsonObject = run_of(session.type, row, messages, now, newer=newer)
    if session.type == "agent":
        made["session_state"] = data["session_state"]
    if newer and row["metadata"]:
        made["metadata"] = row["metadata"]
    made["metrics"] = {"steps": {"first": {"metrics": _USED}}} if session.type == "workflow" else _USED
    session.runs.append(without_nulls(made))
    run.table.save(session)
    run.table.add_runs(row["session_id"], row["user_id"], [session.runs[-1]])
    return made["run_id"]
