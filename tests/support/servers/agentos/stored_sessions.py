"""Sessions and runs as agno stores them, made of what a test describes."""

import asyncio
import json
import time
from uuid import uuid4

from agno.media import Audio, File, Image, Video
from agno.models.message import Message
from agno.models.response import ToolExecution
from agno.run.agent import RunInput, RunOutput
from agno.run.base import RunStatus
from agno.run.team import TeamRunInput, TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession
from agno.session.summary import SessionSummary
from agno.workflow.types import StepOutput

MEDIA = {
    "image": ("images", Image),
    "audio": ("audio", Audio),
    "video": ("videos", Video),
    "file": ("files", File),
}


def make_message(given, moment):
    media = {}
    for attachment in given.get("attachments", ()):
        field, kind = MEDIA[attachment["type"]]
        source = {"url": attachment["url"]} if attachment.get("url") else {"content": b"x" * (attachment["bytes"] or 1)}
        made = kind(**source, **({"mime_type": attachment["media_type"]} if attachment.get("media_type") else {}))
        media.setdefault(field, []).append(made)
    calls = [
        {"id": call["id"], "type": "function", "function": {"name": call["name"], "arguments": call["arguments"]}}
        for call in given.get("tool_calls", ())
    ]
    return Message(
        id=given.get("id") or str(uuid4()),
        role=given["role"],
        content=given.get("text") or None,
        tool_calls=calls or None,
        tool_name=given.get("tool_name") or None,
        tool_call_id=given.get("tool_call_id") or None,
        created_at=given.get("created_at") or moment,
        **media,
    )


def make_tools(messages):
    """Return the tool calls of a run, which agno also stores beside its messages."""
    results = {message["tool_name"]: message.get("text") for message in messages if message.get("tool_name")}
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    return [
        ToolExecution(
            tool_call_id=call["id"],
            tool_name=call["name"],
            tool_args=json.loads(call["arguments"] or "{}"),
            result=results.get(call["name"]),
        )
        for call in calls
    ] or None


def make_run(session, messages, moment):
    """Return a run of these messages, as agno stores it."""
    first = next((m.get("text", "") for m in messages if m["role"] == "user"), "")
    last = next((m.get("text", "") for m in reversed(messages) if m["role"] == "assistant" and m.get("text")), None)
    tools = make_tools(messages)
    said = [make_message(message, moment) for message in messages]
    common = {
        "run_id": str(uuid4()),
        "session_id": session["session_id"],
        "user_id": session["user_id"],
        "content": last,
        "created_at": moment,
        "status": RunStatus.completed,
    }
    component = session["component_id"]
    if session["type"] == "team":
        return TeamRunOutput(
            team_id=component, messages=said, tools=tools, input=TeamRunInput(input_content=first), **common
        )
    if session["type"] == "workflow":
        step = RunOutput(
            **{**common, "run_id": str(uuid4())},
            agent_id="helper",
            agent_name="Helper",
            parent_run_id=common["run_id"],
            workflow_step_id="first",
            messages=said,
            tools=tools,
            input=RunInput(input_content=first),
        )
        result = StepOutput(step_name="first", executor_name="Helper", content=last, step_run_id=step.run_id)
        return WorkflowRunOutput(
            workflow_id=component, input=first, step_results=[result], step_executor_runs=[step], **common
        )
    return RunOutput(agent_id=component, messages=said, tools=tools, input=RunInput(input_content=first), **common)


def make_session(given, moment):
    data = {"session_name": given["name"]} if given.get("name") else {}
    if given.get("state"):
        data["session_state"] = given["state"]
    arguments = {
        "session_id": given["session_id"],
        "user_id": given["user_id"],
        "session_data": given.get("data", data),
        "metadata": given.get("metadata") or None,
        "created_at": moment,
        "updated_at": moment,
        "runs": [make_run(given, messages, moment) for messages in given.get("runs", ())],
    }
    if given["type"] == "workflow":
        return WorkflowSession(workflow_id=given["component_id"], **arguments)
    summary = SessionSummary(summary=given["summary"]) if given.get("summary") else None
    if given["type"] == "team":
        return TeamSession(team_id=given["component_id"], summary=summary, **arguments)
    return AgentSession(agent_id=given["component_id"], summary=summary, **arguments)


async def settled(answer):
    return await answer if asyncio.iscoroutine(answer) else answer


async def seed(db, given):
    given = {"type": "agent", **given}
    given["session_id"] = given.get("session_id") or str(uuid4())
    given["user_id"] = given.get("user_id") or None
    given["component_id"] = given.get("component_id") or None
    moment = given.get("created_at") or int(time.time())
    session = make_session(given, moment)
    await settled(db.upsert_session(session))
    if hasattr(db, "upsert_run"):
        for index, run in enumerate(session.runs):
            await settled(db.upsert_run(run, session.session_id, user_id=session.user_id, run_index=index))
    return session.session_id
