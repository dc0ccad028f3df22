"""How AgentOS loses writes, shown on a real server, and that writes through us are not lost."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager

import anyio
import pytest

from mcp_sessions.caller import Caller
from mcp_sessions.errors import NotFound, Unsupported
from mcp_sessions.json_documents import JsonObject

from ...support.real_agentos import COMPONENTS, Case, contents, opened, session
from ...support.servers.agentos_process import VERSIONS, Version

DATABASES = ((), ("--async-db",))
on_each = pytest.mark.parametrize("version", VERSIONS)
on_each_database = pytest.mark.parametrize("options", DATABASES, ids=("sync", "async"))


async def test_d1_a_write_to_a_workflow_session_keeps_its_runs() -> None:
    async with opened("2.5.6", seeds=[session("raw", "workflow"), session("ours", "workflow")]) as case:
        before = await case.stored_runs()
        assert (await case.api.post("/sessions/raw/rename", json={"session_name": "New"})).status_code == 200
        assert (await case.stored_runs())["raw"] is None
        await case.backend.rename_session("ours", "New")
        await case.backend.update_session_state("ours", {"a": 1})
        await case.backend.update_session("ours", metadata={"b": 2})
        await case.backend.archive_session("ours")
        await case.backend.restore_session("ours")
        assert contents((await case.stored_runs())["ours"]) == contents(before["ours"])


async def test_d1_an_agents_session_that_holds_a_workflows_runs_is_not_changed() -> None:
    async with opened("2.5.6", seeds=[session("raw"), session("ours")]) as case:
        for id in ("raw", "ours"):
            await case.server.run("workflow", "pipeline", id, "weather Oslo")
        before = await case.stored_runs()
        rename = {"session_name": "New"}
        await case.api.post("/sessions/raw/rename", params={"type": "agent"}, json=rename)
        assert before["raw"]
        assert (await case.stored_runs())["raw"] is None
        for change in (
            lambda: case.backend.rename_session("ours", "New"),
            lambda: case.backend.archive_session("ours"),
            lambda: case.backend.update_session_state("ours", {"a": 1}),
            lambda: case.backend.update_session("ours", metadata={"b": 2}),
            lambda: case.backend.restore_session("ours", name="New"),
        ):
            with pytest.raises(Unsupported, match="Upgrade AgentOS"):
                await change()
        assert (await case.stored_runs())["ours"] == before["ours"]


async def test_d1_a_session_with_only_its_own_runs_is_changed_and_keeps_them() -> None:
    said = {"agent": "weather Rome", "team": "delegate look at it", "workflow": "weather Oslo"}
    async with opened("2.5.6", seeds=[session(type, type) for type in said]) as case:
        for type, message in said.items():
            await case.server.run(type, COMPONENTS[type], type, message)
        before = await case.stored_runs()
        assert any(run.get("parent_run_id") for run in before["team"])
        for type in said:
            assert (await case.backend.rename_session(type, "New")).changed == {"name": "New"}
            await case.backend.update_session_state(type, {"a": 1})
            await case.backend.update_session(type, metadata={"b": 2})
            await case.backend.archive_session(type)
            await case.backend.restore_session(type, name="Newer")
        assert contents(await case.stored_runs()) == contents(before)


@on_each
@on_each_database
@pytest.mark.parametrize("type", COMPONENTS)
async def test_d2_a_name_given_during_a_run_is_kept_after_it(
    version: Version, options: tuple[str, ...], type: str
) -> None:
    async with opened(version, *options, seeds=[session("raw", type), session("ours", type)]) as case:
        async with _running(case, "raw", type):
            renamed = await case.api.post("/sessions/raw/rename", params={"type": type}, json={"session_name": "New"})
            assert renamed.status_code == 200
            assert (await case.seen("raw", type))["session_name"] == "New"
        assert (await case.seen("raw", type))["session_name"] != "New"

        async with _running(case, "ours", type):
            change = await case.backend.rename_session("ours", "New")
            assert change.note
        with anyio.fail_after(30):
            while (await case.seen("ours", type))["session_name"] != "New":
                pass


@asynccontextmanager
async def _running(case: Case, session_id: str, type: str) -> AsyncGenerator[None]:
    """Execute a run of this session inside, and end it afterwards."""
    gate = f"{type}-{session_id}"
    async with anyio.create_task_group() as tasks:
        tasks.start_soon(case.server.run, type, COMPONENTS[type], session_id, f"slow {gate}")
        with anyio.fail_after(30):
            await case.server.entered(gate)
        yield
        await case.server.release(gate)


@on_each
async def test_d3_deleting_an_unknown_session_is_not_found(version: Version) -> None:
    async with opened(version, seeds=[session("ours", user_id="ann")]) as case:
        assert (await case.api.delete("/sessions/never-was")).status_code == 204
        assert (await case.api.delete("/sessions/ours", params={"user_id": "ben"})).status_code == 204
        assert await case.seen("ours")
        with pytest.raises(NotFound):
            await case.backend.delete_session("never-was")
        with pytest.raises(NotFound):
            await case.backend.for_caller(Caller(user_id="ben")).delete_session("ours")
        await case.backend.delete_session("ours")
        assert (await case.api.get("/sessions/ours")).status_code == 404
        with pytest.raises(NotFound):
            await case.backend.delete_session("ours")


@on_each
async def test_d4_a_change_of_state_or_metadata_keeps_the_other_keys(version: Version) -> None:
    given: JsonObject = {"state": {"a": 1, "b": {"c": 2}}, "metadata": {"k": "v"}, "summary": "Short"}
    async with opened(version, seeds=[session("raw", **given), session("ours", **given)]) as case:
        await case.api.patch("/sessions/raw", json={"session_state": {"b": {"d": 3}}, "metadata": {"l": "w"}})
        raw = await case.seen("raw")
        assert (raw["session_state"], raw["metadata"]) == ({"b": {"d": 3}}, {"l": "w"})
        await case.backend.update_session_state("ours", {"b": {"d": 3}})
        await case.backend.update_session("ours", metadata={"l": "w"})
        ours = await case.seen("ours")
        assert (ours["session_state"], ours["metadata"]) == ({"a": 1, "b": {"c": 2, "d": 3}}, {"k": "v", "l": "w"})
        assert ours["session_summary"]["summary"] == "Short"


@on_each
async def test_d5_a_name_and_a_state_set_concurrently_are_both_kept(version: Version) -> None:
    async with opened(version, "--async-db", seeds=[session("raw"), session("ours")]) as case:

        async def rename(name: str) -> None:
            await case.api.post("/sessions/raw/rename", json={"session_name": name})

        async def set_state(number: int) -> None:
            await case.api.patch("/sessions/raw", json={"session_state": {"n": number}})

        lost, number = False, 0
        while not lost:
            assert number < 150, "AgentOS itself loses nothing any more"
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(rename, str(number))
                tasks.start_soon(set_state, number)
            raw = await case.seen("raw")
            lost = (raw.get("session_name"), raw.get("session_state")) != (str(number), {"n": number})
            number += 1

        for number in range(20):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(case.backend.rename_session, "ours", str(number))
                tasks.start_soon(case.backend.update_session_state, "ours", {"n": number})
            ours = await case.seen("ours")
            assert (ours["session_name"], ours["session_state"]) == (str(number), {"n": number})


async def test_d13_a_change_never_goes_to_the_session_of_another_table() -> None:
    seeds = [session("s", name="default"), session("s", name="other", component_id="archivist", other_table=True)]
    there = {"db_id": "main", "table": "other_sessions", "type": "agent"}
    async with opened("2.5.6", "--other-table", seeds=seeds, query="db_id=main&table=other_sessions") as case:
        await case.api.patch("/sessions/s", params=there, json={"metadata": {"wrong": True}})
        assert (await case.seen("s"))["metadata"] == {"wrong": True}
        before = await case.server.rows()
        with pytest.raises(Unsupported, match=r"2\.6\.7"):
            await case.backend.update_session_state("s", {"a": 1})
        with pytest.raises(Unsupported):
            await case.backend.archive_session("s")
        assert await case.server.rows() == before
        await case.backend.rename_session("s", "New")
        after = await case.server.rows()
        assert after["agno_sessions"] == before["agno_sessions"]
        assert (await case.backend.get_session("s")).name == "New"


async def test_d13_a_change_goes_to_the_named_table_in_mended_versions() -> None:
    seeds = [session("s", name="default"), session("s", name="other", component_id="archivist", other_table=True)]
    async with opened("3.1.10", "--other-table", seeds=seeds, query="db_id=main&table=other_sessions") as case:
        before = await case.server.rows()
        await case.backend.update_session_state("s", {"a": 1})
        assert (await case.server.rows())["agno_sessions"] == before["agno_sessions"]
        assert (await case.backend.get_session("s")).state == {"a": 1}


async def test_d14_creating_a_session_keeps_the_runs_of_all_others() -> None:
    async with opened("2.5.6", seeds=[session("raw"), session("ours")]) as case:
        before = await case.stored_runs()
        assert (await case.api.post("/sessions", json={"session_id": "raw", "agent_id": "planner"})).status_code == 201
        assert not (await case.stored_runs())["raw"]
        created = await case.backend.create_session(name="New", agent_id="planner")
        assert created.id not in ("raw", "ours")
        assert (await case.stored_runs())["ours"] == before["ours"]


@on_each
async def test_d13_a_run_of_another_table_is_not_shown(version: Version) -> None:
    seeds = [session("s"), session("s", component_id="archivist", other_table=True)]
    there = {"db_id": "main", "table": "other_sessions"}
    async with opened(version, "--other-table", seeds=seeds, query="db_id=main&table=other_sessions") as case:
        (default_run,) = (await case.api.get("/sessions/s/runs", params={"type": "agent"})).json()
        raw = await case.api.get(f"/sessions/s/runs/{default_run['run_id']}", params=there | {"type": "agent"})
        assert (raw.status_code, version) in ((200, "2.5.6"), (404, "3.1.10"))
        (run,) = (await case.backend.get_session_runs("s")).runs
        assert run.agent_id == "archivist"
        assert (await case.backend.get_session_runs("s", run_id=run.id)).runs[0].id == run.id
        with pytest.raises(NotFound):
            await case.backend.get_session_runs("s", run_id=default_run["run_id"])
