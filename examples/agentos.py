"""An agent on Agno's AgentOS that gives its own session a name, in the middle of a run.

Install Agno with `pip install "agno[os,mcp]" aiosqlite`. mcp-sessions may be in the same environment or in another one:
MCP_SESSIONS_COMMAND is the command that starts it; by default, it is looked for on the PATH and in this environment.
No API key is needed, since a few lines of code stand in for the model. Run it with `python examples/agentos.py`.
"""

import json
import os
import shlex
import shutil
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import httpx
import uvicorn
from agno.agent import Agent
from agno.db.sqlite import AsyncSqliteDb
from agno.models.base import Model
from agno.models.response import ModelResponse
from agno.os import AgentOS
from agno.run import RunContext
from agno.tools.mcp import MCPTools

QUESTION = "Four days in Lisbon in May: what should we not miss?"
NAME = "Plan the Lisbon trip"
PATIENCE = 30


@dataclass
class Offline(Model):
    """Stands in for a model that was told to name its sessions: it names the session, then answers."""

    id: str = "offline"

    async def ainvoke(self, messages, **_):
        if messages[-1].role == "tool":
            print(f"  the tool said: {messages[-1].content}")
            return ModelResponse(role="assistant", content="Alfama on foot, and a day in Sintra by train.")
        arguments = json.dumps({"session_id": "current", "name": NAME})
        print(f"  the model calls rename_session({arguments})")
        call = {"id": "call_1", "type": "function", "function": {"name": "rename_session", "arguments": arguments}}
        return ModelResponse(role="assistant", tool_calls=[call])

    async def ainvoke_stream(self, messages, **arguments):
        yield await self.ainvoke(messages, **arguments)

    def invoke(self, *_, **__):
        raise NotImplementedError  # AgentOS runs its agents asynchronously

    invoke_stream = invoke

    def _parse_provider_response(self, response, **_):
        return response

    def _parse_provider_response_delta(self, response):
        return response


def session_header(run_context: RunContext | None = None) -> dict[str, str]:
    """Return the header that says which session is "current", for every call of a run."""
    return {"X-Session-Id": run_context.session_id} if run_context else {}


@contextmanager
def serving_agents(agent: Agent) -> Iterator[str]:
    """Serve AgentOS on a free port of this machine, and yield its address."""
    listener = socket.create_server(("127.0.0.1", 0))
    app = AgentOS(agents=[agent], telemetry=False).get_app()
    server = uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False))
    thread = threading.Thread(target=server.run, kwargs={"sockets": [listener]})
    thread.start()
    try:
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    finally:
        server.should_exit = True
        thread.join()


@contextmanager
def serving_sessions(backend: str, folder: str) -> Iterator[str]:
    """Serve the sessions of that AgentOS with mcp-sessions on a free port, and yield the URL."""
    found = shutil.which("mcp-sessions")
    command = shlex.split(os.environ.get("MCP_SESSIONS_COMMAND", "")) or (
        [found] if found else [sys.executable, "-m", "mcp_sessions"]
    )
    arguments = ["serve", "--transport", "http", "--port", "0", "--backend", backend]
    environment = {**os.environ, "XDG_DATA_HOME": folder}
    with subprocess.Popen([*command, *arguments], env=environment, stderr=subprocess.PIPE, text=True) as process:
        try:
            while "serving at " not in (line := process.stderr.readline()):
                if not line:
                    sys.exit("mcp-sessions did not start; it said why above.")
                sys.stderr.write(line)
            threading.Thread(target=shutil.copyfileobj, args=(process.stderr, sys.stderr), daemon=True).start()
            yield line.split()[-1]
        finally:
            process.terminate()


def name_of(http: httpx.Client, session_id: str) -> str:
    return http.get(f"/sessions/{session_id}").raise_for_status().json()["session_name"]


def main(folder: str) -> None:
    database = AsyncSqliteDb(db_file=str(Path(folder) / "agentos.db"))
    agent = Agent(id="planner", model=Offline(), db=database, tools=[], telemetry=False)
    with serving_agents(agent) as address, httpx.Client(base_url=address, timeout=PATIENCE, trust_env=False) as http:
        http.get("/health").raise_for_status()
        print(f"AgentOS serves the agent at {address}")
        with serving_sessions(f"agentos+{address}", folder) as url:
            print(f"mcp-sessions serves its sessions at {url}")
            # Each server needs the other's address, so the tool is added last. With fixed ports, pass it to Agent(...).
            agent.tools.append(MCPTools(transport="streamable-http", url=url, header_provider=session_header))

            # AgentOS stores the session of a new run only when the run has ended, so create the session first.
            new = {"agent_id": agent.id, "session_name": "Untitled"}
            session_id = http.post("/sessions", json=new).raise_for_status().json()["session_id"]
            print(f"The user asks: {QUESTION}")
            form = {"message": QUESTION, "session_id": session_id, "stream": "false"}
            run = http.post(f"/agents/{agent.id}/runs", data=form).raise_for_status().json()
            print(f"The agent answers: {run['content']}")

            # When the run ends, AgentOS saves the run's copy of the session, which still has the old name. mcp-sessions
            # notices that, and writes the new name again within a few seconds.
            print(f"After the run, the session is called: {name_of(http, session_id)}")
            until = time.monotonic() + PATIENCE
            while name_of(http, session_id) != NAME:
                if time.monotonic() > until:
                    sys.exit(f"After {PATIENCE} s, the session still has that name.")
                time.sleep(0.2)
            print(f"And a little later: {NAME}")


if __name__ == "__main__":
    with TemporaryDirectory() as folder:
        main(folder)
