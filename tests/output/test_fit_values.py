"""Long texts are cut to one length, whole values of state and metadata are left out, and the note names each."""

import re
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.errors import excerpt
from mcp_sessions.json_documents import Json, JsonObject, is_array, is_object, resolve_pointer
from mcp_sessions.models import (
    Change,
    Message,
    MessagePage,
    Model,
    SessionDetail,
)
from mcp_sessions.output.fit_pages import fit
from mcp_sessions.output.fit_values import compact, prefix_length, size, text_size

UNITS = ("a", '"', "\\", "\n", "\x01", "漢", "👩\u200d👧", "two words ", '{"key": "value"}', "\ud83d")
LIMITS = st.one_of(st.sampled_from([1_333, 2_000, 24_000]), st.integers(2_000, 400_000))
quick = settings(derandomize=True, deadline=None, max_examples=40)


def repeated(unit: str, length: int) -> str:
    return (unit * length)[:length]


def texts(most: int = 60_000) -> st.SearchStrategy[str]:
    units = st.sampled_from(UNITS) | st.text(min_size=1, max_size=20)
    return st.builds(repeated, units, st.integers(0, 300) | st.integers(0, most))


def sent(result: Model) -> JsonObject:
    return result.model_dump(mode="json", exclude_defaults=True, exclude_none=True)


def fitted(result: Model, limit: int) -> JsonObject:
    payload = fit(result, sent(result), limit)
    assert len(compact(payload)) <= limit
    return payload


def characters(value: Json) -> int:
    children = value.values() if is_object(value) else value if is_array(value) else ()
    return len(value) if isinstance(value, str) else sum(map(characters, children))


def many(value: Json, count: int) -> JsonObject:
    return {f"k{place}": value for place in range(count)}


def nested(value: Json, key: str, depth: int) -> JsonObject:
    for _ in range(depth):
        value = {"before": 0, key: value, "after": None}
    return {"nested": value}


SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | texts(20_000)
ARRAYS = st.lists(st.integers(), max_size=5).map(lambda items: items * 500)
KEYS = st.text(max_size=8) | st.sampled_from(["a/b", "m~n", "state", "k" * 300, '"' * 40])


def holding(values: st.SearchStrategy[Json]) -> st.SearchStrategy[Json]:
    return st.dictionaries(KEYS, values, max_size=6) | st.lists(values, max_size=4)


VALUES = st.recursive(SCALARS | ARRAYS, holding, max_leaves=15)
STATES = (
    st.dictionaries(KEYS, VALUES, max_size=8)
    | st.builds(many, VALUES, st.sampled_from([20, 70]))
    | st.builds(many, texts(300), st.sampled_from([70, 2_000]))
    | st.builds(nested, VALUES, KEYS, st.integers(0, 60))
)


def lost(before: Json, after: Json, pointer: str = "") -> Iterator[tuple[str, Json]]:
    """Return the missing values by their pointers. Check that the others are unchanged."""
    if not is_object(before) or not is_object(after):
        assert compact(before) == compact(after)
        return
    assert list(after) == [key for key in before if key in after]
    for key, value in before.items():
        inside = f"{pointer}/{key.replace('~', '~0').replace('/', '~1')}"
        if key in after:
            yield from lost(value, after[key], inside)
        else:
            yield inside, value


def mentions(before: JsonObject, after: JsonObject, path: str = "") -> list[str]:
    """Return what a note has to say of an object that was cut."""
    said: list[str] = []
    for key, value in before.items():
        if key in ("state", "metadata") and key in after:
            for pointer, part in lost(value, after[key]):
                assert resolve_pointer(value, pointer) is part
                said.append(f"{path}{key} {excerpt(pointer)} ({size(part):,} characters)")
        elif key not in after:
            said.append(f"{path}{key} ({size(value):,} characters)")
        elif isinstance(value, str) and key != "note" and value != after[key]:
            assert value.startswith(after[key])
            said.append(f"{path}{key} ({len(value) - len(after[key]):,} characters cut)")
    return said


