"""Sessions of real AgentOS servers that have no name yet can be named and changed, however they were created."""

from collections.abc import Awaitable, Callable, Sequence

import pytest

from mcp_sessions.errors import Unsupported
from mcp_sessions.json_documents import JsonObject

from ...support.real_agentos import COMPONENTS, Case, contents, on_each_server, on_each_version, opened, session
from ...support.servers import postgres_process
from ...support.servers.agentos_process import Database, Version

Origin = Callable[[Case, str], Awaitable[str]]
"""Create a session of this type in some way, and return its id."""


async def _posted(case: Case, type: str, fields: JsonObject) -> str:
    answer = await case.api.post("/sessions", params={"type": type}, json=fields)
    assert answer.status_code == 201, answer.text
    return answer.json()["session_id"]


async def _created_by_us(case: Case, type: str) -> str:
    return (await case.backend.create_session(type=type, agent_id=COMPONENTS[type])).id


async def _posted_bare(case: Case, type: str) -> str:
    return await _posted(case, type, {})


async def _posted_with_metadata(case: Case, type: str) -> str:
    return await _posted(case, type, {f"{type}_id": COMPONENTS[type], "metadata": {"a": 1}})


async def _posted_with_an_empty_state(case: Case, type: str) -> str:
    return await _posted(case, type, {f"{type}_id": COMPONENTS[type], "session_state": {}})


async def _posted_and_run(case: Case, type: str) -> str:
    session_id = await _posted(case, type, {f"{type}_id": COMPONENTS[type]})
    await case.server.run(type, COMPONENTS[type], session_id, "Hello")
    return session_id


async def _run(case: Case, type: str, message: str = "Hello") -> str:
    await case.server.run(type, COMPONENTS[type], f"run-{type}", message)
    return f"run-{type}"


async def _run_and_failed(case: Case, type: str) -> str:
    return await _run(case, type, "fail")


async def _written_by_agno(case: Case, type: str) -> str:
    return (await case.server.seed(session(f"written-{type}", type)))[0]


async def _written_by_agno_without_data(case: Case, type: str) -> str:
    return (await case.server.seed(session(f"null-{type}", type, data=None)))[0]


async def _never_given_data(case: Case, type: str) -> str:
    session_id = await _written_by_agno(case, type)
    await case.server.overwrite(session_id, session_data=None, metadata=None)
    return session_id


ORIGINS: dict[str, Origin] = {
    "created by us": _created_by_us,
    "posted bare": _posted_bare,
    "posted with metadata": _posted_with_metadata,
    "posted with an empty state": _posted_with_an_empty_state,
    "posted and run": _posted_and_run,
    "run": _run,
    "run and failed": _run_and_failed,
    "written by agno": _written_by_agno,
    "written by agno without data": _written_by_agno_without_data,
    "SQL's NULL": _never_given_data,
}
DATABASES: Sequence[Database] = ("sqlite", "postgresql") if postgres_process.is_installed() else ("sqlite",)
on_each_origin = pytest.mark.parametrize("origin", ORIGINS.values(), ids=ORIGINS)


def _types(version: Version, origin: Origin) -> list[str]:
    """Return the possible types of a session: SQLite and agno 2.5.6 show one without a component in any type."""
    return ["agent"] if version == "2.5.6" and origin is _posted_bare else list(COMPONENTS)


@on_each_server
@on_each_origin
async def test_a_session_without_a_name_can_be_named(
    version: Version, database: Database, options: tuple[str, ...], origin: Origin
) -> None:
    async with opened(version, *options, database=database) as case:
        for type in _types(version, origin):
            session_id = await origin(case, type)
            before = contents((await case.stored_runs())[session_id])
            for name in ("First", "Second"):
                change = await case.backend.rename_session(session_id, name)
                assert change.changed == {"name": name}
                assert (await case.seen(session_id, type))["session_name"] == name
            assert contents((await case.stored_runs())[session_id]) == before


@on_each_version
@on_each_origin
async def test_a_session_without_a_name_can_be_changed_and_archived(
    version: Version, database: Database, options: tuple[str, ...], origin: Origin
) -> None:
    async with opened(version, *options, database=database) as case:
        for type in _types(version, origin):
            session_id = await origin(case, type)
            before = contents((await case.stored_runs())[session_id])
            await case.backend.archive_session(session_id)
            await case.backend.update_session_state(session_id, {"b": 2})
            await case.backend.update_session(session_id, metadata={"c": 3})
            await case.backend.restore_session(session_id, name="First")
            found = await case.backend.get_session(session_id)
            # Without a component, nothing in AgentOS's answer tells a team's session from an agent's.
            told = "agent" if origin is _posted_bare and type == "team" else type
            assert (found.name, found.type, found.archived_at) == ("First", told, None)
            assert (found.state["b"], found.metadata["c"]) == (2, 3)
            assert contents((await case.stored_runs())[session_id]) == before


@pytest.mark.parametrize("database", DATABASES)
async def test_on_agno_2_5_6_a_session_without_data_in_another_table_is_named_or_refused(
    database: Database,
) -> None:
    seed: JsonObject = {"component_id": "archivist", "data": None}
    seeds = [{"session_id": "s", "other_table": True, **seed}, {"session_id": "s", **seed}]
    query = "db_id=main&table=other_sessions"
    async with opened("2.5.6", "--other-table", database=database, query=query, seeds=seeds) as case:
        before = await case.server.rows()
        if database == "sqlite":
            await case.backend.rename_session("s", "First")
            before["other_sessions"] = (await case.server.rows())["other_sessions"]
            assert (await case.backend.get_session("s")).name == "First"
        else:
            with pytest.raises(Unsupported, match=r"needs agno 2\.6\.7"):
                await case.backend.rename_session("s", "First")
        assert await case.server.rows() == before
