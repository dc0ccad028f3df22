"""The fake AgentOS answers each request as the real one does."""

import asyncio
import json
import re
from collections.abc import AsyncGenerator, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from itertools import count

import anyio
import pytest

from mcp_sessions.json_documents import Json, JsonObject, is_array, is_object

from ...support.fakes.agentos import ONE_TABLE, TWO_TABLES, FakeAgentOs
from ...support.fakes.agentos_requests import (
    CONVERSATIONS,
    IN_FLIGHT,
    OTHER_TABLE_SEEDS,
    SEEDS,
    START,
    TWO_TABLE_CONVERSATION,
    WITH_A_KEY,
    Ask,
    RealRun,
    get,
)
from ...support.real_agentos import ASYNC
from ...support.servers.agentos_process import SECURITY_KEY, VERSIONS, AgentOs, Database, Version, running

on_each = pytest.mark.parametrize("version", VERSIONS)
_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}")
_SPOKEN_OF_POSITIONS = re.compile(r"in position \d+")
_DATABASE_ERROR = re.compile(r"\(psycopg\..*", re.DOTALL)
_MEASURED = ("metrics", "session_metrics", "total_tokens", "agent_data", "team_data", "search_time_ms")


@dataclass
class Side:
    """The real server or the fake, and the ids that were kept from its answers."""

    url: str
    kept: dict[str, str] = field(default_factory=dict[str, str])
    ids: dict[str, str] = field(default_factory=dict[str, str])
    numbers: "count[int]" = field(default_factory=count)
    has_order: bool = True
    """False for PostgreSQL, where the order of sessions with the same time is not defined."""

    async def answer(self, ask: Ask) -> JsonObject:
        status, body = await _asked(self.url, ask, ask.path.format(**self.kept))
        if not self.has_order and is_object(body) and is_array(body.get("data")):
            body["data"] = self._in_order(body["data"]) if body["meta"]["total_pages"] == 1 else len(body["data"])
        if ask.keep and status < 300:
            self.kept[ask.keep] = body[0]["run_id"] if is_array(body) else body["session_id"]
        return {"status": status, "body": self._masked(body)}

    def _in_order(self, items: list[JsonObject]) -> list[JsonObject]:
        def known_as(item: JsonObject) -> str:
            session_id: str = item["session_id"]
            return self.ids.get(session_id, session_id)

        return sorted(items, key=known_as)

    def _masked(self, value: Json, key: str = "") -> Json:
        if key in _MEASURED and value:
            return "measured"
        if key in ("created_at", "updated_at") and _is_recent(value):
            return "recent"
        if is_object(value):
            prompt = {"content": "a prompt"} if value.get("role") == "system" else {}
            return {name: self._masked(item, name) for name, item in sorted((value | prompt).items())}
        if is_array(value):
            return [self._masked(item) for item in value]
        if isinstance(value, str):
            value = _DATABASE_ERROR.sub("what the database refused", value)
            return _SPOKEN_OF_POSITIONS.sub("somewhere", _UUID.sub(self._numbered, value))
        return value

    def _numbered(self, found: re.Match[str]) -> str:
        """Return a number for a generated id, so that ids of both sides are equal if they appear in the same order."""
        return self.ids.setdefault(found[0], f"id {next(self.numbers)}")


def _is_recent(value: Json) -> bool:
    return value > START + 1000 if isinstance(value, int) else isinstance(value, str) and value > "2024-02"


async def _asked(url: str, ask: Ask, path: str) -> tuple[int, Json]:
    """Send the request over a new connection, with the path unchanged."""
    host, _, port = url.removeprefix("http://").partition(":")
    async with await anyio.connect_tcp(host, int(port)) as connection:
        lines = (
            f"{ask.method} {path} HTTP/1.1",
            f"Host: {host}",
            "Connection: close",
            "Content-Type: application/json",
        )
        if ask.authorization:
            lines = (*lines, f"Authorization: {ask.authorization}")
        body = ask.body.encode()
        await connection.send("\r\n".join([*lines, f"Content-Length: {len(body)}", "", ""]).encode() + body)
        with anyio.fail_after(10):
            received = b"".join([part async for part in connection])
    head, _, answer = received.partition(b"\r\n\r\n")
    return int(head.split()[1]), json.loads(answer) if answer else None


