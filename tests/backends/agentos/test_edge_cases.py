"""Unusual ids, reserved metadata, unsupported forks, and searches while sessions change."""

import json
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from time import time

import pytest

from mcp_sessions.backends.agentos.removals import RESERVED
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid, Unsupported
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    SearchHit,
    SessionFilter,
)
from mcp_sessions.text.search_query import SearchQuery

from ...support.faked_agentos import Clock, SeenAgentOs, faked, on, on_each_fake, session, settled, stored, writes
from ...support.fakes.agentos import TWO_TABLES, Request, Version
from ...support.fakes.http import Response


@on_each_fake
async def test_a_session_whose_id_cannot_be_in_a_path_is_listed_with_what_is_known(
    version: Version, tmp_path: Path
) -> None:
    seeds = [session(id, name="plum", created_at=1000 + place) for place, id in enumerate(("s", "a/b", "t"))]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        listed = await backend.list_sessions(SessionFilter())
        ids = [item.id for item in listed.sessions]
        assert listed.note.startswith("1 session(s) can only be listed, not opened or changed: their ids contain")
        assert ("Their agent, user and archive status" in listed.note) is (version == "2.5.6")  # later lists have these
        assert (ids, listed.total) == (["t", "a/b", "s"], 3)
        assert listed.sessions[1].name == "plum"
        found = await backend.search_sessions("plum")
        assert {hit.session_id for hit in found.hits} == {"t", "s"}
        assert not found.complete
        assert "1 sessions" in found.note


async def test_a_session_that_cannot_be_read_is_left_out_if_its_user_or_archiving_matters(
    tmp_path: Path,
) -> None:
    seeds = [session("a/b", user_id="ann"), session("s", user_id="ann")]
    async with faked("2.5.6", tmp_path, *seeds) as (_, backend):
        for view, filter, ids in (
            (backend.for_caller(Caller(user_id="ann")), SessionFilter(), ["s"]),
            (backend, SessionFilter(archived=True), []),
        ):
            listed = await view.list_sessions(filter)
            assert [item.id for item in listed.sessions] == ids
            assert (listed.total, "1 session(s) are left out, because their user" in listed.note) == (None, True)
        found = await backend.for_caller(Caller(user_id="ann")).search_sessions("well")
        assert ({hit.session_id for hit in found.hits}, found.complete) == ({"s"}, False)
        assert "1 session(s) are left out" in found.note


class TwoDatabases(SeenAgentOs):
    """A fake AgentOS that shows which database each component uses."""

    def _answer(self, request: Request) -> Response:
        if request.path != "/config":
            return super()._answer(request)
        homes = {"agents": [{"id": "planner", "db_id": "main"}], "teams": [{"id": "crew", "db_id": "main"}]}
        return Response(200, json.dumps(homes).encode())


@pytest.mark.parametrize(
    ("query", "databases"),
    [
        ("?db_id=main&table=agno_sessions", TWO_TABLES),
        ("?db_id=main&table=other_sessions", TWO_TABLES),
        ("?db_id=second", {"second": ("agno_sessions",), "main": ("other_sessions",)}),
    ],
)
@pytest.mark.parametrize("type", ["agent", "team"])
async def test_a_session_outside_its_agents_database_is_not_forked(
    query: str, databases: Mapping[str, Sequence[str]], type: str, tmp_path: Path
) -> None:
    async with TwoDatabases(databases=databases) as fake, on(fake, tmp_path, query=query) as backend:
        fake.seed(session("s", type), session("s", type, other_table=True))
        with pytest.raises(Unsupported, match="database"):
            await backend.fork_session("s", name="New")
        assert not writes(fake.requests)


@pytest.mark.parametrize("query", ["", "?db_id=main"])
async def test_a_session_in_its_agents_database_is_forked(query: str, tmp_path: Path) -> None:
    async with TwoDatabases() as fake, on(fake, tmp_path, query=query) as backend:
        fake.seed(session("s"))
        forked = await backend.fork_session("s", name="New")
        assert (forked.name, forked.id in fake.everything()) == ("New", True)


@pytest.mark.parametrize("limit", [1, 2, 3, 4, 5, 7])
@on_each_fake
async def test_a_search_has_each_hit_once_even_if_the_session_at_its_cursor_moves(
    version: Version, limit: int, tmp_path: Path
) -> None:
    seeds = [
        {**session(f"s{number}", name="pear", created_at=1000 + number), "runs": [_plums(number)]}
        for number in range(4)
    ]
    async with faked(version, tmp_path, *seeds) as (fake, backend):
        hits = list[SearchHit]()
        page = await backend.search_sessions("plum", limit=limit)
        for number in range(100):
            hits += page.hits
            if not page.next_cursor:
                break
            # What was shown last moves to the front, with something more to be found in it.
            fake.now = lambda number=number: time() + number
            run = fake.begin_run(page.hits[-1].session_id)
            fake.end_run(run, "And one more plum", "Found")
            page = await backend.search_sessions("plum", limit=limit, cursor=page.next_cursor)
        found = Counter(hit.snippet for hit in hits if hit.snippet != "And one more plum")
        assert found == {f"plum {place} of s{number}": 1 for number in range(4) for place in range(4)}


