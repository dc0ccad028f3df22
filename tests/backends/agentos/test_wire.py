"""Answers with missing, null or unexpected fields are read as far as possible, or refused."""

import copy
import json
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.agentos.transcript import read_run, read_transcript, runs_in
from mcp_sessions.backends.agentos.wire import component_type, read_session
from mcp_sessions.backends.http.client import Reply
from mcp_sessions.errors import BadResponse
from mcp_sessions.json_documents import Json, JsonObject, is_array, is_object
from mcp_sessions.models import (
    HistoryQuery,
    Message,
)

from ...support.agentos_answers import ANSWERS, DETAIL, PREVIEWS, RUNS

ODD: tuple[Json, ...] = (
    *(None, True, False, 0, -1, 10**30, 1e300, -(10**18), 0.5, "", "x", "0001-01-01T00:00:00+14:00", "\ud800"),
    *("9999-12-31T23:59:59-12:00", "2026-13-01", "data:image/png;base64,QUFB", [], {}, [None], [[]], [{}], [1, "x"]),
    *({"x": None}, {"text": 5}, [{"text": "a"}, 5], {"run_id": 5}, [{"run_id": "team", "parent_run_id": "team"}]),
)
JSON = st.recursive(
    st.one_of(st.none(), st.booleans(), st.integers(), st.floats(allow_nan=False), st.text(max_size=5)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(st.text(max_size=5), inner, max_size=3)),
    max_leaves=5,
)


