"""What the tests on the fake AgentOS share: a clock, our backend on it, and waiting for what it does by itself."""

from collections.abc import AsyncGenerator, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import Json, JsonObject

from .fakes.agentos import FakeAgentOs, Request, Version
from .fakes.http import Response

on_each_fake = pytest.mark.parametrize("version", ["3.1.10", pytest.param("2.5.6", marks=pytest.mark.variants)])
COMPONENTS = {"agent": "planner", "team": "crew", "workflow": "pipeline"}
MINUTE = 60


@dataclass
class Clock:
    """The clock of the journal. It stands still unless a test moves it."""

    now: float

    def __call__(self) -> float:
        return self.now


class SeenAgentOs(FakeAgentOs):
    """A fake that shows all of its sessions to tests, and can be made to behave worse than AgentOS."""

    does_nothing = False
    """It answers a write as if it were done."""
    garbles = False
    """It does a write, and answers it with something that is no JSON."""
    goes_blind = False
    """Once a write came, it fails on every read."""

    def everything(self) -> dict[str, JsonObject]:
        """Return all sessions by their ids, without the times of their changes."""
        (table,) = self._system.tables
        ids = table.connection.execute(f"SELECT session_id FROM {table.name}").fetchall()
        rows = {id: stored(self, id) for (id,) in ids}
        return {id: {key: row[key] for key in row if key != "updated_at"} for id, row in rows.items()}

    def _answer(self, request: Request) -> Response:
        if request.method == "GET":
            return Response(500) if self.goes_blind and writes(self.requests) else super()._answer(request)
        if self.does_nothing:
            as_it_is = replace(request, method="GET", path=request.path.removesuffix("/rename"), body=b"")
            return super()._answer(as_it_is)
        answered = super()._answer(request)
        return Response(200, b"<html>Done</html>") if self.garbles else answered


class CarelessAgentOs(SeenAgentOs):
    """A fake that ignores the user: it shows and changes everybody's sessions."""

    def _answer(self, request: Request) -> Response:
        named = {key: values for key, values in request.query.items() if key != "user_id"}
        return super()._answer(replace(request, query=named))


class GuardedAgentOs(SeenAgentOs):
    """One where `Bearer USER…` is the credential of a user, of which one may have several, and shows theirs alone."""

    users = ("ann", "ben")

    def _answer(self, request: Request) -> Response:
        if request.path in ("/info", "/openapi.json", "/health"):
            return super()._answer(request)
        token = request.headers.get("authorization", "").removeprefix("Bearer ")
        user = next((user for user in self.users if token.startswith(user)), "")
        if not user:
            return Response(401, b'{"detail": "Invalid authentication token"}')
        return super()._answer(replace(request, query={**request.query, "user_id": [user]}))


def session(id: str, type: str = "agent", **given: Json) -> JsonObject:
    """Return a session with one run, as the fake is seeded with it."""
    said = [{"role": "user", "text": f"What of {id}?"}, {"role": "assistant", "text": "All is well."}]
    return {"session_id": id, "type": type, "component_id": COMPONENTS[type], "runs": [said], **given}


@asynccontextmanager
async def on(
    fake: FakeAgentOs, folder: Path, *, seconds: float = 25, recheck: bool = True, query: str = ""
) -> AsyncGenerator[SessionBackend]:
    """Yield a newly opened backend on the fake, with its journal in this folder."""
    url = f"agentos+{fake.url}{query}"
    async with open_backend(url, data_folder=str(folder), timeout=seconds, recheck=recheck) as backend:
        yield backend


@asynccontextmanager
async def faked(
    version: Version, folder: Path, *seeds: JsonObject, seconds: float = 25
) -> AsyncGenerator[tuple[SeenAgentOs, SessionBackend]]:
    """Yield a fake with these sessions, and a backend on it."""
    async with SeenAgentOs(version) as fake:
        fake.seed(*seeds)
        async with on(fake, folder, seconds=seconds) as backend:
            yield fake, backend


async def until(is_so: Callable[[], object]) -> None:
    with anyio.fail_after(10):
        while not is_so():
            await anyio.lowlevel.checkpoint()


def stored(fake: FakeAgentOs, session_id: str) -> JsonObject:
    found = fake.stored(session_id)
    assert found is not None
    return found


def name_of(fake: FakeAgentOs, session_id: str) -> Json:
    return _data(fake, session_id).get("session_name")


def state_of(fake: FakeAgentOs, session_id: str) -> Json:
    return _data(fake, session_id).get("session_state")


def _data(fake: FakeAgentOs, session_id: str) -> JsonObject:
    return stored(fake, session_id)["session_data"] or JsonObject()


def writes(requests: Sequence[Request]) -> list[Request]:
    return [request for request in requests if request.method != "GET"]


@asynccontextmanager
async def run_of(fake: FakeAgentOs, session_id: str = "s") -> AsyncGenerator[None]:
    """Keep a run of a session executing. At its end, the run saves the session as it was when the run began."""
    run = fake.begin_run(session_id)
    yield
    fake.end_run(run, "Go on", "Done")


async def settled(fake: FakeAgentOs, clock: Clock, backend: SessionBackend) -> None:
    """Wait until all checks that are due are made. The session with the last id shows that."""
    sentinel = f"sentinel at {clock.now}"
    async with run_of(fake, "z"):
        await backend.rename_session("z", sentinel)
    assert name_of(fake, "z") != sentinel
    clock.now += 2 * MINUTE
    await backend.update_session_state("y", {"at": clock.now})  # news, for which the journal is looked at
    await until(lambda: name_of(fake, "z") == sentinel)


SEEDS = tuple(session(id, name="old", state={"kept": 1}) for id in "syz")
"""What the journal's tests begin with."""
