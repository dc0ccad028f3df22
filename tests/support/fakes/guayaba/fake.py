"""A fake Guayaba in this process: its agents and keys, the requests it received, and faults of its responses."""

import asyncio
import time
from collections.abc import Mapping, Sequence
from datetime import datetime
from random import Random
from types import TracebackType
from typing import Self

from mcp_sessions.json_documents import JsonObject

from ..http import Request, Response, Server
from .access import OWNER, Access, Key
from .api import Api, is_change
from .faults import Fault
from .readings import READINGS, Reading
from .store import Agent, Applied, Archive, Session, Store

_MANAGE = ("agent:read", "agent:manage")


class FakeGuayaba:
    """Enter it with `async with`. It starts with `agents` agents that run, without sessions, and one of another owner.

    `reading` is a set of `READINGS`, or one of a test's own. `requests` are all that came, `statuses` what those were
    answered (0: not at all); `most_at_once` is how many were unanswered at the same time.
    """

    def __init__(self, reading: Reading | str = "default", *, agents: int = 3, seed: int = 0) -> None:
        self.reading = READINGS[reading] if isinstance(reading, str) else reading
        self.now = time.time
        """The clock in seconds, which a test may set."""
        self.requests: list[Request] = []
        self.statuses: list[int] = []
        self.faults: list[Fault] = []
        """The faults to come."""
        self.most_at_once = 0
        self.origin = ""
        self._unanswered = 0
        self._idle = asyncio.Event()
        self._idle.set()
        self._late: list[tuple[int, Request]] = []
        self._random = Random(seed)
        self._store = Store(self.reading, self._random, lambda: self.now())
        self.access = Access(self.reading, [])
        """The keys, and whether the subscription has lapsed: tests may change both."""
        self.agents = [self.add_agent(f"Agent {number}") for number in range(1, agents + 1)]
        """The agents of the keys' owner that existed from the beginning."""
        self.foreign_agent = self.add_agent("Of another owner", owner="another")
        self.master_key = self._new_key("g_master_")
        self._api = Api(self.reading, self.access, self._store, self._random)
        self._server = Server(self._respond)

    async def __aenter__(self) -> Self:
        self.origin = f"http://127.0.0.1:{await self._server.start()}"
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        await self._server.stop()
        assert not self._api.problems, self._api.problems

    @property
    def url(self) -> str:
        """The URL of the API."""
        return f"{self.origin}/api/v1"

    def add_agent(self, name: str, *, status: str = "running", owner: str = OWNER) -> Agent:
        agent = Agent(self._store.new_id(), name, owner, status)
        self.access.agents.append(agent)
        return agent

    def agent_key(self, agent: Agent, scopes: Sequence[str] = _MANAGE) -> str:
        """Return a new key of this agent."""
        return self._new_key("g_agent_", agent.id, frozenset(scopes))

    def _new_key(self, prefix: str, agent_id: str = "", scopes: frozenset[str] = frozenset()) -> str:
        token = f"{prefix}{self._random.getrandbits(192):048x}"
        self.access.keys.append(Key(token, agent_id, scopes))
        return token

    def revoke(self, token: str) -> None:
        for key in self.access.keys:
            key.is_valid = key.is_valid and key.token != token

    def add_session(
        self, agent: Agent, row: Mapping[str, object], messages: Sequence[Mapping[str, object]] = ()
    ) -> Session:
        """Add a session with these fields of a list item (any of them) and this transcript."""
        session = Session(dict(row), [dict(message) for message in messages])
        agent.sessions.append(session)
        return session

    def add_archive(
        self,
        agent: Agent,
        row: Mapping[str, object],
        messages: Sequence[Mapping[str, object]] = (),
        *,
        moment: datetime | None = None,
        reason: str = "reset",
    ) -> Archive:
        """Add an archived session, archived at this time or now."""
        session = Session(dict(row), [dict(message) for message in messages])
        return self._store.put_away(agent, session, reason, moment)

    def new_id(self) -> str:
        """Return a UUID, the same in every run."""
        return self._store.new_id()

    @property
    def applied(self) -> list[Applied]:
        """The changes that took effect, in order."""
        return self._store.applied

    @property
    def sent_changes(self) -> list[tuple[str, JsonObject]]:
        """The changes that were requested, effective or not: operation and body."""
        changes = [request for request in self.requests if is_change(request)]
        return [("/".join(request.target.split("/")[-2:]), request.json) for request in changes]

    def fail_next(self, fault: Fault) -> Fault:
        self.faults.append(fault)
        return fault

    async def _respond(self, request: Request) -> Response:
        place = len(self.requests)
        self.requests.append(request)
        self.statuses.append(0)
        self._unanswered += 1
        self._idle.clear()
        self.most_at_once = max(self.most_at_once, self._unanswered)
        try:
            self._run_late()
            response = await self._outcome(request)
        finally:
            self._unanswered -= 1
            if not self._unanswered:
                self._idle.set()
        if response.sent in ("whole", "half"):
            self.statuses[place] = response.status
        return response

    async def _outcome(self, request: Request) -> Response:
        fault = next((fault for fault in self.faults if fault.befalls(request)), None)
        if fault is None:
            return self._api.answer(request)
        fault.times -= 1
        if fault.times <= 0:
            self.faults.remove(fault)
        return await self._faulty(request, fault)

    async def _faulty(self, request: Request, fault: Fault) -> Response:
        response = self._api.answer(request) if fault.comes_after else None
        fault.entered.set()
        match fault.kind:
            case "answer":
                return fault.instead()
            case "late":
                self._late.append((len(self.requests) + fault.later, request))
                return Response(200, sent="none")
            case "drop":
                return Response(200, sent="none")
            case "hold":
                await fault.released.wait()
                return response or self._api.answer(request)
            case _:
                assert response is not None
                return fault.spoiled(response)

    def _run_late(self) -> None:
        """Make the delayed changes take effect that are due."""
        due = [late for late in self._late if late[0] <= len(self.requests)]
        self._late = [late for late in self._late if late not in due]
        for _, request in due:
            self._api.answer(request)

    async def settle(self) -> None:
        """Wait until all requests are answered, and make every delayed change take effect."""
        await self._idle.wait()
        for _, request in self._late:
            self._api.answer(request)
        self._late.clear()