def check_note(note: str, said: list[str], limit: int) -> None:
    assert f"Left out to fit {limit:,} characters: " in note
    assert all(mention in note for mention in said)
    assert len(re.findall(r" \([\d,]+ characters(?: cut)?\)", note)) == len(said)
    assert len(note) < limit // 2


@pytest.mark.slow
@quick
@given(STATES, STATES, texts(), texts(600), st.lists(texts(50), max_size=9), st.sampled_from([1, 1, 300]), LIMITS)
def test_a_session_is_cut_to_fit_and_its_note_names_the_omitted_values(
    state: JsonObject, metadata: JsonObject, summary: str, name: str, topics: list[str], times: int, limit: int
) -> None:
    result = SessionDetail(
        id="s1", name=name, state=state, metadata=metadata, summary=summary, topics=tuple(topics * times), note="So."
    )
    before, payload = sent(result), fitted(result, limit)
    if len(compact(before)) <= limit:
        assert payload == before
        return
    check_note(payload["note"].removeprefix("So. "), mentions(before, payload), limit)


@pytest.mark.slow
@quick
@given(STATES, STATES, texts(2_000), texts(20_000), LIMITS)
def test_a_change_is_cut_to_fit_and_says_if_it_cannot_be_undone(
    state: JsonObject, previous: JsonObject, name: str, summary: str, limit: int
) -> None:
    result = Change(
        session_id="s1",
        changed={"state": state, "summary": summary},
        previous={"state": previous, "name": name, "summary": summary[::-1]},
    )
    before, payload = sent(result), fitted(result, limit)
    if len(compact(before)) <= limit:
        assert payload == before
        return
    of_changed = mentions(before["changed"], payload["changed"], "changed.")
    of_previous = mentions(before["previous"], payload["previous"], "previous.")
    check_note(payload["note"], of_changed + of_previous, limit)
    assert ("can't undo" in payload["note"]) == bool(of_previous)


def detail(state: Json, limit: int = 24_000, **fields: Json) -> JsonObject:
    return fitted(SessionDetail(id="s1", state=state, **fields), limit)


def test_the_most_deeply_nested_values_are_left_out_first() -> None:
    kept: JsonObject = {"no": False, "zero": 0, "null": None, "empty": "", "none": [], "nothing": {}}
    payload = detail({"plan": {"notes/old~": {"log": "x" * 30_000, **kept}, **kept}, **kept})
    assert payload["state"] == {"plan": {"notes/old~": kept, **kept}, **kept}
    assert payload["note"] == (
        "Left out to fit 24,000 characters: state /plan/notes~1old~0/log (30,002 characters)."
        " get_session with state_path reads a part of the state; the setting --max-chars allows more."
    )


def test_values_in_several_places_are_left_out_one_by_one() -> None:
    state = {name: {"log": "x" * 30_000, "todo": [1, 2]} for name in ("a", "b", "c")}
    payload = detail(state)
    assert payload["state"] == {name: {"todo": [1, 2]} for name in state}


def test_no_more_values_are_left_out_than_necessary() -> None:
    payload = detail({"first": "x" * 13_000, "second": "y" * 14_000, "third": "z" * 9_000})
    assert sorted(payload["state"]) == ["second", "third"]


def test_an_array_is_left_out_as_a_whole() -> None:
    assert detail({"a": list(range(20_000)), "b": 1})["state"] == {"b": 1}
    payload = detail(list(range(20_000)))
    assert "state" not in payload
    assert "state (108,891 characters)" in payload["note"]


def test_an_object_with_too_many_parts_to_name_is_left_out_as_a_whole() -> None:
    payload = detail({"small": many("x" * 100, 1_000), "kept": 1})
    assert payload["state"] == {"kept": 1}
    assert "state /small (109,891 characters)" in payload["note"]


