"""Which values a run has overwritten, and the document once they are written again."""

import copy
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.agentos.recheck.values import (
    PendingValue,
    add_pending_values,
    apply_pending_values,
    json_equal,
    value_at,
)
from mcp_sessions.json_documents import Json, JsonObject, is_object

KEYS = st.sampled_from(("a", "b", "c"))
LEAVES = st.one_of(st.none(), st.booleans(), st.sampled_from((0, 1, 1.0, "", "x")), st.lists(st.integers(0, 2)))
VALUES = st.recursive(LEAVES, lambda inner: st.dictionaries(KEYS, inner, max_size=3), max_leaves=6)
OBJECTS = st.dictionaries(KEYS, VALUES, max_size=3)
DOCUMENTS = st.fixed_dictionaries(
    {"name": st.sampled_from(("", "one", "two")), "summary": st.just(""), "state": OBJECTS, "metadata": OBJECTS}
)

few = settings(max_examples=40)  # making a document takes longer than what is tested


def pending_after(*documents: JsonObject) -> list[PendingValue]:
    """Return the pending values after the session was each of these documents in turn."""
    pending: list[PendingValue] = []
    for before, after in pairwise(documents):
        pending = add_pending_values(pending, before, after)
    return pending


def written_again(document: JsonObject, pending: list[PendingValue]) -> JsonObject:
    return apply_pending_values(document, [item for item in pending if item.is_overwritten(document)])


@pytest.mark.slow
@few
@given(st.lists(DOCUMENTS, min_size=2, max_size=4), st.data())
def test_our_last_values_are_restored_whatever_a_run_had_loaded(
    documents: list[JsonObject], data: st.DataObject
) -> None:
    loaded = data.draw(st.sampled_from(documents))
    assert json_equal((written_again(loaded, pending_after(*documents)),), (documents[-1],))


@pytest.mark.slow
@few
@given(st.lists(DOCUMENTS, min_size=2, max_size=4), DOCUMENTS)
def test_only_an_older_value_counts_as_overwritten(documents: list[JsonObject], found: JsonObject) -> None:
    for item in pending_after(*documents):
        current = value_at(found, item.path)
        if item.is_overwritten(found):
            assert not json_equal(current, item.new)
            assert any(old.matches(current) for old in item.old_values)


@pytest.mark.slow
@few
@given(st.lists(DOCUMENTS, min_size=2, max_size=4), DOCUMENTS)
def test_a_repeated_write_changes_only_the_overwritten_values(documents: list[JsonObject], found: JsonObject) -> None:
    undone = [item for item in pending_after(*documents) if item.is_overwritten(found)]
    again = apply_pending_values(found, undone)
    for item in undone:
        assert json_equal(value_at(again, item.path), item.new)
    assert json_equal(
        (apply_pending_values(again, [PendingValue(item.path, value_at(found, item.path), ()) for item in undone]),),
        (found,),
    )


@few
@given(st.lists(DOCUMENTS, min_size=2, max_size=4))
def test_documents_are_not_changed_in_place(documents: list[JsonObject]) -> None:
    as_they_were = copy.deepcopy(documents)
    pending = pending_after(*documents)
    for document in documents:
        written_again(document, pending)
    assert documents == as_they_were


@few
@given(st.lists(DOCUMENTS, min_size=2, max_size=4))
def test_each_value_is_recorded_once(documents: list[JsonObject]) -> None:
    paths = [item.path for item in pending_after(*documents)]
    for number, path in enumerate(paths):
        others = paths[:number] + paths[number + 1 :]
        assert not any(path[: len(other)] == other for other in others)


def named(name: str) -> JsonObject:
    return {"name": name, "summary": "", "state": {}, "metadata": {}}


def of_state(state: Json) -> JsonObject:
    return {"name": "", "summary": "", "state": state, "metadata": {}}


