"""A fake AgentOS in this process, and faults of its responses."""

import asyncio
import json
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from types import TracebackType
from typing import Literal, Self

from pydantic_core import to_json

from mcp_sessions.json_documents import Json, JsonObject

from ..http import Request, Response, Server
from . import runs, seeds
from .api import Api
from .parameters import Refused, depth
from .store import Database
from .system import ONE_TABLE, System, Version

_OPEN = ("/", "/health", "/info", "/docs", "/openapi.json")
_DEEPEST = 255
"""How many levels of nesting pydantic can encode."""


@dataclass(eq=False)
class Fault:
    """What befalls the next request with this method to a path with this end, before or `after` it takes effect.

    drop: the connection closes without an answer. cut: it closes in the middle of one. answer: this status and detail
    instead. hold: it waits until `released` is set; who waits for `entered` knows that it has come.
    """

    kind: Literal["drop", "cut", "answer", "hold"]
    after: bool = False
    method: str = ""
    path: str = ""
    status: int = 503
    detail: str = "Service Unavailable"
    headers: Mapping[str, str] = field(default_factory=dict[str, str])
    entered: asyncio.Event = field(default_factory=asyncio.Event)
    released: asyncio.Event = field(default_factory=asyncio.Event)

    def befalls(self, request: Request) -> bool:
        return request.method == (self.method or request.method) and request.path.endswith(self.path)


class FakeAgentOs:
    """Enter it with `async with`. It starts without sessions, and runs planner (an agent), crew and pipeline.

    With `shuffles_ties`, the order of sessions of one second depends on page and page size, as on PostgreSQL.

    `requests` are all that came; `most_at_once`, how many of them were unanswered at the same time.
    """

    def __init__(
        self,
        version: Version = "3.1.10",
        *,
        databases: Mapping[str, Sequence[str]] = ONE_TABLE,
        security_key: str = "",
        shuffles_ties: bool = False,
        database: Database = "sqlite",
    ) -> None:
        self.now = time.time
        """The clock in seconds, which a test may set."""
        self.requests: list[Request] = []
        self.faults: list[Fault] = []
        """The faults to come: each affects one request."""
        self.most_at_once = 0
        self.url = ""
        self._unanswered = 0
        self._system = System(
            version, databases, security_key, lambda: self.now(), shuffles_ties=shuffles_ties, database=database
        )
        self._api = Api(self._system)
        self._server = Server(self._respond)

    async def __aenter__(self) -> Self:
        self.url = f"http://127.0.0.1:{await self._server.start()}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop()
        self._system.close()

    def seed(self, *described: Mapping[str, object]) -> list[str]:
        """Add sessions, described as for the control route of tests/support/servers/agentos, and return their ids."""
        return [
            seeds.store(self._table(given), given, int(self.now()), newer=self._system.newer) for given in described
        ]

    def _table(self, given: Mapping[str, object]) -> seeds.Table:
        return self._system.tables[-1 if given.get("other_table") else 0]

    def stored(self, session_id: str) -> JsonObject | None:
        """Return the row of a session and its runs from the first table."""
        return self._system.tables[0].find(session_id)

    def begin_run(self, session_id: str, *, type: str = "agent", user_id: str | None = None) -> runs.RunInFlight:
        """Begin a run that loads the session, or creates one with this `type` and `user_id`."""
        table = self._system.tables[0]
        return runs.begin(table, session_id, type=type, user_id=user_id, now=int(self.now()))

    def end_run(
        self, run: runs.RunInFlight, asked: str, answered: str, state_changes: Mapping[str, object] | None = None
    ) -> str:
        """End the run: save the session as it was loaded, over all later writes, and return the run's id."""
        changes: JsonObject = dict(state_changes or {})
        return runs.end(run, asked, answered, changes, now=int(self.now()), newer=self._system.newer)

    def fail_next(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    async def _respond(self, request: Request) -> Response:
        self.requests.append(request)
        self._unanswered += 1
        self.most_at_once = max(self.most_at_once, self._unanswered)
        try:
            fault = next((fault for fault in self.faults if fault.befalls(request)), None)
            if fault is None:
                return self._answer(request)
            self.faults.remove(fault)
            return await self._faulty(request, fault)
        finally:
            self._unanswered -= 1

    async def _faulty(self, request: Request, fault: Fault) -> Response:
        response = self._answer(request) if fault.after or fault.kind == "cut" else Response(200)
        fault.entered.set()
        match fault.kind:
            case "drop":
                return Response(200, sent="none")
            case "cut":
                return Response(response.status, response.body, sent="half")
            case "answer":
                return Response(fault.status, self._encoded({"detail": fault.detail}), fault.headers)
            case "hold":
                await fault.released.wait()
                return response if fault.after else self._answer(request)

    def _answer(self, request: Request) -> Response:
        try:
            self._authorize(request)
            answer = self._api.answer(request)
            return Response(answer.status, b"" if answer.body is None else self._encoded(answer.body))
        except Refused as refused:
            return Response(refused.status, self._encoded({"detail": refused.detail}))
        except Exception as error:  # whatever it is: AgentOS answers so, and closes the connection (D10)
            told = f"Internal server error ({type(error).__name__})" if self._system.newer else str(error)
            return Response(500, self._encoded({"detail": told}), closes=True)

    def _authorize(self, request: Request) -> None:
        key = self._system.security_key
        if not key or request.path in _OPEN:
            return
        given = request.headers.get("authorization", "")
        scheme, _, credential = given.partition(" ")
        if scheme.lower() != "bearer" or not credential:
            credential = given if self._system.newer else ""
        if not credential:
            raise Refused(401, "Authorization header required")
        if credential != key:
            raise Refused(401, "Invalid authentication token")

    def _encoded(self, body: Json) -> bytes:
        """Encode JSON as this version of AgentOS does, which fails on unpaired surrogates and on deep nesting."""
        if self._system.newer:
            return to_json(body, inf_nan_mode="null")
        if depth(body) > _DEEPEST:
            raise ValueError("Circular reference detected (depth exceeded)")
        plain = json.loads(json.dumps(body), parse_constant=lambda _: None)
        return json.dumps(plain, ensure_ascii=False, separators=(",", ":")).encode()