def places(value: Json, place: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    yield place
    children = value.items() if is_object(value) else enumerate(value) if is_array(value) else ()
    for key, child in children:
        yield from places(child, (*place, key))


PLACES = [(number, place) for number, answer in enumerate(ANSWERS) for place in places(answer)]


def changed(answer: Json, place: tuple[str | int, ...], new: Json, *, removed: bool) -> Json:
    if not place:
        return new
    made = copy.deepcopy(answer)
    inside: Json = made
    for key in place[:-1]:
        inside = inside[key]
    if removed:
        del inside[place[-1]]
    else:
        inside[place[-1]] = new
    return made


def read(answer: Json) -> None:
    """Read the answer as for each route, and render the result."""
    shown: list[object] = []
    items: list[Json] = answer["data"] if is_object(answer) and is_array(answer.get("data")) else [answer]
    for item in items:
        component_type(item)
        try:
            stored = read_session(item)
        except BadResponse:
            continue
        assert stored.version
        shown += [stored.to_session("").model_dump(mode="json"), stored.to_detail().model_dump(mode="json")]
    try:
        transcript = read_transcript(answer)
    except BadResponse:
        return
    shown += [each.model_dump(mode="json") for each in (*transcript.messages, *transcript.runs)]
    shown += [read_run(run).model_dump(mode="json") for run in runs_in(answer)]
    for include_tools in (False, True):
        list(filter(transcript.selects(HistoryQuery(include_tools=include_tools)), transcript.messages))
    json.dumps(shown)


@pytest.mark.slow
@settings(max_examples=150)
@given(st.lists(st.tuples(st.sampled_from(PLACES), st.sampled_from(ODD) | JSON, st.booleans()), max_size=3))
def test_missing_or_unexpected_fields_cause_no_error(
    changes: list[tuple[tuple[int, tuple[str | int, ...]], Json, bool]],
) -> None:
    answers = list(ANSWERS)
    for (number, place), new, removed in changes:
        try:
            answers[number] = changed(answers[number], place, new, removed=removed)
        except (KeyError, IndexError, TypeError):
            continue  # the change before took that place away
    for answer in answers:
        read(answer)


@pytest.mark.parametrize("new", ODD, ids=repr)
def test_each_field_can_have_any_value(new: Json) -> None:
    for number, place in PLACES:
        read(changed(ANSWERS[number], place, new, removed=False))


@given(JSON)
def test_any_response_is_read_or_refused(answer: Json) -> None:
    read(answer)


@pytest.mark.parametrize(
    "body", [b"", b"<html>", b"{", b"\xff", b"[" * 100_000, b"1" * 5000], ids=lambda body: body[:8]
)
def test_a_response_that_is_not_json_is_refused(body: bytes) -> None:
    with pytest.raises(BadResponse):
        Reply(200, body).json()


@pytest.mark.parametrize("answer", [{}, [], None, "s", {"session_id": ""}, {"session_id": 5}, {"detail": "no"}])
def test_a_row_without_an_id_is_not_a_session(answer: Json) -> None:
    with pytest.raises(BadResponse):
        read_session(answer)


def test_a_time_out_of_range_is_none() -> None:
    for mark in ("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-12:00"):
        stored = read_session({**DETAIL, "created_at": mark, "metadata": {"archived_at": mark}})
        assert stored.created_at is None
        assert stored.archived_at == stored.updated_at


@pytest.mark.parametrize(("created", "updated"), [(0, 0), (0, 5), (5, 0), (5, 9)])
def test_a_time_of_zero_is_the_same_in_a_list_and_in_a_single_session(created: int, updated: int) -> None:
    times = {"created_at": created, "updated_at": updated}
    listed = read_session({**DETAIL, **times}).to_session("")
    shown = {"created_at": created or None, "updated_at": updated or created or None}
    alone = read_session({**DETAIL, **shown}).to_detail()
    assert (listed.created_at, listed.updated_at) == (alone.created_at, alone.updated_at)
    assert listed.created_at == datetime.fromtimestamp(created, UTC)


def texts_of(messages: list[Message]) -> str:
    return json.dumps([message.model_dump(mode="json") for message in messages])


def said_in(**message: Json) -> list[Message]:
    run = {"run_id": "r", "agent_id": "a", "messages": [{"id": "m", "role": "user", **message}]}
    return list(read_transcript([run]).messages)


DATA = "QUJDREVGR0hJSktMTU5PUA=="


@pytest.mark.parametrize("kind", ["images", "audio", "videos", "files"])
@pytest.mark.parametrize(
    "item",
    [
        {"content": DATA, "mime_type": "image/png"},
        {"url": f"data:image/png;base64,{DATA}"},
        {"url": f"DATA:image/png;base64,{DATA}"},
        {"url": f" data:image/png;base64,{DATA}"},
        {"url": "https://example.com/a.png", "content": DATA},
        {"id": DATA[:5], "filepath": "/a", "format": "png", "content": DATA},
    ],
    ids=str,
)
def test_an_attachment_is_described_without_its_data(kind: str, item: JsonObject) -> None:
    messages = said_in(content="See", **{kind: [item]})
    assert len(messages[0].attachments) == 1
    assert DATA not in texts_of(messages)


@pytest.mark.parametrize(
    "content",
    [
        [{"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}],
        [{"type": "text", "text": "See"}, {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{DATA}"}}],
    ],
    ids=("alone", "beside a text"),
)
def test_parts_of_a_message_are_shown_without_data(content: Json) -> None:
    assert DATA not in texts_of(said_in(content=content))


def test_messages_of_members_and_steps_have_the_ids_of_their_runs() -> None:
    transcript = read_transcript([run for run in RUNS if run["run_id"] != "failed"])
    assert [message.id for message in transcript.messages] == [
        *("m1", "m2", "m5", "m6", "m3", "m4", "workflow:in", "m7", "m8", "workflow:out")
    ]
    assert transcript.inner_run_ids == {"member", "step"}
    plain = list(filter(transcript.selects(HistoryQuery()), transcript.messages))
    assert [message.id for message in plain] == [*("m1", "m4", "workflow:in", "workflow:out")]


def test_messages_of_nested_runs_are_included_at_any_depth() -> None:
    runs = [
        {"run_id": id, "parent_run_id": parent, "agent_id": "a", "messages": [{"id": f"of {id}", "role": "user"}]}
        for id, parent in (("inmost", "inner"), ("inner", "outer"), ("outer", ""))
    ]
    transcript = read_transcript(runs)
    assert sorted(message.id for message in transcript.messages) == ["of inmost", "of inner", "of outer"]
    assert transcript.inner_run_ids == {"inmost", "inner"}


def test_a_step_that_is_also_listed_is_shown_once() -> None:
    (workflow,) = (run for run in RUNS if run["run_id"] == "workflow")
    ids = [message.id for message in read_transcript([*workflow["step_executor_runs"], workflow]).messages]
    assert len(ids) == len(set(ids)) == 4


def test_runs_that_are_each_others_parents_hide_no_message() -> None:
    pair = [
        {"run_id": id, "parent_run_id": parent, "agent_id": "a", "messages": [{"id": f"of {id}", "role": "user"}]}
        for id, parent in (("one", "two"), ("two", "one"), ("alone", "alone"))
    ]
    ids = [message.id for message in read_transcript(pair).messages]
    assert sorted(ids) == ["of alone", "of one", "of two"]


def test_a_preview_has_no_tools_and_tokens() -> None:
    run = read_run(PREVIEWS[0])
    assert (run.input, run.output, run.tool_calls, run.total_tokens) == ("weather Oslo", "It is warm", None, None)
