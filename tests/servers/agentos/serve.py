"""A real AgentOS with an offline model, and control routes under /_test that fill, empty and show its database.

Runs on a Python that has agno and nothing of this project: agno 2.5.6 and 3.1.10.
The security key is given as the environment variable OS_SECURITY_KEY (2.5.6 takes it from nowhere else).
"""

import argparse
import asyncio
import os
import socket
import sqlite3
import sys
import threading
import time
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

os.environ["AGNO_TELEMETRY"] = "false"
ANNOUNCE = os.dup(1)
os.dup2(2, 1)

import uvicorn
from agno.agent import Agent
from agno.db.sqlite import AsyncSqliteDb, SqliteDb
from agno.media import Audio, File, Image, Video
from agno.metrics import MessageMetrics
from agno.models.base import Model
from agno.models.message import Message
from agno.models.response import ModelResponse
from agno.os import AgentOS
from agno.os.config import AuthorizationConfig
from agno.run.agent import RunInput, RunOutput
from agno.run.base import RunStatus
from agno.run.team import TeamRunInput, TeamRunOutput
from agno.run.workflow import WorkflowRunOutput
from agno.session import AgentSession, TeamSession, WorkflowSession
from agno.session.summary import SessionSummary
from agno.team import Team
from agno.workflow import Step, Workflow
from agno.workflow.types import StepOutput
from fastapi import Body, FastAPI

GATES = {}


@dataclass
class Gate:
    """Where a run with "slow NAME" waits."""

    entered: asyncio.Event
    released: asyncio.Event


def gate(name):
    return GATES.setdefault(name, Gate(asyncio.Event(), asyncio.Event()))


@dataclass
class Offline(Model):
    """Answers by the first word of the last message: weather (calls a tool), delegate, slow NAME, fail; else an echo."""

    id: str = "offline"
    name: str = "Offline"
    provider: str = "Nobody"

    async def ainvoke(self, messages, tools=None, **_):
        last = messages[-1]
        words = last.get_content_string().split()
        command, rest = (words[0], " ".join(words[1:])) if words else ("", "")
        if last.role == "tool":
            return _answer(f"The tool said: {last.get_content_string()}")
        if command == "fail":
            raise RuntimeError("the model failed, as it was asked to")
        if command == "slow":
            gate(words[1]).entered.set()
            await gate(words[1]).released.wait()
        if command == "weather":
            return _call("get_weather", '{"city": "%s"}' % rest)
        if command == "delegate" and "delegate_task_to_member" in str(tools):
            return _call("delegate_task_to_member", '{"member_id": "helper", "task": "%s"}' % rest)
        return _answer(f"You said: {last.get_content_string()}")

    async def ainvoke_stream(self, messages, **arguments):
        yield await self.ainvoke(messages, **arguments)

    def invoke(self, *_, **__):
        raise NotImplementedError

    def invoke_stream(self, *_, **__):
        raise NotImplementedError

    def _parse_provider_response(self, response, **_):
        return response

    def _parse_provider_response_delta(self, response):
        return response


def _answer(text):
    return ModelResponse(role="assistant", content=text, response_usage=_usage())


def _call(name, arguments):
    call = {"id": f"call_{uuid4().hex[:8]}", "type": "function", "function": {"name": name, "arguments": arguments}}
    return ModelResponse(role="assistant", tool_calls=[call], response_usage=_usage())


def _usage():
    return MessageMetrics(input_tokens=10, output_tokens=5, total_tokens=15)


def get_weather(city: str) -> str:
    """The weather in a city."""
    return f"22 degrees in {city}"


def make_os(db, other, options):
    def agent(id, db):
        return Agent(id=id, name=id.title(), model=Offline(), db=db, tools=[get_weather], retries=0, telemetry=False)

    authorization = AuthorizationConfig(verification_keys=[options.jwt], algorithm="HS256") if options.jwt else None
    arguments = {"user_isolation": True} if options.user_isolation else {}
    return AgentOS(
        id="os",
        agents=[agent("planner", db), *([agent("archivist", other)] if other else [])],
        teams=[
            Team(id="crew", name="Crew", model=Offline(), members=[agent("helper", db)], db=db, telemetry=False),
        ],
        workflows=[
            Workflow(
                id="pipeline",
                name="Pipeline",
                db=db,
                telemetry=False,
                steps=[
                    Step(name="first", agent=agent("helper", db)),
                    Step(name="second", executor=lambda step_input: StepOutput(content=f"Done: {step_input.input}")),
                ],
            )
        ],
        authorization=options.jwt is not None,
        authorization_config=authorization,
        telemetry=False,
        **arguments,
    )


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


