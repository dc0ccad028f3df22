"""Bad input in every parameter of every tool: a clear error, and nothing changes."""

import sqlite3
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.models import SessionFilter
from mcp_sessions.tools import TOOLSETS
from tests.support.clients import Peer, both_eras, serving

GOOD: dict[str, dict[str, Any]] = {
    "list_sessions": {},
    "get_session": {},
    "search_sessions": {"query": "hello"},
    "create_session": {},
    "rename_session": {"name": "new"},
    "archive_session": {},
    "restore_session": {},
    "delete_session": {},
    "get_session_history": {},
    "get_session_runs": {},
    "update_session_state": {"changes": {"a": 1}},
    "update_session": {"metadata": {"a": "new"}},
    "apply_to_sessions": {"action": "archive", "dry_run": False},
    "append_messages": {"messages": [{"role": "user", "text": "new"}]},
    "fork_session": {},
}
"""Arguments with which each tool would do something, but for the session."""


def nested(depth: int) -> dict[str, Any]:
    return {"deeper": nested(depth - 1)} if depth else {}


STRANGE: list[Any] = [
    *(None, 5, 1.5, True, -1, 10**30, float("nan")),
    *("", "absent", "x" * 600, "\0", "\ud800", "../..", "%2e%2e", "'; DROP TABLE sessions; --", '"', "*", "current"),
    *([], ["x"], [None], [{}], {}, {"a": "\ud800"}, nested(70)),
]


def cells() -> list[tuple[str, str]]:
    return [(tool, parameter) for tool in GOOD for parameter in PARAMETERS[tool]]


PARAMETERS = {
    "list_sessions": [
        "query",
        "project",
        "type",
        "agent_id",
        "archived",
        "updated_after",
        "updated_before",
        "order",
        "limit",
        "cursor",
    ],
    "get_session": ["session_id", "state_path"],
    "search_sessions": ["query", "project", "limit", "cursor"],
    "create_session": ["name", "type", "agent_id", "state", "metadata"],
    "rename_session": ["session_id", "name"],
    "archive_session": ["session_id"],
    "restore_session": ["session_id", "name"],
    "delete_session": ["session_id", "confirm"],
    "get_session_history": ["session_id", "limit", "cursor", "around", "roles", "include_tools", "message_id"],
    "get_session_runs": ["session_id", "run_id", "limit", "cursor"],
    "update_session_state": ["session_id", "changes", "mode", "expected_version"],
    "update_session": ["session_id", "metadata", "summary", "clear", "expected_version"],
    "apply_to_sessions": ["action", "session_ids", "dry_run", "confirm"],
    "append_messages": ["session_id", "messages"],
    "fork_session": ["session_id", "up_to_message_id", "name"],
}


async def everything(peer: Peer) -> object:
    """Return everything that is stored and that the tools can see."""
    found: list[object] = []
    for archived in (False, True):
        page = await peer.backend.list_sessions(SessionFilter(archived=archived), limit=100)
        for row in page.sessions:
            found += [await peer.backend.get_session(row.id), await peer.backend.get_session_history(row.id)]
    return found


def changes_of(path: Path) -> Iterator[int]:
    """Yield a number that differs from the last one if anybody has changed the store since."""
    with closing(sqlite3.connect(path)) as connection:
        while True:
            yield connection.execute("PRAGMA data_version").fetchone()[0]


def good_arguments(tool: str, session_id: str) -> dict[str, Any]:
    arguments = dict(GOOD[tool])
    if "session_id" in PARAMETERS[tool]:
        arguments["session_id"] = session_id
    if tool == "apply_to_sessions":
        arguments["session_ids"] = [session_id]
    return arguments


async def test_the_table_has_every_parameter() -> None:
    async with serving() as peer:
        listed = {tool.name: list(tool.input_schema["properties"]) for tool in (await peer.client.list_tools()).tools}
    assert {name: set(parameters) for name, parameters in listed.items()} == {
        name: set(parameters) for name, parameters in PARAMETERS.items()
    }
    assert {spec.name for toolset in TOOLSETS for spec in toolset.specs} == set(GOOD)


@pytest.mark.parametrize(("tool", "parameter"), cells(), ids=lambda value: value)
async def test_an_invalid_value_is_named_in_the_error_and_changes_nothing(
    tool: str, parameter: str, path: Path
) -> None:
    """Each strange value is either taken for what it says, or refused in our words without any effect."""
    async with serving(url=f"sqlite:///{path}") as peer:
        session, refused = await peer.session("hello", name="here", state={"kept": 1}), 0
        changes = changes_of(path)
        for value in STRANGE:
            before = next(changes)
            result = await peer.result(tool, **{**good_arguments(tool, session.id), parameter: value})
            if not result.is_error:
                session = await peer.session("hello", name="here", state={"kept": 1})
                assert next(changes) != before
                continue
            refused += 1
            (text,) = [getattr(block, "text", "") for block in result.content]
            code = text.partition(":")[0]
            assert code in ("invalid", "not_found", "conflict", "confirmation_required"), text
            assert "\n" not in text
            assert len(text) < 900
            for leak in ("pydantic", "http", "Traceback", "sqlite", "SELECT"):
                assert leak not in text
            assert next(changes) == before
        assert refused > 5


