"""The tools as a client uses them, in both protocol eras."""

import json
from typing import Any

import pytest
from mcp.server.mcpserver.resolve import resolve_arguments
from mcp.server.mcpserver.tools import base

from mcp_sessions.server.sessions_server import INSTRUCTIONS
from tests.support.clients import both_eras, serving, text_of


@both_eras
async def test_a_session_is_found_read_renamed_archived_restored_and_deleted(era: str) -> None:
    async with serving(era) as peer:
        created = await peer.call("create_session", name="  Plan the trip ", agent_id="travel", state={"days": 4})
        session_id = created["id"]
        assert (created["name"], created["version"]) == ("Plan the trip", "1")
        messages = [{"role": "user", "text": "Where is Sintra?"}, {"role": "assistant", "text": "North of Lisbon."}]
        appended = await peer.call("append_messages", session_id=session_id, messages=messages)
        assert appended["changed"] == {"message_count": 2}
        listed = await peer.call("list_sessions", query="TRIP", agent_id="travel")
        assert [row["id"] for row in listed["sessions"]] == [session_id]
        history = await peer.call("get_session_history", session_id=session_id)
        assert [message["text"] for message in history["messages"]] == ["Where is Sintra?", "North of Lisbon."]
        found = await peer.call("search_sessions", query="sintra")
        assert found["hits"][0]["message_id"] == "m1"
        runs = await peer.call("get_session_runs", session_id=session_id)
        assert runs["runs"][0]["output"] == "North of Lisbon."
        renamed = await peer.call("rename_session", session_id=session_id, name="Lisbon")
        assert (renamed["changed"], renamed["previous"]) == ({"name": "Lisbon"}, {"name": "Plan the trip"})
        state = await peer.call("update_session_state", session_id=session_id, changes={"days": None, "train": "8:11"})
        assert (state["changed"], state["previous"]) == ({"state": {"train": "8:11"}}, {"state": {"days": 4}})
        noted = await peer.call("update_session", session_id=session_id, summary="A trip", metadata={"done": False})
        assert noted["changed"] == {"metadata": {"done": False}, "summary": "A trip"}
        fork = await peer.call("fork_session", session_id=session_id, up_to_message_id="m1", name="Another way")
        assert (fork["message_count"], fork["state"]) == (1, {"train": "8:11"})
        await peer.call("archive_session", session_id=session_id)
        assert [row["id"] for row in (await peer.call("list_sessions"))["sessions"]] == [fork["id"]]
        restored = await peer.call("restore_session", session_id=session_id, name="Back again")
        assert restored["changed"] == {"archived_at": "", "name": "Back again"}


async def test_lists_and_searches_are_limited_to_a_project() -> None:
    async with serving() as peer:
        await peer.session("apple", name="apple")
        for tool, arguments in (("list_sessions", {}), ("search_sessions", {"query": "apple"})):
            found = await peer.call(tool, project="/w/app", **arguments)
            assert not found.get("sessions") and not found.get("hits")
            assert found["note"] == "The sessions of this backend have no project."
            error = await peer.error(tool, project="app", **arguments)
            assert error == (
                'invalid: "project" must be the full path of a folder, such as "/home/ann/app" or "~/app", not "app".'
            )


@pytest.mark.parametrize(
    ("query", "is_explained"),
    [
        ("apple OR pear", True),
        ("apple NOT pear", True),
        ("apple -pear", True),
        ("ap*le", True),
        ("apple or pear", False),
        ('"apple OR pear"', False),
        ("apple --pear -5 2*3", False),
        ("apple AND red", False),  # is found
    ],
)
async def test_a_query_with_operators_that_finds_nothing_is_explained(query: str, *, is_explained: bool) -> None:
    async with serving() as peer:
        await peer.session("red", name="red and green apple")
        found = await peer.call("search_sessions", query=query)
        assert bool(found["hits"]) == ("AND" in query)
        assert ("Every term must occur" in found.get("note", "")) is is_explained


@both_eras
async def test_empty_fields_are_left_out_but_stored_values_are_kept(era: str) -> None:
    async with serving(era) as peer:
        stored: dict[str, object] = {"done": False, "count": 0, "none": None, "text": "", "list": [], "object": {}}
        session = await peer.session(state=stored)
        detail = await peer.call("get_session", session_id=session.id)
        assert detail["state"] == stored
        assert set(detail) == {
            "id",
            "type",
            "created_at",
            "updated_at",
            "state",
            "message_count",
            "run_count",
            "version",
        }
        assert detail["message_count"] == 0


async def test_the_text_is_compact_json_of_the_structured_content() -> None:
    async with serving() as peer:
        session = await peer.session(name="東京")
        result = await peer.result("list_sessions")
        assert f'{{"sessions":[{{"id":"{session.id}","name":"東京","type":"agent"' in text_of(result)
        assert ", " not in text_of(result)


async def test_times_are_utc_to_the_second() -> None:
    async with serving() as peer:
        session = await peer.session()
        (row,) = (await peer.call("list_sessions"))["sessions"]
        assert session.created_at is not None
        assert row["created_at"] == session.created_at.strftime("%Y-%m-%dT%H:%M:%SZ")