@asynccontextmanager
async def both(
    version: Version, *options: str, database: Database = "sqlite"
) -> AsyncGenerator[tuple[AgentOs, FakeAgentOs]]:
    """Yield a real server and a fake with the same sessions."""
    real = running(version, *options, database=database)
    await real.clear()
    has_two_tables = "--other-table" in options
    seeds = [*SEEDS, *(OTHER_TABLE_SEEDS if has_two_tables else [])]
    await real.seed(*seeds)
    kept_in = "postgresql-async" if database == "postgresql" and "--async-db" in options else database
    async with FakeAgentOs(version, databases=TWO_TABLES if has_two_tables else ONE_TABLE, database=kept_in) as fake:
        fake.seed(*seeds)
        yield real, fake


async def compare(real: Side, fake: Side, asked: list[Ask]) -> None:
    different: list[str] = []
    for ask in asked:
        theirs, ours = await real.answer(ask), await fake.answer(ask)
        if theirs != ours:
            different += [f"{ask.method} {ask.path} {ask.body[:100]}", *_differences(theirs, ours)]
    assert not different, "\n".join(["the real one / the fake:", *different])


def _differences(theirs: Json, ours: Json, where: str = " ") -> Iterator[str]:
    if is_object(theirs) and is_object(ours):
        for name in theirs | ours:
            yield from _differences(theirs.get(name, "absent"), ours.get(name, "absent"), f"{where} {name}")
    elif is_array(theirs) and is_array(ours) and len(theirs) == len(ours):
        for position, (one, other) in enumerate(zip(theirs, ours, strict=True)):
            yield from _differences(one, other, f"{where} {position}")
    elif theirs != ours:
        yield f"{where}: {str(theirs)[:200]} / {str(ours)[:200]}"


@on_each
@pytest.mark.parametrize("about", CONVERSATIONS)
async def test_the_fake_answers_like_the_real_server(version: Version, about: str) -> None:
    async with both(version) as (real, fake):
        await compare(Side(real.origin), Side(fake.url), CONVERSATIONS[about])


@pytest.mark.parametrize(("version", "options"), [("3.1.10", ASYNC), ("2.5.6", ())], ids=["3.1.10-async", "2.5.6"])
@pytest.mark.parametrize("about", CONVERSATIONS)
async def test_the_fake_answers_like_the_real_server_on_postgresql(
    version: Version, options: tuple[str, ...], about: str
) -> None:
    async with both(version, *options, database="postgresql") as (real, fake):
        await compare(Side(real.origin, has_order=False), Side(fake.url, has_order=False), CONVERSATIONS[about])


@on_each
async def test_a_second_table_behaves_like_the_real_one(version: Version) -> None:
    async with both(version, "--other-table") as (real, fake):
        await compare(Side(real.origin), Side(fake.url), TWO_TABLE_CONVERSATION)


@on_each
@pytest.mark.parametrize("in_flight", IN_FLIGHT, ids=lambda run: run.type)
async def test_a_run_overwrites_changes_made_during_it(version: Version, in_flight: RealRun) -> None:
    component = {"agent": "planner", "team": "crew"}[in_flight.type]
    async with both(version) as (real, fake):
        sides = Side(real.origin), Side(fake.url)
        ours = fake.begin_run(in_flight.session_id)
        theirs = asyncio.create_task(
            real.run(in_flight.type, component, in_flight.session_id, "slow gate", user_id="ann")
        )
        await real.entered("gate")
        await compare(*sides, list(in_flight.meanwhile))
        await real.release("gate")
        await theirs
        fake.end_run(ours, "slow gate", "You said: slow gate")
        await compare(*sides, list(in_flight.meanwhile[2:]))


@on_each
async def test_a_security_key_is_required_like_by_the_real_server(version: Version) -> None:
    real = running(version, security_key=SECURITY_KEY)
    async with FakeAgentOs(version, security_key=SECURITY_KEY) as fake:
        await compare(Side(real.origin), Side(fake.url), WITH_A_KEY)


@on_each
async def test_the_fake_describes_the_routes_of_the_real_server(version: Version) -> None:
    async with FakeAgentOs(version) as fake:
        theirs, ours = [await Side(url).answer(get("/openapi.json")) for url in (running(version).origin, fake.url)]
    real, described = theirs["body"]["paths"], ours["body"]["paths"]
    about_sessions = {path for path in real if path.startswith("/sessions") or path.endswith("/fork")}
    assert about_sessions - {"/sessions/{session_id}/media/{storage_key}"} == set(described)
    for path, method in [(one, each) for one in described for each in described[one]]:
        known = {each["name"]: each for each in real[path][method]["parameters"]}
        for parameter in described[path][method]["parameters"]:
            actual = known[parameter["name"]]
            assert (actual["in"], actual["required"]) == (parameter["in"], parameter["required"])
            assert actual["schema"].get("default") == parameter["schema"].get("default"), (path, method)