@both_eras
@pytest.mark.parametrize("tool", GOOD)
async def test_the_error_about_an_unknown_argument_names_it_and_the_allowed_ones(era: str, tool: str) -> None:
    async with serving(era) as peer:
        session = await peer.session("hello")
        before = await everything(peer)
        for name in ("sesion_id", "backend", "user_id", "target", "confirmed", "x" * 200):
            error = await peer.error(tool, **{**good_arguments(tool, session.id), name: "x"})
            assert error.startswith(f'invalid: unknown argument "{name[:80]}')
            assert error.endswith(f"Allowed arguments: {', '.join(await parameters_of(peer, tool))}.")
        assert await everything(peer) == before


async def parameters_of(peer: Peer, name: str) -> list[str]:
    (tool,) = [tool for tool in (await peer.client.list_tools()).tools if tool.name == name]
    return list(tool.input_schema["properties"])


@both_eras
@pytest.mark.parametrize("tool", [tool for tool in GOOD if tool not in ("list_sessions", "create_session")])
async def test_the_error_about_a_missing_argument_names_it(era: str, tool: str) -> None:
    async with serving(era) as peer:
        assert " is missing. Give " in await peer.error(tool)


async def test_null_means_that_an_argument_is_left_out() -> None:
    async with serving() as peer:
        session = await peer.session("hello")
        assert len((await peer.call("list_sessions", type=None, limit=None, order=None))["sessions"]) == 1
        assert " is missing. Give " in await peer.error("rename_session", session_id=session.id, name=None)


@both_eras
@pytest.mark.parametrize("tool", GOOD)
async def test_an_empty_string_means_that_an_optional_argument_is_left_out(era: str, tool: str) -> None:
    """Models in strict mode must send every parameter, and send "" for what they don't mean."""
    async with serving(era, confirm="off") as peer:
        (shown,) = [shown for shown in (await peer.client.list_tools()).tools if shown.name == tool]
        required = shown.input_schema.get("required", ())
        properties = shown.input_schema["properties"].items()
        empty = {name: "" for name, schema in properties if schema["type"] == "string" and name not in required}
        session = await peer.session("hello", name="here")
        if tool == "restore_session":
            await peer.backend.archive_session(session.id)
        result = await peer.call(tool, **{**empty, **good_arguments(tool, session.id)})
        assert tool != "create_session" or result["type"] == "agent"


async def test_an_empty_string_is_refused_for_a_required_parameter() -> None:
    async with serving() as peer:
        session = await peer.session(name="here")
        assert (await peer.error("get_session", session_id="")).startswith('invalid: "session_id" is empty.')
        assert await peer.error("apply_to_sessions", action="", session_ids=[session.id]) == (
            'invalid: "action" must be "archive" or "restore" or "delete".'
        )
        renamed = await peer.call("rename_session", session_id=session.id, name="")
        assert renamed["changed"] == {"name": ""}


@both_eras
async def test_an_integer_is_accepted_as_a_string_of_digits(era: str) -> None:
    async with serving(era) as peer:
        for number in (0, 123, -7, 2**53 - 1, 1 - 2**53):
            created = await peer.call("create_session", name=number, state={"kept": number})
            assert created["name"] == str(number)
            assert created["state"] == {"kept": number}
            message = {"role": "user", "text": number}
            await peer.call("append_messages", session_id=created["id"], messages=[message])
            read = await peer.call("get_session_history", session_id=created["id"])
            assert [message["text"] for message in read["messages"]] == [str(number)]
        assert await peer.error("get_session", session_id=123) == await peer.error("get_session", session_id="123")
        result = await peer.call("apply_to_sessions", action="archive", session_ids=[5, "5"], dry_run=False)
        assert {row["session_id"] for row in result["failed"]} == {"5"}


@both_eras
@pytest.mark.parametrize("value", [True, 1.0, 1.5, 2**53, -(2**53), 10**30])
async def test_numbers_with_several_spellings_are_refused_as_strings(era: str, value: object) -> None:
    async with serving(era) as peer:
        session = await peer.session(name="here")
        assert await peer.error("rename_session", session_id=session.id, name=value) == (
            'invalid: "name" must be a string.'
        )
        assert await peer.error("apply_to_sessions", action="archive", session_ids=[value]) == (
            'invalid: "session_ids[0]" must be a string.'
        )
        assert await peer.backend.get_session(session.id) == session


async def test_errors_about_limits_say_the_limits() -> None:
    async with serving() as peer:
        session = await peer.session()
        assert await peer.error("list_sessions", limit=101) == 'invalid: "limit" must be a whole number from 1 to 100.'
        assert await peer.error("append_messages", session_id=session.id, messages=[]) == (
            'invalid: "messages" must be a list of 1 to 100.'
        )
        assert await peer.error("append_messages", session_id=session.id, messages=[{"role": "user"}]) == (
            'invalid: "messages[0].text" is missing. Give a string with at least 1 character.'
        )
        assert await peer.error("append_messages", session_id=session.id, messages=[{"role": "user", "text": ""}]) == (
            'invalid: "messages[0].text" must be a string with at least 1 character.'
        )
        assert await peer.error("get_session_history", session_id=session.id, roles=["robot"]) == (
            'invalid: "roles[0]" must be "system" or "user" or "assistant" or "tool".'
        )
        strange = {"role": "user", "text": "x", "mood": "good"}
        assert await peer.error("append_messages", session_id=session.id, messages=[strange]) == (
            'invalid: "messages[0].mood" is unknown. Leave it out.'
        )


@both_eras
async def test_the_error_about_an_unknown_tool_names_the_offered_ones(era: str) -> None:
    async with serving(era, toolsets=("history",)) as peer:
        assert await peer.error("delete_session", session_id="x") == (
            'invalid: there is no tool "delete_session". Available tools: get_session_history, get_session_runs.'
        )
