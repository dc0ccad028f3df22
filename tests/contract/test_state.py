"""State, metadata and summary."""

from math import inf, nan
from typing import Literal

import pytest

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import Conflict, Invalid
from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import (
    Clearable,
)

from .harness import Seed, System

STATE, METADATA = Capability.UPDATE_SESSION_STATE, Capability.UPDATE_SESSION


def _nested(depth: int) -> JsonObject:
    value: JsonObject = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


UNSTORABLE: list[Json] = [nan, inf, -inf, "\ud800", "a\udfffb", {"\ud800": 1}, [[nan]], _nested(65)]


@pytest.mark.owes(STATE)
async def test_a_merge_sets_and_removes_keys_and_keeps_the_others(system: System) -> None:
    session_id = await system.seed_one(Seed(state={"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]}))
    change = await system.backend.update_session_state(session_id, {"b": {"c": None, "f": 4}, "e": [3], "g": "x"})
    expected = {"a": 1, "b": {"d": 3, "f": 4}, "e": [3], "g": "x"}
    session = await system.backend.get_session(session_id)
    assert session.state == expected
    assert change.changed == {"state": expected}
    assert change.previous == {"state": {"a": 1, "b": {"c": 2, "d": 3}, "e": [1, 2]}}
    assert change.version == session.version


@pytest.mark.owes(STATE)
async def test_a_replacement_removes_the_whole_old_state(system: System) -> None:
    session_id = await system.seed_one(Seed(state={"a": 1, "b": {"c": 2}}))
    change = await system.backend.update_session_state(session_id, {"b": {"d": None}}, mode="replace")
    assert (await system.backend.get_session(session_id)).state == {"b": {"d": None}}
    assert change.changed == {"state": {"b": {"d": None}}}
    assert change.previous == {"state": {"a": 1, "b": {"c": 2}}}
    await system.backend.update_session_state(session_id, {}, mode="replace")
    assert (await system.backend.get_session(session_id)).state == {}


@pytest.mark.owes(STATE)
async def test_merging_the_previous_values_undoes_a_merge(system: System) -> None:
    state = {"a": {"b": [1, {"c": 2}]}, "d": "e", "f": False, "g": 0}
    session_id = await system.seed_one(Seed(state=state))
    change = await system.backend.update_session_state(session_id, {"a": {"b": 1}, "d": None, "f": {"g": 1}})
    await system.backend.update_session_state(session_id, change.previous["state"], mode="replace")
    assert (await system.backend.get_session(session_id)).state == state


@pytest.mark.owes(STATE)
async def test_state_is_returned_exactly_as_it_was_stored(system: System) -> None:
    state: JsonObject = {
        "floats": [0.1, 1e22, 1e-7, -0.5, -0.0, 1.7976931348623157e308, 5e-324],
        "integers": [0, -1, 2**31, 2**53, -(2**53)],
        "texts": ["", " ", "\t\n", "é", "e\u0301", "\u202e", "😀", "東京", "\x7f", "'\"\\/", "<b>&amp;"],
        "others": [True, False, [], {}, [[]], {"": {"": ""}}],
        "keys": {"a b": 1, "/~": 2, "ключ": 3, "__proto__": 4},
    }
    session_id = await system.seed_one(Seed())
    await system.backend.update_session_state(session_id, state)
    found = (await system.backend.get_session(session_id)).state
    # PostgreSQL's jsonb writes large numbers as integers, without exponents. In JSON, these are the same numbers.
    assert {**found, "floats": [float(number) for number in found["floats"]]} == state


@pytest.mark.owes(STATE)
async def test_a_control_character_in_state_is_kept(system: System) -> None:
    session_id = await system.seed_one(Seed())
    await system.backend.update_session_state(session_id, {"text": "\x1b[31mred"})
    assert (await system.backend.get_session(session_id)).state == {"text": "\x1b[31mred"}


@pytest.mark.owes(STATE)
async def test_a_stale_version_is_a_conflict_and_changes_nothing(system: System) -> None:
    session_id = await system.seed_one(Seed(state={"a": 1}))
    seen = (await system.backend.get_session(session_id)).version
    change = await system.backend.update_session_state(session_id, {"a": 2}, expected_version=seen)
    assert change.version != seen
    before = await system.snapshot(session_id)
    for stale in (seen, "0", "nonsense", f"{change.version} "):
        with pytest.raises(Conflict):
            await system.backend.update_session_state(session_id, {"a": 3}, expected_version=stale)
    assert await system.snapshot(session_id) == before
    await system.backend.update_session_state(session_id, {"a": 3}, expected_version=change.version)
    assert (await system.backend.get_session(session_id)).state == {"a": 3}


@pytest.mark.owes(STATE)
@pytest.mark.parametrize("mode", ["merge", "replace"])
async def test_a_state_that_cannot_be_stored_is_invalid_and_changes_nothing(
    system: System, mode: Literal["merge", "replace"]
) -> None:
    session_id = await system.seed_one(Seed(state={"a": 1}))
    before = await system.snapshot(session_id)

    async def assert_is_invalid(value: Json) -> None:
        with pytest.raises(Invalid, match=r"changes|state"):
            await system.backend.update_session_state(session_id, {"b": value}, mode=mode)

    for value in UNSTORABLE:
        await assert_is_invalid(value)
    assert await system.snapshot(session_id) == before


@pytest.mark.owes(METADATA)
async def test_metadata_is_merged_and_null_removes_a_key(system: System) -> None:
    session_id = await system.seed_one(Seed(metadata={"a": 1, "b": {"c": 2, "d": 3}}))
    change = await system.backend.update_session(session_id, metadata={"a": None, "b": {"c": None}, "e": [4]})
    session = await system.backend.get_session(session_id)
    assert session.metadata == {"b": {"d": 3}, "e": [4]}
    assert change.changed == {"metadata": session.metadata}
    assert change.previous == {"metadata": {"a": 1, "b": {"c": 2, "d": 3}}}
    assert change.version == session.version


@pytest.mark.owes(METADATA)
async def test_a_summary_can_be_set_and_replaced(system: System) -> None:
    session_id = await system.seed_one(Seed(metadata={"a": 1}))
    first = await system.backend.update_session(session_id, summary="It began.")
    assert (first.changed, first.previous) == ({"summary": "It began."}, {"summary": ""})
    second = await system.backend.update_session(session_id, summary="It went on.")
    assert second.previous == {"summary": "It began."}
    session = await system.backend.get_session(session_id)
    assert (session.summary, session.metadata) == ("It went on.", {"a": 1})


@pytest.mark.owes(METADATA)
@pytest.mark.parametrize(
    ("clear", "summary", "metadata"),
    [(["summary"], "", {"a": 1}), (["metadata"], "Old", {}), (["summary", "metadata"], "", {})],
)
async def test_the_fields_named_in_clear_are_cleared(
    system: System, clear: list[Clearable], summary: str, metadata: JsonObject
) -> None:
    session_id = await system.seed_one(Seed(metadata={"a": 1}))
    await system.backend.update_session(session_id, summary="Old")
    change = await system.backend.update_session(session_id, clear=clear)
    session = await system.backend.get_session(session_id)
    assert (session.summary, session.metadata) == (summary, metadata)
    assert set(change.previous) == set(clear)


@pytest.mark.owes(METADATA)
async def test_clearing_comes_before_setting(system: System) -> None:
    session_id = await system.seed_one(Seed(metadata={"a": 1}))
    change = await system.backend.update_session(
        session_id, clear=["metadata", "summary"], metadata={"b": 2}, summary="New"
    )
    session = await system.backend.get_session(session_id)
    assert (session.summary, session.metadata) == ("New", {"b": 2})
    assert change.previous == {"summary": "", "metadata": {"a": 1}}


@pytest.mark.owes(METADATA)
async def test_an_update_without_changes_is_invalid(system: System) -> None:
    session_id = await system.seed_one(Seed())
    before = await system.snapshot(session_id)
    with pytest.raises(Invalid):
        await system.backend.update_session(session_id)
    assert await system.snapshot(session_id) == before


@pytest.mark.owes(METADATA)
async def test_metadata_that_cannot_be_stored_is_invalid_and_changes_nothing(system: System) -> None:
    session_id = await system.seed_one(Seed(metadata={"a": 1}))
    before = await system.snapshot(session_id)

    async def assert_is_invalid(value: Json) -> None:
        with pytest.raises(Invalid, match="metadata"):
            await system.backend.update_session(session_id, metadata={"b": value}, summary="New")

    for value in UNSTORABLE:
        await assert_is_invalid(value)
    assert await system.snapshot(session_id) == before


@pytest.mark.owes(METADATA)
async def test_changing_metadata_with_a_stale_version_is_a_conflict(system: System) -> None:
    session_id = await system.seed_one(Seed())
    seen = (await system.backend.get_session(session_id)).version
    await system.backend.update_session(session_id, metadata={"a": 1}, expected_version=seen)
    before = await system.snapshot(session_id)
    with pytest.raises(Conflict):
        await system.backend.update_session(session_id, metadata={"a": 2}, expected_version=seen)
    assert await system.snapshot(session_id) == before
