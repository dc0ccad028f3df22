"""Lists of sessions of one second, some of which AgentOS fails on, whatever order its database returns them in.

Source: PostgreSQL's documentation of LIMIT and OFFSET. "Using different LIMIT/OFFSET values to select different subsets
of a query result will give inconsistent results unless you enforce a predictable result ordering with ORDER BY."
"""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path
from typing import NamedTuple

import httpx2
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import (
    SessionFilter,
    SessionPage,
)

from ...support.faked_agentos import SeenAgentOs, on
from ...support.fakes.agentos import Version
from ...support.real_agentos import ASYNC, opened
from ...support.servers import postgres_process
from ...support.servers.agentos_process import are_installed

MOMENT = 1_760_000_000
TIMES: Mapping[str, Json] = {"created_at": MOMENT, "updated_at": MOMENT}
UNREADABLE: Mapping[str, JsonObject] = {
    "a name that is no string": {**TIMES, "session_data": {"session_name": 42}},
    "times in milliseconds": {"created_at": 1000 * MOMENT, "updated_at": 1000 * MOMENT},
}


class System(NamedTuple):
    """An AgentOS in this process whose database shuffles sessions with the same time, or a real one on PostgreSQL."""

    version: Version
    is_real: bool = False
    options: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        return "-".join((self.version, "postgresql" if self.is_real else "fake", *self.options))

    @asynccontextmanager
    async def open(self, folder: Path, *seeds: JsonObject) -> AsyncGenerator[tuple[SessionBackend, str]]:
        """Yield the backend on this system with these sessions, and the address of its REST API."""
        if self.is_real:
            async with opened(self.version, *self.options, database="postgresql", seeds=seeds) as case:
                yield case.backend, case.server.origin
            return
        async with SeenAgentOs(self.version, shuffles_ties=True) as fake, on(fake, folder) as backend:
            fake.seed(*seeds)
            yield backend, fake.url


FAKES = [System("3.1.10"), pytest.param(System("2.5.6"), marks=pytest.mark.variants)]
REAL = [System("3.1.10", True, ASYNC)]  # the order is PostgreSQL's, and the same in each version
on_each = pytest.mark.parametrize(
    "system",
    FAKES + (REAL if are_installed() and postgres_process.is_installed() else []),
    ids=lambda system: system.name,
)


def healthy(number: int, **given: Json) -> JsonObject:
    """Return a session that AgentOS can show, with an id that is independent of the order of seeding."""
    return {"session_id": f"{37 * number % 101:03}", "component_id": "planner", "columns": {**TIMES}, **given}


def unreadable(number: int, columns: JsonObject) -> JsonObject:
    return healthy(number, session_id=f"{53 * number % 101:03} unreadable", columns=columns)


def ids_of(seeds: list[JsonObject]) -> list[str]:
    return sorted(str(seed["session_id"]) for seed in seeds)


async def walked(
    backend: SessionBackend, limit: int, filter: SessionFilter | None = None
) -> tuple[list[str], list[SessionPage]]:
    """Return the ids of a whole list, and its pages."""
    pages = [await backend.list_sessions(filter or SessionFilter(), limit=limit)]
    while pages[-1].next_cursor:
        pages.append(await backend.list_sessions(filter or SessionFilter(), limit=limit, cursor=pages[-1].next_cursor))
    return [session.id for page in pages for session in page.sessions], pages


@on_each
async def test_agentos_pages_of_one_session_repeat_some_and_miss_others(system: System, tmp_path: Path) -> None:
    seeds = [healthy(number) for number in range(8)]
    async with (
        system.open(tmp_path, *seeds) as (_, url),
        httpx2.AsyncClient(base_url=url, trust_env=False, verify=False) as api,
    ):
        shown: list[str] = []
        for page in range(1, 9):
            answer = await api.get("/sessions", params={"sort_by": "updated_at", "limit": 1, "page": page})
            shown += [item["session_id"] for item in answer.json()["data"]]
    assert len(shown) == 8
    assert len(set(shown)) < 8


@pytest.mark.parametrize(
    ("kind", "order", "limit"),
    [
        ("a name that is no string", "updated_desc", 3),
        ("a name that is no string", "created_asc", 25),
        ("times in milliseconds", "updated_desc", 25),
        ("times in milliseconds", "created_asc", 3),
    ],
)
@on_each
async def test_sessions_of_one_second_around_a_failing_one_are_listed_once(
    system: System, kind: str, order: str, limit: int, tmp_path: Path
) -> None:
    seeds = [healthy(number) for number in range(5)]
    async with system.open(tmp_path, unreadable(9, UNREADABLE[kind]), *seeds) as (backend, _):
        found, pages = await walked(backend, limit, SessionFilter.model_validate({"order": order}))
    assert sorted(found) == ids_of(seeds)
    assert any("failed on 1 session" in page.note for page in pages)
    assert not any("missing" in page.note for page in pages)


@pytest.mark.parametrize("limit", [3, 25])
@on_each
async def test_four_failing_sessions_in_one_second_hide_no_other(system: System, limit: int, tmp_path: Path) -> None:
    seeds = [healthy(number) for number in range(12)]
    failing = [unreadable(number, UNREADABLE["a name that is no string"]) for number in range(4)]
    mixed = [seed for pair in zip(failing, seeds, strict=False) for seed in pair] + seeds[4:]
    async with system.open(tmp_path, *mixed) as (backend, _):
        found, pages = await walked(backend, limit)
    assert sorted(found) == ids_of(seeds)
    assert any("failed on 4 session" in page.note for page in pages)


@on_each
async def test_sessions_of_one_second_across_pages_are_listed_once(system: System, tmp_path: Path) -> None:
    seeds = [healthy(number) for number in range(60)]
    async with system.open(tmp_path, *seeds) as (backend, _):
        found, pages = await walked(backend, 17)
    assert sorted(found) == ids_of(seeds)
    assert not any(page.note for page in pages)


@on_each
async def test_a_search_finds_every_session_around_a_failing_one(system: System, tmp_path: Path) -> None:
    seeds = [healthy(number, name="plum", columns={**TIMES}) for number in range(5)]
    async with system.open(tmp_path, unreadable(9, UNREADABLE["a name that is no string"]), *seeds) as (backend, _):
        page = await backend.search_sessions("plum", limit=25)
    assert sorted(hit.session_id for hit in page.hits) == ids_of(seeds)
    assert not page.complete
    assert "failed on 1 session" in page.note


@on_each
async def test_a_list_of_one_second_that_is_too_long_says_that_sessions_may_be_missing(
    system: System, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.backends.agentos.page_reader._MAX_ROWS", 3)
    failing = [unreadable(number, UNREADABLE["a name that is no string"]) for number in range(2)]
    async with system.open(tmp_path, *failing, *(healthy(number) for number in range(8))) as (backend, _):
        _, pages = await walked(backend, 3)
    assert any("may be missing" in page.note for page in pages)
