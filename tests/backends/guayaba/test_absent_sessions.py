"""No change is sent for an absent session: Guayaba might create it, or take it for another."""

from collections.abc import Awaitable, Callable
from dataclasses import replace

import anyio
import pytest

from mcp_sessions.models import SessionFilter

from ...support.covering_pairs import covering_pairs
from ...support.faked_guayaba import (
    KEY,
    OLD,
    Operation,
    Tools,
    archived_id,
    everything,
    faked,
    on,
    outcome,
    posts,
    served,
)
from ...support.fakes.guayaba import MAIN, READINGS, FakeGuayaba, Fault
from ...support.fakes.guayaba.seeds import row

UPSERTING = replace(READINGS["default"], unknown_key="upserts", trims=True, main_when_removed="anew")
CALLS: dict[str, Callable[[Tools, str], Awaitable[str]]] = {
    "rename_session": lambda tools, given: tools.error("rename_session", session_id=given, name="New"),
    "archive_session": lambda tools, given: tools.error("archive_session", session_id=given),
    "restore_session": lambda tools, given: tools.error("restore_session", session_id=given),
    "restore_session, renamed": lambda tools, given: tools.error("restore_session", session_id=given, name="New"),
    "delete_session": lambda tools, given: tools.error("delete_session", session_id=given),
    "get_session_history": lambda tools, given: tools.error("get_session_history", session_id=given),
    "get_session": lambda tools, given: tools.error("get_session", session_id=given),
}
UNKNOWN = (
    "agent:main:api:none",
    "api:trip",
    KEY.upper(),
    f"{KEY} ",
    f" {KEY}",
    f"{KEY}\u200b",
    "../sessions",
    "archived-000000000000",
    f"{OLD}.jsonl",
    "*",
)


ON_UNKNOWN_KEYS = {"default": READINGS["default"], "other": READINGS["other"], "upserting": UPSERTING}


@pytest.mark.parametrize(
    ("name", "reading"),
    covering_pairs(CALLS, ON_UNKNOWN_KEYS, typical_operations=["rename_session"], typical_faults=["upserting"]),
)
async def test_an_unknown_id_is_refused_before_anything_is_sent(name: str, reading: str) -> None:
    async with FakeGuayaba(ON_UNKNOWN_KEYS[reading]) as fake:
        one, two, _ = fake.agents
        fake.add_session(one, row(KEY, fake.new_id()))
        fake.add_session(two, row("agent:main:api:of-two", fake.new_id()))
        filename = fake.add_archive(two, row(OLD, fake.new_id())).filename
        before = everything(fake)
        async with on(fake, fake.agent_key(two)) as backend:
            handle = await archived_id(backend)
        strangers = (*UNKNOWN, filename, handle, "agent:main:api:of-two", f"{two.id}/agent:main:api:of-two")
        async with served(fake, fake.agent_key(one), query=f"?agent={one.id}") as tools:
            for id in strangers:
                assert (await CALLS[name](tools, id)).startswith("not_found: ")
        async with served(fake) as tools:
            for id in (*strangers[:-1], *(f"{one.id}/{id}" for id in strangers), f"{fake.new_id()}/{KEY}"):
                assert (await CALLS[name](tools, id)).startswith("not_found: ")
            assert (await CALLS[name](tools, f"{fake.foreign_agent.id}/{KEY}"))[:9] in ("not_found", "forbidden")
        assert [request for request in fake.requests if request.method != "GET"] == []
        assert everything(fake) == before


@pytest.mark.parametrize("name", CALLS)
async def test_without_a_current_session_no_request_is_sent(name: str) -> None:
    async with FakeGuayaba() as fake, served(fake) as tools:
        assert (await CALLS[name](tools, "current")).startswith("invalid: ")
        assert (await CALLS[name](tools, "")).startswith("invalid: ")
        assert fake.requests == []