def test_a_long_summary_is_cut_before_values_are_left_out() -> None:
    payload = detail({"plan": "x" * 15_000}, summary="y" * 16_000, metadata={"kept": True})
    assert payload["state"] == {"plan": "x" * 15_000} and payload["metadata"] == {"kept": True}
    assert f"summary ({16_000 - len(payload['summary']):,} characters cut)" in payload["note"]
    assert len(compact(payload)) > 24_000 * 0.98


def test_a_session_whose_fields_are_all_long_fits_and_each_is_named_once() -> None:
    quotes = '"' * 512
    result = SessionDetail(id=quotes, name=quotes, type=quotes, agent_id=quotes, user_id=quotes, metadata={"kept": 1})
    payload = fitted(result, 2_000)
    check_note(payload["note"], mentions(sent(result), payload), 2_000)
    assert payload["metadata"] == {"kept": 1}


def test_a_change_keeps_its_previous_values_longest() -> None:
    state = many("x" * 1_000, 15)
    result = Change(session_id="s1", changed={"state": state | {"new": 1}}, previous={"state": state}, note="Done.")
    payload = fitted(result, 24_000)
    assert payload["previous"] == {"state": state}
    assert payload["changed"]["state"]["new"] == 1 and len(payload["changed"]["state"]) > 5
    assert payload["note"].startswith("Done. Left out to fit 24,000 characters: changed.state /k")
    assert payload["note"].endswith(" get_session shows what was set.")


def test_a_change_without_previous_values_shows_the_new_ones() -> None:
    result = Change(session_id="s1", changed={"state": {"new": "x" * 9_000}}, previous={"state": {"old": "y" * 90_000}})
    payload = fitted(result, 24_000)
    assert payload["changed"] == result.changed and payload["previous"] == {"state": {}}
    assert "previous.state /old (90,002 characters)" in payload["note"]
    assert payload["note"].endswith(
        "The missing previous values can't be read any more, so this result can't undo the change."
    )


@quick
@given(texts(2_000), st.integers(-5, 3_000))
def test_a_text_is_cut_at_the_last_character_that_fits(text: str, room: int) -> None:
    kept = prefix_length(text, room)
    assert kept == 0 or text_size(text[:kept]) <= room
    assert kept == len(text) or text_size(text[: kept + 1]) > room


def page_of(*sizes: int, text: str = "x") -> MessagePage:
    rows = [Message(id=f"m{place}", role="user", text=text * many, cursor="c.1") for place, many in enumerate(sizes)]
    return MessagePage(session_id="s1", messages=tuple(rows))


def test_long_texts_are_cut_before_short_ones_to_the_same_length() -> None:
    rows = fitted(page_of(300, 90_000, 300, 5_000_000, 12), 20_000)["messages"]
    lengths = [len(row["text"]) for row in rows]
    assert lengths[0] == lengths[2] == 300 and lengths[4] == 12
    assert lengths[1] == lengths[3] > 9_000
    assert [row.get("omitted_chars", 0) for row in rows] == [0, 90_000 - lengths[1], 0, 5_000_000 - lengths[3], 0]


@pytest.mark.parametrize("text", UNITS)
def test_texts_are_shortened_before_rows_are_left_out(text: str) -> None:
    payload = fitted(page_of(*[9_000] * 200, text=text), 24_000)
    assert all(len(row["text"]) >= 160 for row in payload["messages"])
    assert "next_cursor" in payload


@quick
@given(
    st.lists(st.integers(0, 30_000), min_size=1, max_size=200),
    st.sampled_from([unit for unit in UNITS if unit != "\x01"]),  # six characters each: a row takes half of 2,000
    st.integers(2_500, 400_000),
)
def test_a_result_that_was_cut_uses_most_of_the_budget(sizes: list[int], text: str, limit: int) -> None:
    result = page_of(*sizes, text=text)
    payload = fitted(result, limit)
    assert payload == sent(result) or len(compact(payload)) >= limit * 0.8