def test_a_name_that_was_restored_is_not_removed_again() -> None:
    pending = pending_after(named("one"), named("two"), named("one"))
    assert written_again(named("one"), pending) == named("one")
    assert written_again(named("two"), pending) == named("one")
    assert written_again(named("three"), pending) == named("three")


def test_a_session_that_was_restored_is_not_archived_again() -> None:
    archived: JsonObject = {**named(""), "metadata": {"archived_at": "2026-01-01T00:00:00Z"}}
    pending = pending_after(named(""), archived, named(""))
    assert written_again(named(""), pending) == named("")
    assert written_again(archived, pending) == named("")


@pytest.mark.parametrize(
    "chain",
    [
        ({"a": {"b": 1}}, {"a": {"b": 2}}, {"a": 3}),
        ({"a": 1}, {"a": {"b": 2}}, {"a": {"b": 3}}),
        ({"a": {"b": 1, "c": 5}}, {"a": {"b": 2, "c": 5}}, {"a": {"b": 2, "c": 6}}, {}),
        ({}, {"a": {"b": {"c": 1}}}, {"a": {}}, {"a": {"b": {}}}),
    ],
    ids=("inside then whole", "whole then inside", "two inside then none", "none then inside"),
)
def test_changes_of_a_value_and_of_its_parts_are_recorded_together(chain: tuple[JsonObject, ...]) -> None:
    documents = [of_state(state) for state in chain]
    pending = pending_after(*documents)
    assert len(pending) == 1
    for document in documents:
        assert written_again(document, pending) == documents[-1]


def test_changes_inside_a_value_that_was_removed_later_are_all_recorded() -> None:
    many: JsonObject = {str(number): 1 for number in range(20)}
    documents = [of_state({"a": dict(list(many.items())[:count])}) for count in range(21)]
    pending = pending_after(*documents, of_state({}))
    assert len(pending) == 1
    for document in documents:
        assert written_again(document, pending) == of_state({})
    theirs = of_state({"a": {**many, "theirs": 2}})
    assert written_again(theirs, pending) == theirs


@pytest.mark.parametrize(("old", "other"), [(1, True), (1, 1.0), (True, 1), (0, False), (None, 0), ("", None)])
def test_numbers_and_booleans_that_python_calls_equal_are_different(old: Json, other: Json) -> None:
    pending = pending_after(of_state({"a": old}), of_state({"a": "ours"}))
    assert not pending[0].is_overwritten(of_state({"a": other}))
    assert pending[0].is_overwritten(of_state({"a": old}))


def test_changing_a_value_to_one_that_python_calls_equal_is_a_change() -> None:
    pending = pending_after(of_state({"a": 1}), of_state({"a": True}))
    assert json_equal((written_again(of_state({"a": 1}), pending),), (of_state({"a": True}),))


def test_a_value_that_others_put_in_place_of_an_object_is_kept() -> None:
    pending = pending_after(of_state({"a": {}}), of_state({"a": {"b": 2}}))
    for theirs in (5, None, [1], {"b": 9}):
        found = of_state({"a": theirs})
        assert not (pending[0].is_in(found) or pending[0].is_overwritten(found))
        assert written_again(found, pending) == found


def test_values_that_others_set_beside_ours_are_kept() -> None:
    pending = pending_after(of_state({"a": {"b": 1}}), of_state({"a": {"b": 2}}))
    found = of_state({"a": {"b": 1, "theirs": 3}, "theirs": 4})
    assert written_again(found, pending) == of_state({"a": {"b": 2, "theirs": 3}, "theirs": 4})


def test_of_a_value_that_changes_often_the_newest_and_the_oldest_are_recorded() -> None:
    documents = [of_state({"count": number}) for number in range(1000)]
    (item,) = pending_after(*documents)
    assert len(item.old_values) < 50
    assert item.is_overwritten(documents[0])
    assert item.is_overwritten(documents[-2])
    assert is_object(documents[-1]["state"])