def _plums(number: int) -> list[dict[str, str]]:
    return [{"role": "user", "text": f"plum {place} of s{number}"} for place in range(4)]


async def test_snippets_are_made_only_for_hits_on_the_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    made: list[str] = []
    snippet = SearchQuery.snippet

    def counted(query: SearchQuery, text: str) -> str:
        made.append(text)
        return snippet(query, text)

    monkeypatch.setattr(SearchQuery, "snippet", counted)
    said = [{"role": "user", "text": f"plum {place}"} for place in range(5000)]
    async with faked("3.1.10", tmp_path, {**session("s", name="pear"), "runs": [said]}) as (_, backend):
        page = await backend.search_sessions("plum", limit=5)
        assert [hit.snippet for hit in page.hits] == [f"plum {4999 - place}" for place in range(5)]
        assert len(made) <= 10
        page = await backend.search_sessions("plum", limit=5, cursor=page.next_cursor)
        assert page.hits[0].snippet == "plum 4994"
        assert len(made) <= 20


@pytest.mark.parametrize("key", RESERVED)
@on_each_fake
async def test_metadata_keys_reserved_by_agentos_are_refused(version: Version, key: str, tmp_path: Path) -> None:
    async with faked(version, tmp_path, session("s")) as (fake, backend):
        with pytest.raises(Invalid, match=key):
            await backend.update_session("s", metadata={key: 1})
        with pytest.raises(Invalid, match=key):
            await backend.update_session("s", metadata={key: 1}, clear=["metadata"])
        with pytest.raises(Invalid, match=key):
            await backend.create_session(agent_id="planner", metadata={key: 1})
        assert not writes(fake.requests)


async def test_metadata_that_agentos_removes_is_reported_and_not_undone(tmp_path: Path, clock: Clock) -> None:
    reserved = {"agno_component_version": 3}
    seeds = [session(id, name="old", metadata={"kept": 1, **reserved}) for id in "syz"]
    async with faked("3.1.10", tmp_path, *seeds) as (fake, backend):
        change = await backend.archive_session("s")
        assert "agno_component_version" in change.note
        found = await backend.get_session("s")
        assert (found.note, found.metadata) == ("", {"kept": 1})
        before = len(fake.requests)
        await settled(fake, clock, backend)
        assert not [request for request in writes(fake.requests[before:]) if request.path.startswith("/sessions/s")]
        assert stored(fake, "s")["metadata"].keys() == {"kept", "archived_at"}
        assert "agno" not in (await backend.update_session("s", metadata={"more": 1})).note


async def test_metadata_that_agentos_keeps_is_not_reported_as_removed(tmp_path: Path) -> None:
    reserved = {"agno_component_version": 3}
    async with faked("2.5.6", tmp_path, session("s", metadata={"kept": 1, **reserved})) as (fake, backend):
        assert "agno" not in (await backend.archive_session("s")).note
        assert stored(fake, "s")["metadata"]["agno_component_version"] == 3
        assert (await backend.get_session("s")).note == ""
    async with faked("3.1.10", tmp_path, session("s", metadata=reserved)) as (_, backend):
        assert "agno" not in (await backend.update_session("s", clear=["metadata"])).note


async def test_a_session_without_a_component_is_changed_only_if_no_run_can_be_lost(tmp_path: Path) -> None:
    of_none: JsonObject = {"component_id": "", "name": "old"}
    seeds: list[JsonObject] = [{**session("runs"), **of_none}, {**session("none"), **of_none, "runs": []}]
    async with faked("2.5.6", tmp_path, *seeds) as (fake, backend):
        before = fake.everything()
        with pytest.raises(Unsupported, match="Upgrade AgentOS"):
            await backend.rename_session("runs", "new")
        assert fake.everything() == before
        assert (await backend.rename_session("none", "new")).changed == {"name": "new"}
    async with faked("3.1.10", tmp_path, *seeds) as (fake, backend):
        before = stored(fake, "runs")["runs"]
        assert (await backend.rename_session("runs", "new")).changed == {"name": "new"}
        assert stored(fake, "runs")["runs"] == before
