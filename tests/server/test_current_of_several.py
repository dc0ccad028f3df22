"""Which session "current" is with several backends: a hint can lack the backend's name."""

from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import CallToolResult

from mcp_sessions import SessionBackend, create_server, open_backend
from mcp_sessions.server.context import META_KEY
from tests.layers.faulty import FaultyBackend
from tests.support.clients import ALL, text_of


@asynccontextmanager
async def serving(*names: str, **options: Any) -> AsyncGenerator[tuple[Client, dict[str, SessionBackend]]]:
    """Yield a client of a server with these stores."""
    stores: dict[str, SessionBackend] = {name: open_backend() for name in names}
    async with Client(create_server(stores, toolsets=ALL, confirm="off", **options)) as client:
        yield client, stores


async def call(client: Client, hint: str, tool: str, **arguments: Any) -> CallToolResult:
    return await client.call_tool(tool, arguments, meta={META_KEY: hint})


async def test_a_hint_without_a_name_is_looked_for_in_all_backends() -> None:
    async with serving("", "work") as (client, stores):
        for name in ("", "work"):
            session = await stores[name].create_session(name="Mine")
            full_id = f"{name}/{session.id}".removeprefix("/")
            for hint in (session.id, full_id):
                result = await call(client, hint, "rename_session", session_id="current", name="Ours")
                assert result.structured_content is not None
                assert result.structured_content["session_id"] == full_id
                assert result.structured_content["resolved_from"] == "meta"


async def test_a_session_that_was_found_is_marked_in_later_lists() -> None:
    async with serving("one", "two") as (client, stores):
        session = await stores["two"].create_session(name="Mine")
        await stores["one"].create_session(name="Another")
        await call(client, session.id, "get_session", session_id="current")
        result = await call(client, session.id, "list_sessions")
        assert result.structured_content is not None
        marked = [row["id"] for row in result.structured_content["sessions"] if row.get("is_current")]
        assert marked == [f"two/{session.id}"]


async def test_the_current_session_is_not_deleted_even_if_its_hint_has_no_name() -> None:
    async with serving("", "work") as (client, stores):
        session = await stores["work"].create_session(name="Mine")
        for arguments in ({"session_id": "current"}, {"session_id": f"work/{session.id}"}):
            refused = await call(client, session.id, "delete_session", **arguments)
            assert "is the current session, which can't be deleted" in text_of(refused)
        assert (await stores["work"].get_session(session.id)).name == "Mine"


async def test_other_sessions_are_deleted_while_a_backend_that_may_have_the_current_one_is_down() -> None:
    store, down = open_backend(), FaultyBackend(open_backend())
    async with Client(create_server({"": store, "work": down}, toolsets=ALL, confirm="off")) as client:
        current, other = [await store.create_session(name=name) for name in ("Mine", "Other")]
        down.faults.now = "dead"
        deleted = await call(client, "5", "delete_session", session_id=other.id)
        assert not deleted.is_error
        refused = text_of(await call(client, current.id, "delete_session", session_id=current.id))
        assert "is the current session, which can't be deleted" in refused
        refused = text_of(await call(client, "5", "delete_session", session_id="work/5"))
        assert refused.startswith("unavailable: could not look for the current session in work")


@pytest.mark.parametrize(("of_the_session", "of_the_other"), [("", "work"), ("work", "")])
async def test_a_session_that_was_found_stays_current_while_another_backend_is_down(
    of_the_session: str, of_the_other: str
) -> None:
    store, other = open_backend(), FaultyBackend(open_backend())
    async with Client(create_server({of_the_session: store, of_the_other: other}, toolsets=ALL)) as client:
        session = await store.create_session(name="Mine")
        await call(client, session.id, "get_session", session_id="current")
        other.faults.now = "dead"
        renamed = await call(client, session.id, "rename_session", session_id="current", name="Ours")
        assert not renamed.is_error
        assert (await store.get_session(session.id)).name == "Ours"


async def test_a_session_that_is_created_after_its_hint_was_looked_for_is_found() -> None:
    async with serving("", "work") as (client, stores):
        hint = (await stores["work"].create_session(name="Mine")).id
        await stores["work"].delete_session(hint)
        assert (await call(client, hint, "get_session", session_id="current")).is_error
        await stores["work"].restore_session(hint)
        assert not (await call(client, hint, "get_session", session_id="current")).is_error


async def test_a_hint_that_two_backends_have_is_refused_and_both_are_named() -> None:
    first, second = open_backend(), open_backend()
    async with Client(create_server({"one": first, "two": second, "three": first}, toolsets=ALL)) as client:
        session = await first.create_session(name="In both")
        refused = text_of(await call(client, session.id, "get_session", session_id="current"))
        assert refused.startswith(f'invalid: the current session "{session.id}" may be "one/')
        assert f'"one/{session.id}" or "three/{session.id}"' in refused


async def test_a_hint_at_somebody_elses_session_finds_nothing() -> None:
    async with serving("", "work", user="ada") as (client, stores):
        theirs = await stores["work"].create_session(name="Secret")
        answer = text_of(await call(client, theirs.id, "get_session", session_id="current"))
        assert answer.startswith(f'not_found: no session "{theirs.id}". Call list_sessions for valid ids.')
