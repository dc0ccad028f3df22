"""What the tests on real AgentOS servers share: a server, its REST API unguarded, and our backend on it."""

import base64
import hashlib
import hmac
import json
from collections.abc import AsyncGenerator, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass
from tempfile import TemporaryDirectory

import httpx2
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import Json, JsonObject, is_array, is_object

from .servers import postgres_process
from .servers.agentos_process import AgentOs, Database, Version, running

JWT_KEY = "a key that is long enough for HS256 to be taken"
POISON = ('{"session_name": "\\ud800"}', '{"session_state": {"a": "\\ud800"}}')
"""What no answer of AgentOS can be encoded with, once it is stored."""
ASYNC = ("--async-db",)
_ON_SQLITE: dict[str, tuple[Version, Database, tuple[str, ...]]] = {
    "3.1.10-sqlite": ("3.1.10", "sqlite", ()),
    "2.5.6-sqlite-async": ("2.5.6", "sqlite", ASYNC),
}
_ON_POSTGRES: dict[str, tuple[Version, Database, tuple[str, ...]]] = {
    "3.1.10-postgresql-async": ("3.1.10", "postgresql", ASYNC),
    "2.5.6-postgresql": ("2.5.6", "postgresql", ()),
}
SERVERS = _ON_SQLITE | (_ON_POSTGRES if postgres_process.is_installed() else {})
"""Each version with each database and with each kind of driver, and each database with each kind of driver."""
on_each_server = pytest.mark.parametrize(("version", "database", "options"), SERVERS.values(), ids=SERVERS)
_ONE_PER_VERSION = ("3.1.10-sqlite", "2.5.6-postgresql" if postgres_process.is_installed() else "2.5.6-sqlite-async")
on_each_version = pytest.mark.parametrize(
    ("version", "database", "options"), [SERVERS[name] for name in _ONE_PER_VERSION], ids=_ONE_PER_VERSION
)
"""Each version and each database once, for a test whose writes are those of a test on each server."""
COMPONENTS = {"agent": "planner", "team": "crew", "workflow": "pipeline"}


@dataclass(frozen=True, slots=True)
class Case:
    server: AgentOs
    api: httpx2.AsyncClient
    """The REST API, as any client of AgentOS has it."""
    backend: SessionBackend

    async def seen(self, session_id: str, type: str = "agent") -> JsonObject:
        """Return the session as the REST API shows it."""
        answer = await self.api.get(f"/sessions/{session_id}", params={"type": type})
        assert answer.status_code == 200, answer.text
        return answer.json()

    async def stored_runs(self) -> dict[str, Json]:
        """Return the runs of each session, as they are stored."""
        rows = await self.server.rows()
        if "agno_runs" not in rows:
            return {key: _parsed(row["runs"]) for key, row in rows["agno_sessions"].items()}
        return {
            key: [row for row in rows["agno_runs"].values() if row["session_id"] == key]
            for key in rows["agno_sessions"]
        }

    async def status(self, method: str, path: str, body: str = "") -> int:
        """Return the status of a request over a connection of its own, since AgentOS closes it after an error."""
        async with self.server.client() as api:
            headers = {"Content-Type": "application/json"} if body else {}
            return (await api.request(method, path, content=body, headers=headers)).status_code


@asynccontextmanager
async def opened(
    version: Version,
    *options: str,
    token: str = "",
    security_key: str = "",
    database: Database = "sqlite",
    query: str = "",
    seeds: Sequence[JsonObject] = (),
) -> AsyncGenerator[Case]:
    """Yield an emptied server with these sessions, and a backend on it. `token` is what both of its clients send."""
    server = running(version, *options, security_key=security_key, database=database)
    await server.clear()
    await server.seed(*seeds)
    url = server.backend_url + (f"?{query}" if query else "")
    with TemporaryDirectory() as folder:
        async with server.client(token) as api, open_backend(url, token=token, data_folder=folder) as backend:
            yield Case(server, api, backend)


def _parsed(text: str | None) -> Json:
    """Parse JSON, twice for 2.5.6, which encodes runs twice."""
    value = json.loads(text or "null")
    return json.loads(value) if isinstance(value, str) else value


def contents(value: Json) -> Json:
    """Return a value without the empty fields that 2.5.6 drops and adds when it first writes a row."""
    if is_object(value):
        kept = {key: contents(item) for key, item in value.items()}
        return {key: item for key, item in kept.items() if item not in (None, "", [], {})}
    return [contents(item) for item in value] if is_array(value) else value


def session(id: str, type: str = "agent", **given: Json) -> JsonObject:
    """Return a session with one run, as the server's control route takes it."""
    said = [{"role": "user", "text": f"What of {id}?"}, {"role": "assistant", "text": "All is well."}]
    return {"session_id": id, "type": type, "component_id": COMPONENTS[type], "runs": [said], **given}


def signed(claims: Mapping[str, Json]) -> str:
    """Return a JWT (HS256, RFC 7519) with these claims."""
    parts = [_encoded(json.dumps(part).encode()) for part in ({"alg": "HS256", "typ": "JWT"}, claims)]
    signature = hmac.new(JWT_KEY.encode(), ".".join(parts).encode(), hashlib.sha256).digest()
    return ".".join([*parts, _encoded(signature)])


def _encoded(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
