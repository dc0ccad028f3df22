"""A real AgentOS with an offline model, and control routes under /_test that fill, empty and show its database.

Runs on a Python that has agno and nothing of this project: agno 2.5.6 and 3.1.10. Importing agno takes seconds, so one
process starts any number of servers, each in a fork. The security key is the environment variable OS_SECURITY_KEY, for
all servers of a process: agno 2.5.6 reads it when it is imported.
"""

import argparse
import gc
import inspect
import json
import logging
import os
import signal
import socket
import sys
import threading

import uvicorn
from agno.agent import Agent
from agno.db.postgres import AsyncPostgresDb, PostgresDb
from agno.db.sqlite import AsyncSqliteDb, SqliteDb
from agno.os import AgentOS
from agno.os.config import AuthorizationConfig
from agno.os.settings import AgnoAPISettings
from agno.team import Team
from agno.workflow import Step, Workflow
from agno.workflow.types import StepOutput
from control import make_control
from offline_model import Offline
from sqlalchemy.engine import make_url

DATABASES = {
    "sqlite": (SqliteDb, "sqlite"),
    "sqlite-async": (AsyncSqliteDb, "sqlite+aiosqlite"),
    "postgresql": (PostgresDb, "postgresql+psycopg"),
    "postgresql-async": (AsyncPostgresDb, "postgresql+asyncpg"),
}
"""Agno's class for each kind of database, and SQLAlchemy's name of the driver."""

MCP = ("mcp", "enable_mcp_server")  # from 3.1 on, and before


def get_weather(city: str) -> str:
    """Return the weather in a city."""
    return f"22 degrees in {city}"


def make_os(db, other, options):
    def agent(id, db):
        return Agent(id=id, name=id.title(), model=Offline(), db=db, tools=[get_weather], retries=0, telemetry=False)

    authorization = AuthorizationConfig(verification_keys=[options.jwt], algorithm="HS256") if options.jwt else None
    arguments = {"user_isolation": True} if options.user_isolation else {}
    if options.settings_key:
        arguments["settings"] = AgnoAPISettings(os_security_key=options.settings_key)
    if options.mcp:
        arguments[next(name for name in MCP if name in inspect.signature(AgentOS).parameters)] = True
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


def mounted(agent_os, tests):
    """Return one app with the control routes beside AgentOS, so that none of its middleware sees them."""

    async def app(scope, receive, send):
        chosen = tests if scope.get("path", "").startswith("/_test/") else agent_os
        await chosen(scope, receive, send)

    return app


class Server(uvicorn.Server):
    """Writes its port to `announced` once it accepts connections."""

    announced = 1

    async def startup(self, sockets=None):
        await super().startup(sockets=sockets)
        os.write(self.announced, f"{sockets[0].getsockname()[1]}\n".encode())


def parse(arguments):
    parser = argparse.ArgumentParser()
    parser.add_argument("--db", type=make_url, required=True, help="sqlite:///FILE or postgresql://…")
    parser.add_argument("--port", type=int, default=0)
    parser.add_argument("--async-db", action="store_true")
    parser.add_argument("--other-table", action="store_true", help="a second agent, with a session table of its own")
    parser.add_argument("--jwt", help="the HS256 key")
    parser.add_argument("--settings-key", help="a security key, given as most people give it")
    parser.add_argument("--user-isolation", action="store_true")
    parser.add_argument("--mcp", action="store_true", help="serve AgentOS's own MCP server too, at /mcp")
    return parser.parse_args(arguments)


def serve(options):
    kind = options.db.get_backend_name()
    _, plain_driver = DATABASES[kind]
    database, driver = DATABASES[f"{kind}-async" if options.async_db else kind]
    url = options.db.set(drivername=driver).render_as_string(hide_password=False)
    db = database(db_url=url, id="main")
    other = database(db_url=url, id="main", session_table="other_sessions") if options.other_table else None
    agent_os = make_os(db, other, options)
    # asyncio turns off Nagle's algorithm only where the protocol is named: each answer would take 40 ms.
    listening = socket.socket(socket.AF_INET, socket.SOCK_STREAM, socket.IPPROTO_TCP)
    listening.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    listening.bind(("127.0.0.1", options.port))
    app = mounted(agent_os.get_app(), make_control(db, other, options.db.set(drivername=plain_driver)))
    server = Server(uvicorn.Config(app, access_log=False, log_level="warning"))
    server.run(sockets=[listening])


def main():
    """Start a server for each line on stdin, a JSON array of arguments. All end when stdin does.

    stdout gets a line for each: its port, or nothing if it did not start.
    """
    Server.announced = os.dup(1)
    os.dup2(2, 1)  # agno logs to stdout
    alive, held_open = os.pipe()  # ends with this process
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for name in ("agno", "agno-team", "agno-workflow"):  # agno's handler takes 3 ms to print that a session is absent
        logging.getLogger(name).handlers = [logging.StreamHandler()]
    gc.freeze()
    for line in iter(sys.stdin.buffer.readline, b""):
        if os.fork():
            continue
        os.close(held_open)
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        threading.Thread(target=lambda: (os.read(alive, 1), os._exit(0)), daemon=True).start()
        try:
            serve(parse(json.loads(line)))
        finally:
            os.write(Server.announced, b"\n")
            os._exit(1)


if __name__ == "__main__":
    main()
