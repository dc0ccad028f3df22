"""Real AgentOS servers in processes of their own, on the Pythons that MCP_SESSIONS_AGENTOS leads to."""

import atexit
import json
import os
import subprocess
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from shutil import rmtree
from tempfile import mkdtemp
from threading import Timer
from typing import Literal

import httpx2
import pytest

from mcp_sessions.models import Json, JsonObject

from . import postgres_process

VARIABLE = "MCP_SESSIONS_AGENTOS"
"""A folder with the virtual environments `agentos-3.1.10` and `agentos-2.5.6`, as `.ci/agentos` makes them.

It also has `agentos-newest` where a newer version of agno has been published.
"""

Version = Literal["3.1.10", "2.5.6"]
Installed = Version | Literal["newest"]
VERSIONS: tuple[Version, ...] = ("3.1.10", "2.5.6")
Database = Literal["sqlite", "postgresql"]
SECURITY_KEY = "the-security-key"
"""The key of each server that has one: another key needs another process that imports agno, which takes seconds."""

_PROGRAM = Path(__file__).parent / "agentos" / "serve.py"
_START_SECONDS = 120


def are_installed() -> bool:
    return bool(os.environ.get(VARIABLE))


def is_there_a_newer() -> bool:
    return are_installed() and _environment("newest").exists()


def _environment(version: Installed) -> Path:
    return Path(os.environ[VARIABLE]).expanduser() / f"agentos-{version}"


@dataclass(frozen=True, slots=True)
class AgentOs:
    """A server that accepts connections; its control routes bypass every authentication."""

    version: Installed
    port: int

    @property
    def origin(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def backend_url(self) -> str:
        return f"agentos+{self.origin}"

    def client(self, token: str = "") -> httpx2.AsyncClient:
        """Return a plain client of the REST API."""
        headers = {"Authorization": f"Bearer {token}"} if token else {}
        return httpx2.AsyncClient(base_url=self.origin, headers=headers, trust_env=False, verify=False, timeout=30)

    async def control(self, path: str, body: Json = None) -> Json:
        async with self.client() as client:
            answer = await client.post(f"/_test/{path}", json=body)
            answer.raise_for_status()
            return answer.json()

    async def clear(self) -> None:
        await self.control("clear")

    async def seed(self, *sessions: JsonObject) -> list[str]:
        """Write sessions through agno's own database class: their ids. `serve.py` tells what one may have."""
        return await self.control("seed", list(sessions))

    async def overwrite(self, session_id: str, **columns: Json) -> None:
        """Set columns of a session's row, which agno doesn't notice; None is SQL's NULL."""
        await self.control(f"overwrite/{session_id}", columns)

    async def rows(self) -> dict[str, dict[str, JsonObject]]:
        """Return every stored row of a session or run: {table: {id: {column: value}}}."""
        return await self.control("rows")

    async def run(self, kind: str, component_id: str, session_id: str, message: str, user_id: str = "") -> JsonObject:
        """Run an agent, team or workflow with the offline model. "slow NAME" waits for `release`."""
        form = {"message": message, "stream": "false", "session_id": session_id}
        async with self.client() as client:
            answer = await client.post(
                f"/{kind}s/{component_id}/runs", data=form | ({"user_id": user_id} if user_id else {})
            )
            answer.raise_for_status()
            return answer.json()

    async def entered(self, gate: str) -> None:
        """Wait until a run waits at the gate."""
        await self.control(f"gates/{gate}/entered")

    async def release(self, gate: str) -> None:
        await self.control(f"gates/{gate}/release")


@cache
def running(version: Installed, *options: str, security_key: str = "", database: Database = "sqlite") -> AgentOs:
    """Return the server of this version, with these options of `serve.py`; start it when first asked for.

    Every server has a database of its own. A server that doesn't start ends the test run.
    """
    starter = _starter(version, security_key)
    folder = Path(mkdtemp(dir=starter.folder))
    return AgentOs(version, starter.start("--db", _new_database(database, folder), *options))


class _Starter:
    """A process that has imported agno and starts servers as its forks. They end with it."""

    def __init__(self, version: Installed, security_key: str) -> None:
        self.folder = Path(mkdtemp(prefix="agentos-"))
        self._name = f"AgentOS {version}"
        environment = {**os.environ, "OS_SECURITY_KEY": security_key, "PYTHONWARNINGS": "ignore"}
        with self._errors.open("wb") as errors:
            try:
                self._process = subprocess.Popen(
                    [str(_environment(version) / "bin" / "python"), str(_PROGRAM)],
                    stdin=subprocess.PIPE,
                    stdout=subprocess.PIPE,
                    stderr=errors,
                    env=environment,
                    cwd=self.folder,
                )
            except OSError as error:
                pytest.exit(f"{self._name} can't be started: {error}", returncode=1)

    @property
    def _errors(self) -> Path:
        return self.folder / "stderr"

    def start(self, *arguments: str) -> int:
        """Return the port of a new server with these arguments."""
        stdin, stdout = self._process.stdin, self._process.stdout
        assert stdin is not None
        assert stdout is not None
        overdue = Timer(_START_SECONDS, self._process.kill)
        overdue.start()
        stdin.write(json.dumps(arguments).encode() + b"\n")
        stdin.flush()
        line = stdout.readline()
        overdue.cancel()
        if not line.strip():
            pytest.exit(f"{self._name} did not start:\n{self._errors.read_text()}", returncode=1)
        return int(line)

    def end(self) -> None:
        """End the process by ending its stdin, and remove its files."""
        self._process.communicate()
        rmtree(self.folder, ignore_errors=True)  # a server may still be ending


@cache
def _starter(version: Installed, security_key: str) -> _Starter:
    starter = _Starter(version, security_key)
    atexit.register(starter.end)
    return starter


def _new_database(database: Database, folder: Path) -> str:
    """Return the URL of an empty one."""
    if database == "sqlite":
        return f"sqlite:///{folder / 'agentos.db'}"
    server = postgres_process.running()
    return server.url(server.database())