def make_run(session, messages, moment):
    """A run as agno keeps it of these messages."""
    first = next((m.get("text", "") for m in messages if m["role"] == "user"), "")
    last = next((m.get("text", "") for m in reversed(messages) if m["role"] == "assistant" and m.get("text")), None)
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
        return TeamRunOutput(team_id=component, messages=said, input=TeamRunInput(input_content=first), **common)
    if session["type"] == "workflow":
        step = RunOutput(
            **{**common, "run_id": str(uuid4())},
            agent_id="helper",
            agent_name="Helper",
            parent_run_id=common["run_id"],
            workflow_step_id="first",
            messages=said,
            input=RunInput(input_content=first),
        )
        result = StepOutput(step_name="first", executor_name="Helper", content=last, step_run_id=step.run_id)
        return WorkflowRunOutput(
            workflow_id=component, input=first, step_results=[result], step_executor_runs=[step], **common
        )
    return RunOutput(agent_id=component, messages=said, input=RunInput(input_content=first), **common)


def make_session(given, moment):
    data = {"session_name": given["name"]} if given.get("name") else {}
    if given.get("state"):
        data["session_state"] = given["state"]
    arguments = {
        "session_id": given["session_id"],
        "user_id": given["user_id"],
        "session_data": data,
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


def tables(connection):
    found = connection.execute("SELECT name FROM sqlite_master WHERE type = 'table' AND name NOT LIKE 'sqlite_%'")
    return [name for (name,) in found if "schema_versions" not in name]


def control(db, other, file):
    app = FastAPI()

    def connect():
        return closing(sqlite3.connect(file, isolation_level=None, timeout=10))

    @app.post("/_test/seed")
    async def seed_sessions(sessions: list = Body()):
        return [await seed(other if given.pop("other_table", False) else db, given) for given in sessions]

    @app.post("/_test/updated_at")
    async def set_updated_at(moments: dict = Body()):
        with connect() as connection:
            for session_id, moment in moments.items():
                connection.execute(
                    "UPDATE agno_sessions SET updated_at = ? WHERE session_id = ?", (moment, session_id)
                )

    @app.post("/_test/clear")
    async def clear():
        GATES.clear()
        with connect() as connection:
            connection.execute("BEGIN IMMEDIATE")
            for table in tables(connection):
                connection.execute(f'DELETE FROM "{table}"')
            connection.execute("COMMIT")

    @app.post("/_test/rows")
    async def rows():
        """The rows of every table with sessions or runs, as text: {table: {key: {column: value}}}."""
        shown = {}
        with connect() as connection:
            connection.row_factory = sqlite3.Row
            for table in tables(connection):
                if table.endswith(("sessions", "runs")):
                    found = [dict(row) for row in connection.execute(f'SELECT * FROM "{table}"')]
                    key = "run_id" if found and "run_id" in found[0] else "session_id"
                    shown[table] = {row[key]: row for row in found}
        return shown

    @app.post("/_test/gates/{name}/entered")
    async def entered(name: str):
        """Answers when a run waits there."""
        await gate(name).entered.wait()

    @app.post("/_test/gates/{name}/release")
    async def release(name: str):
        gate(name).released.set()

    return app


def mounted(agent_os, tests):
    """One app; the control routes stand beside AgentOS, so that none of its middleware sees them."""

    async def app(scope, receive, send):
        chosen = tests if scope.get("path", "").startswith("/_test/") else agent_os
        await chosen(scope, receive, send)

    return app


class Server(uvicorn.Server):
    """Says its port once it accepts connections: the only line on stdout, where agno would log otherwise."""

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        os.write(ANNOUNCE, b"%d\n" % sockets[0].getsockname()[1])


def read_options():
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--async-db", action="store_true")
    parser.add_argument("--other-table", action="store_true", help="a second agent, with a session table of its own")
    parser.add_argument("--jwt", help="the HS256 key")
    parser.add_argument("--user-isolation", action="store_true")
    parser.add_argument("--until-eof", action="store_true", help="end when stdin does")
    return parser.parse_args()


def main():
    options = read_options()
    kind = AsyncSqliteDb if options.async_db else SqliteDb
    db = kind(db_file=str(options.db), id="main")
    other = kind(db_file=str(options.db), id="main", session_table="other_sessions") if options.other_table else None
    agent_os = make_os(db, other, options)
    listening = socket.create_server(("127.0.0.1", options.port))
    app = mounted(agent_os.get_app(), control(db, other, options.db))
    server = Server(uvicorn.Config(app, access_log=False, log_level="warning"))
    if options.until_eof:
        threading.Thread(target=lambda: (sys.stdin.read(), os._exit(0)), daemon=True).start()
    server.run(sockets=[listening])


if __name__ == "__main__":
    main()