async def test_the_id_of_an_archived_session_is_unknown_after_restore_or_deletion() -> None:
    async with faked() as (fake, backend):
        id = await archived_id(backend)
        change = await backend.restore_session(id)
        sent = len(posts(fake))
        for operation in (
            backend.restore_session,
            backend.delete_session,
            backend.archive_session,
            backend.get_session,
        ):
            assert await outcome(lambda _, run=operation: run(id), backend) == "not_found"
        assert (len(posts(fake)), change.session_id) == (sent, OLD)


@pytest.mark.parametrize("second", ["rename", "archive", "delete"])
@pytest.mark.parametrize("first", ["archive", "delete"])
async def test_a_session_that_another_call_just_removed_is_not_sent_again(first: str, second: str) -> None:
    """Else a system that upserts would create the session, and one that starts a new session would lose that one."""
    runs: dict[str, Operation] = {
        "rename": lambda backend: backend.rename_session(MAIN, "New"),
        "archive": lambda backend: backend.archive_session(MAIN),
        "delete": lambda backend: backend.delete_session(MAIN),
    }
    async with FakeGuayaba(replace(UPSERTING, main_when_removed="gone")) as fake:
        agent = fake.agents[0]
        fake.add_session(agent, row(MAIN, fake.new_id()))
        held = fake.fail_next(Fault("hold", method="POST"))
        codes: dict[str, str] = {}
        async with on(fake, fake.agent_key(agent), query=f"?agent={agent.id}") as backend:

            async def run(number: str, name: str) -> None:
                codes[number] = await outcome(runs[name], backend)

            with anyio.fail_after(5):
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(run, "first", first)
                    await held.entered.wait()
                    tasks.start_soon(run, "second", second)
                    await anyio.wait_all_tasks_blocked()
                    held.released.set()
        assert codes == {"first": "", "second": "not_found"}
        assert (len(fake.sent_changes), agent.sessions) == (1, [])


INVISIBLE = (" ", "\u3000", "\n", "\ufeff", "\u200b", "\ud83d")
ON_ACTIVE_SESSIONS = ("rename_session", "archive_session", "delete_session", "get_session_history")


@pytest.mark.parametrize(
    ("name", "odd"),
    covering_pairs(ON_ACTIVE_SESSIONS, INVISIBLE, typical_operations=["rename_session"], typical_faults=["\u200b"]),
)
async def test_a_session_key_that_may_match_another_session_is_never_sent(name: str, odd: str) -> None:
    async with FakeGuayaba(UPSERTING) as fake:
        agent = fake.agents[0]
        for key in (KEY, KEY + odd):
            fake.add_session(agent, row(key, fake.new_id()))
        before = everything(fake)
        async with served(fake, fake.agent_key(agent), query=f"?agent={agent.id}") as tools:
            listed = await tools.backend.list_sessions(SessionFilter())
            (id,) = (session.id for session in listed.sessions if session.id != KEY)
            assert (await CALLS[name](tools, id)).startswith("unsupported: ")
        assert ([request for request in fake.requests if request.method != "GET"], everything(fake)) == ([], before)


async def test_a_read_only_server_sends_no_changes() -> None:
    async with FakeGuayaba() as fake:
        agent = fake.agents[0]
        fake.add_session(agent, row(KEY, fake.new_id()))
        fake.add_archive(agent, row(OLD, fake.new_id()))
        async with served(fake, read_only=True) as tools:
            offered = {tool.name for tool in (await tools.client.list_tools()).tools}
            assert offered == {"list_sessions", "get_session", "search_sessions", "get_session_history"}
            active, archived = *await tools.ids(), *await tools.ids(archived=True)
            await tools.call("get_session", session_id=active)
            await tools.call("get_session_history", session_id=active)
            await tools.call("search_sessions", query="trip")
            for name in ("rename_session", "archive_session", "delete_session", "restore_session"):
                for id in (active, archived):
                    assert (await tools.error(name, session_id=id)).startswith("invalid: ")
            bulk = {"action": "delete", "session_ids": [active, archived], "dry_run": False}
            assert (await tools.error("apply_to_sessions", **bulk)).startswith("invalid: ")
        assert (posts(fake), fake.applied) == ([], [])
