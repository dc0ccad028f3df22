"""State is merged as RFC 7396 says and returned unchanged, and `previous` undoes a change."""

import json

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import Json, JsonObject, merge_patch

APPENDIX: list[tuple[Json, Json, Json]] = [
    ({"a": "b"}, {"a": "c"}, {"a": "c"}),
    ({"a": "b"}, {"b": "c"}, {"a": "b", "b": "c"}),
    ({"a": "b"}, {"a": None}, {}),
    ({"a": "b", "b": "c"}, {"a": None}, {"b": "c"}),
    ({"a": ["b"]}, {"a": "c"}, {"a": "c"}),
    ({"a": "c"}, {"a": ["b"]}, {"a": ["b"]}),
    ({"a": {"b": "c"}}, {"a": {"b": "d", "c": None}}, {"a": {"b": "d"}}),
    ({"a": [{"b": "c"}]}, {"a": [1]}, {"a": [1]}),
    (["a", "b"], ["c", "d"], ["c", "d"]),
    ({"a": "b"}, ["c"], ["c"]),
    ({"a": "foo"}, None, None),
    ({"a": "foo"}, "bar", "bar"),
    ({"e": None}, {"a": 1}, {"e": None, "a": 1}),
    ([1, 2], {"a": "b", "c": None}, {"a": "b"}),
    ({}, {"a": {"bb": {"ccc": None}}}, {"a": {"bb": {}}}),
]
"""https://www.rfc-editor.org/rfc/rfc7396#appendix-A: original, patch, result."""

OF_OBJECTS = [case for case in APPENDIX if isinstance(case[0], dict) and isinstance(case[1], dict)]

# Text without halves of surrogate pairs; floats and integers as JSON has them.
texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=8)
numbers = st.integers(-(2**1023), 2**1023) | st.floats(allow_nan=False, allow_infinity=False)
values = st.recursive(
    st.none() | st.booleans() | numbers | texts,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(texts, inner, max_size=4),
    max_leaves=12,
)
objects = st.dictionaries(texts, values, max_size=5)


def _exactly(value: Json) -> str:
    """Return JSON text that differs for 1 and 1.0, for 0.0 and -0.0, and for another order of keys."""
    return json.dumps(value)


@pytest.mark.parametrize(("original", "patch", "result"), APPENDIX, ids=range(len(APPENDIX)))
def test_a_merge_follows_rfc_7396(original: Json, patch: Json, result: Json) -> None:
    before = _exactly((original, patch))
    assert _exactly(merge_patch(original, patch)) == _exactly(result)
    assert _exactly((original, patch)) == before


@pytest.mark.parametrize(("original", "patch", "result"), OF_OBJECTS, ids=range(len(OF_OBJECTS)))
async def test_state_and_metadata_are_merged_as_in_rfc_7396(
    store: SessionBackend, original: JsonObject, patch: JsonObject, result: JsonObject
) -> None:
    session = await store.create_session(state=original, metadata=original)
    await store.update_session_state(session.id, patch)
    await store.update_session(session.id, metadata=patch)
    stored = await store.get_session(session.id)
    assert _exactly((stored.state, stored.metadata)) == _exactly((result, result))


@pytest.mark.slow
@given(objects)
@settings(max_examples=30, deadline=None)
async def test_state_is_returned_unchanged(state: JsonObject) -> None:
    async with open_backend() as store:
        session = await store.create_session(state=state, metadata=state)
        stored = await store.get_session(session.id)
        assert _exactly((stored.state, stored.metadata)) == _exactly((state, state))


@pytest.mark.slow
@given(objects, objects)
@settings(max_examples=30, deadline=None)
async def test_merging_the_previous_values_undoes_a_merge(state: JsonObject, patch: JsonObject) -> None:
    async with open_backend() as store:
        session = await store.create_session(state=state)
        change = await store.update_session_state(session.id, patch)
        merged = await store.get_session(session.id)
        assert _exactly(merged.state) == _exactly(merge_patch(state, patch)) == _exactly(change.changed["state"])
        undone = await store.update_session_state(session.id, change.previous["state"], mode="replace")
        assert _exactly((await store.get_session(session.id)).state) == _exactly(state)
        assert _exactly(undone.previous) == _exactly(change.changed)


@pytest.mark.slow
@given(objects, objects.filter(bool))
@settings(max_examples=30, deadline=None)
async def test_merging_the_previous_metadata_undoes_an_update(metadata: JsonObject, patch: JsonObject) -> None:
    async with open_backend() as store:
        session = await store.create_session(metadata=metadata)
        change = await store.update_session(session.id, metadata=patch, summary="New")
        assert _exactly(change.previous) == _exactly({"metadata": metadata, "summary": ""})
        await store.update_session(session.id, clear=["metadata", "summary"], metadata=metadata)
        undone = await store.get_session(session.id)
        assert _exactly((undone.metadata, undone.summary)) == _exactly((metadata, ""))