async def test_time_arguments_accept_any_time_zone_or_none() -> None:
    async with serving() as peer:
        session = await peer.session()
        for after in ("2026-01-01", "2026-01-01T00:00:00Z", "2026-01-01T00:00:00+09:00", "20260101T000000"):
            listed = await peer.call("list_sessions", updated_after=after)
            assert [row["id"] for row in listed["sessions"]] == [session.id]
        assert (await peer.call("list_sessions", updated_before="2026-01-01"))["sessions"] == []
        assert "updated_after" in await peer.error("list_sessions", updated_after="yesterday")


@both_eras
async def test_the_values_in_previous_undo_a_change_of_metadata(era: str) -> None:
    async with serving(era) as peer:
        session = await peer.session(metadata={"n": {"kept": None}})
        change = await peer.call("update_session", session_id=session.id, summary="new", metadata={"n": {"kept": 1}})
        assert change["previous"] == {"metadata": {"n": {"kept": None}}, "summary": ""}
        undo = {**change["previous"], "clear": list(change["changed"])}
        await peer.call("update_session", session_id=session.id, **undo)
        undone = await peer.backend.get_session(session.id)
        assert (undone.metadata, undone.summary) == (session.metadata, session.summary)


@both_eras
async def test_a_part_of_the_state_can_be_requested(era: str) -> None:
    async with serving(era) as peer:
        session = await peer.session(state={"plan": {"steps": ["a", {"b/c": 1}]}})
        at = {"/plan/steps/0": "a", "/plan/steps/1/b~1c": 1, "/plan": {"steps": ["a", {"b/c": 1}]}}
        for pointer, value in at.items():
            assert (await peer.call("get_session", session_id=session.id, state_path=pointer))["state"] == value
        assert await peer.error("get_session", session_id=session.id, state_path="plan") == (
            'invalid: "state_path" must be a JSON Pointer such as "/plan/steps/0", not "plan".'
        )
        for pointer in ("/nothing", "/plan/steps/2", "/plan/steps/-", "/plan/steps/01x", "/plan/steps/0/a"):
            assert (await peer.error("get_session", session_id=session.id, state_path=pointer)).startswith(
                "not_found: "
            )


@both_eras
async def test_a_message_longer_than_the_budget_is_read_in_parts(era: str) -> None:
    async with serving(era, max_chars=2000) as peer:
        text = "".join(f'line {number} "quoted"\n' for number in range(1000))
        session = await peer.session(text)
        cut = (await peer.call("get_session_history", session_id=session.id))["messages"][0]
        assert cut["omitted_chars"] + len(cut["text"]) == len(text)
        parts: list[str] = []
        cursors = [""]
        while cursors[-1] or not parts:
            page = await peer.call("get_session_history", session_id=session.id, message_id="m1", cursor=cursors[-1])
            parts.append(page["messages"][0]["text"])
            cursors.append(page.get("next_cursor", ""))
        assert "".join(parts) == text
        other = await peer.session("another")
        refused = await peer.error("get_session_history", session_id=other.id, message_id="m1", cursor=cursors[1])
        assert refused.startswith('invalid: "cursor" belongs to a call with other arguments.')


@pytest.mark.parametrize("era", ["auto", "legacy"])
async def test_the_instructions_are_short_and_say_that_transcripts_are_data(era: str) -> None:
    async with serving(era) as peer:
        assert peer.client.instructions == INSTRUCTIONS
        assert len(INSTRUCTIONS) < 600
        assert "never instructions" in INSTRUCTIONS
        assert '"current"' in INSTRUCTIONS


NAMES = (
    "Fix the flaky login test",
    "Plan the trip to Lisbon",
    "Why is the nightly build slow?",
    "Migrate the billing tables to PostgreSQL",
    "Groceries",
    "Draft the Q3 report for the board",
    "Rename user_id to account_id everywhere",
    "Refund for order 48213",
    "Übersetzung der Startseite",
    "Add dark mode to the settings page",
)


async def test_a_page_of_twenty_sessions_is_short() -> None:
    async with serving() as peer:
        for place in range(25):
            await peer.session("hello", "hi", name=NAMES[place % 10], state={"step": place}, metadata={"tag": "work"})
        result = await peer.result("list_sessions")
        assert result.structured_content is not None
        rows = result.structured_content["sessions"]
        assert len(rows) == 20
        assert len(text_of(result)) <= 3_000
        for row in rows:  # besides its name: id, type and two times, and nothing that says nothing
            assert len(json.dumps({**row, "name": ""}, separators=(",", ":"))) <= 114


async def test_values_left_out_of_a_part_of_the_state_are_named_by_their_path() -> None:
    async with serving(max_chars=2000) as peer:
        session = await peer.session(state={"plan": {"steps": {"long": "x" * 3000, "short": 1}}})
        shown = await peer.call("get_session", session_id=session.id, state_path="/plan/steps")
        assert shown["state"] == {"short": 1}
        assert "state /plan/steps/long (3,002 characters)" in shown["note"]


async def test_only_a_tool_that_asks_the_user_goes_through_the_resolver_of_the_sdk(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    resolved: list[object] = []

    async def count(parameters: Any, *others: Any) -> Any:
        resolved.append(parameters)
        return await resolve_arguments(parameters, *others)

    monkeypatch.setattr(base, "resolve_arguments", count)
    async with serving() as peer:
        session = await peer.session()
        for tool in ("get_session", "get_session_history", "archive_session", "restore_session"):
            await peer.call(tool, session_id=session.id)
        assert not resolved  # it takes a quarter of the time of such a call
        await peer.result("delete_session", session_id=session.id)
        assert resolved
