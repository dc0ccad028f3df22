"""Pages fit the budget of characters; the note says what was cut, and it can be reached."""

from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from functools import partial

import pytest
from hypothesis import given
from hypothesis import strategies as st

from mcp_sessions import cursors
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    Attachment,
    BulkResult,
    Failure,
    Message,
    MessagePage,
    Model,
    Run,
    RunPage,
    SearchHit,
    SearchPage,
    Session,
    SessionPage,
    Target,
    ToolCall,
)
from mcp_sessions.output.fit_values import compact

from .test_fit_values import LIMITS, characters, fitted, quick, sent, texts

WALK = "00c0de"


def several(calls: Sequence[ToolCall], times: int) -> tuple[ToolCall, ...]:
    return tuple(call.model_copy(update={"id": f"c{place}"}) for place, call in enumerate([*calls] * times))


def typed(urls: Sequence[str]) -> tuple[Attachment, ...]:
    return tuple(Attachment(type=f"t{place}", url=url) for place, url in enumerate(urls))


def calls(most: int, *times: int) -> st.SearchStrategy[tuple[ToolCall, ...]]:
    some = st.lists(st.builds(ToolCall, name=texts(1_500), arguments=texts(most)), max_size=3)
    return st.builds(several, some, st.sampled_from(times))


MESSAGES = st.builds(
    Message,
    id=st.just("m1"),
    role=st.sampled_from(["user", "assistant", "tool"]),
    text=texts(),
    run_id=st.just("r1"),
    tool_calls=st.just(()) | calls(60_000, 1, 2) | calls(300, 10, 150),
    tool_name=st.just("") | texts(5_000),
    attachments=st.just(()) | st.builds(typed, st.lists(texts(3_000), max_size=3)),
    omitted_chars=st.sampled_from([0, 0, 7]),
)
RUNS = st.builds(
    Run, id=st.just("r1"), input=texts(), output=texts(), tool_calls=st.integers(1, 9), status=texts(2_500)
)


def check_rows(page: Model, payload: JsonObject, key: str, id: str = "id") -> None:
    """Check that each row counts exactly what it lacks, and that its texts are cut at their ends."""
    whole = {row[id]: row for row in sent(page)[key]}
    for row in payload[key]:
        before = whole[row[id]]
        lost = row.get("omitted_chars", 0) - before.get("omitted_chars", 0)
        assert lost == characters(before) - characters(row)
        assert all(before.get(name, "").startswith(row.get(name, "")) for name in ("text", "input", "output"))


def walked(page: Callable[[str], JsonObject]) -> Iterator[JsonObject]:
    """Yield all pages. Check that following their cursors comes to an end."""
    cursor = ""
    for _ in range(5_000):
        payload = page(cursor)
        yield payload
        cursor = payload.get("next_cursor", "")
        if not cursor:
            return
    raise AssertionError("the walk doesn't end")


def history(messages: Sequence[Message], limit: int, cursor: str = "", around: str = "") -> MessagePage:
    """Return a session's messages, paged as the embedded store does it, without those of tools."""
    newest = len(messages)
    if cursor:
        newest = min(cursors.read(cursor, WALK, 1)[0] - 1, newest)
    elif around:
        newest = min(int(around[1:]) + limit // 2, newest)
    found = [row for row in reversed(messages[:newest]) if row.role != "tool" or row.id == around]
    rows: list[Message] = []
    for place, row in enumerate(found[:limit]):
        number = int(row.id[1:])
        rows.append(row.model_copy(update={"cursor": cursors.mark(WALK, number), "skipped": newest - number - place}))
    more = len(found) > limit
    return MessagePage(
        session_id="s1",
        messages=tuple(reversed(rows)),
        next_cursor=rows[-1].cursor if more else "",
        omitted_messages=rows[-1].skipped if more else newest - len(rows),
        note="Newer ones come." if around and newest < len(messages) else "",
        focus=around,
    )


def numbered(rows: Sequence[Message], times: int) -> list[Message]:
    return [row.model_copy(update={"id": f"m{number}"}) for number, row in enumerate([*rows] * times, 1)]


HISTORIES = st.builds(numbered, st.lists(MESSAGES, min_size=1, max_size=6), st.sampled_from([1, 1, 3, 6]))


@quick
@given(HISTORIES, st.integers(1, 200), LIMITS)
def test_a_history_in_pages_that_fit_has_each_message_once_and_counts_hidden_ones(
    messages: list[Message], many: int, limit: int
) -> None:
    def page(cursor: str) -> JsonObject:
        result = history(messages, many, cursor)
        payload = fitted(result, limit)
        check_rows(result, payload, "messages")
        assert bool(payload["messages"]) == bool(result.messages)
        return payload

    pages = list(walked(page))
    ids = [row["id"] for payload in reversed(pages) for row in payload["messages"]]
    assert ids == [row.id for row in messages if row.role != "tool"]
    assert len(ids) + sum(payload.get("omitted_messages", 0) for payload in pages) == len(messages)


@quick
@given(HISTORIES, st.integers(1, 200), LIMITS, st.integers(1, 120))
def test_a_page_around_a_message_that_is_cut_keeps_the_nearest_messages(
    messages: list[Message], many: int, limit: int, focus: int
) -> None:
    focus = min(focus, len(messages))
    result = history(messages, many, around=f"m{focus}")
    payload = fitted(result, limit)
    check_rows(result, payload, "messages")
    shown = [int(row["id"][1:]) for row in payload["messages"]]
    asked = [int(row.id[1:]) for row in result.messages]
    first, middle, last, end = map(asked.index, (shown[0], focus, shown[-1], asked[-1]))
    assert shown == asked[first : last + 1] and focus in shown
    if first > 0 and last < end:
        assert 0 <= (middle - first) - (last - middle) <= 1
    oldest = asked[first] if "next_cursor" in payload else 1
    newest = asked[last] if last < end else min(focus + many // 2, len(messages))
    assert payload.get("omitted_messages", 0) == newest - oldest + 1 - len(shown)
    newer = (
        f'The {end - last} newest of this page (after "m{asked[last]}") did not fit; around="m{asked[-1]}" shows them.'
    )
    assert payload.get("note", "").endswith(newer if last < end else result.note)


ROWS: dict[str, tuple[type[Model], tuple[str, ...], Callable[..., Model]]] = {
    "sessions": (Session, ("id", "name", "agent_id", "user_id"), partial(SessionPage, note="Some.", total=9)),
    "runs": (Run, ("id", "input", "output", "status"), partial(RunPage, session_id="s1")),
    "hits": (SearchHit, ("session_id", "snippet", "session_name", "role"), partial(SearchPage, complete=True)),
}


@quick
@given(
    st.sampled_from(sorted(ROWS)),
    st.lists(st.tuples(texts(), texts(600), texts(600)), max_size=8),
    st.sampled_from([1, 3, 10]),
    st.integers(1, 100),
    LIMITS,
)
def test_any_list_in_pages_that_fit_has_each_row_once(
    key: str, values: Sequence[tuple[str, str, str]], times: int, many: int, limit: int
) -> None:
    row_type, fields, page_type = ROWS[key]
    rows = [dict(zip(fields, (f"i{place}", *value), strict=True)) for place, value in enumerate([*values] * times)]

    def page(cursor: str) -> JsonObject:
        start = cursors.read(cursor, WALK, 1)[0] if cursor else 0
        marks = [cursors.mark(WALK, place) for place in range(start + 1, min(start + many, len(rows)) + 1)]
        shown = [
            row_type.model_validate(row | {"cursor": mark}) for row, mark in zip(rows[start:], marks, strict=False)
        ]
        more = {"next_cursor": marks[-1]} if start + many < len(rows) else {}
        result = page_type(**{key: tuple(shown)}, **more)
        payload = fitted(result, limit)
        check_rows(result, payload, key, fields[0])
        assert bool(payload[key]) == bool(rows)
        return payload

    assert [row[fields[0]] for payload in walked(page) for row in payload[key]] == [row[fields[0]] for row in rows]


def parts(result: MessagePage | RunPage, limit: int) -> Iterator[JsonObject]:
    """Yield the only row of a page, part by part."""
    row = (result.messages if isinstance(result, MessagePage) else result.runs)[0]
    walk = cursors.walk("part", result.session_id, row.id)

    def page(cursor: str) -> JsonObject:
        start = cursors.read(cursor, walk, 1)[0] if cursor else 0
        return fitted(result.model_copy(update={"part": start}), limit)

    for payload in walked(page):
        yield payload["messages" if isinstance(result, MessagePage) else "runs"][0]


@quick
@given(MESSAGES, st.integers(1_333, 60_000))
def test_the_parts_of_a_message_concatenate_to_its_exact_texts(message: Message, limit: int) -> None:
    found: defaultdict[str, str] = defaultdict(str)
    for row in parts(MessagePage(session_id="s1", messages=(message,)), limit):
        assert (row["id"], row["role"]) == (message.id, message.role)
        found["text"] += row.get("text", "")
        for call in row.get("tool_calls", ()):
            found[call["id"]] += call.get("arguments", "")
        for item in row.get("attachments", ()):
            found[item["type"]] += item.get("url", "")
    expected = {"text": message.text} | {call.id: call.arguments for call in message.tool_calls}
    assert found == expected | {item.type: item.url for item in message.attachments}


@quick
@given(RUNS, st.integers(1_333, 60_000))
def test_the_parts_of_a_run_concatenate_to_its_exact_texts(run: Run, limit: int) -> None:
    rows = list(parts(RunPage(session_id="s1", runs=(run,)), limit))
    assert "".join(row.get("input", "") for row in rows) == run.input
    assert "".join(row.get("output", "") for row in rows) == run.output
    assert all(row["tool_calls"] == run.tool_calls for row in rows)


def test_a_message_with_hundreds_of_tool_calls_is_read_in_parts() -> None:
    looks = several([ToolCall(name="look")], 500)
    message = Message(id="m1", role="assistant", tool_calls=looks)
    rows = list(parts(MessagePage(session_id="s1", messages=(message,)), 2_000))
    assert [call for row in rows for call in row["tool_calls"]] == [{"id": look.id, "name": "look"} for look in looks]


def test_a_message_with_too_many_tool_calls_loses_the_last_ones() -> None:
    looks = several([ToolCall(name="look", arguments="x" * 400)], 300)
    message = Message(id="m1", role="assistant", text="y" * 5_000, tool_calls=looks)
    result = MessagePage(session_id="s1", messages=(message,))
    payload = fitted(result, 24_000)
    check_rows(result, payload, "messages")
    (row,) = payload["messages"]
    assert [call["id"] for call in row["tool_calls"]] == [look.id for look in looks[: len(row["tool_calls"])]]
    assert min(len(text) for text in (row["text"], *(call["arguments"] for call in row["tool_calls"]))) >= 160
    assert len(compact(payload)) > 24_000 * 0.95


@quick
@given(st.builds(Message, id=texts(), role=st.just("user"), text=texts(), tool_name=texts()), texts(), LIMITS)
def test_ids_of_thousands_of_characters_are_cut_and_the_note_says_so(
    message: Message, session_id: str, limit: int
) -> None:
    result = MessagePage(session_id=session_id, messages=(message,))
    payload = fitted(result, limit)
    assert payload["messages"][0].get("omitted_chars", 0) == characters(sent(result)) - characters(payload)
    fitted(MessagePage(session_id=session_id, messages=(message,) * 3, focus=message.id), limit)
    assert "".join(row.get("text", "") for row in parts(result, max(limit, 20_000))) == message.text


@pytest.mark.parametrize("key", sorted(ROWS))
def test_a_page_without_rows_fits(key: str) -> None:
    assert fitted(ROWS[key][2](**{key: ()}).model_copy(update={"note": "n" * 9_000}), 2_000)
    assert fitted(MessagePage(session_id="s" * 9_000, messages=()), 2_000)["omitted_chars"] > 7_000


@quick
@given(
    st.lists(texts(600), max_size=5),
    st.lists(st.tuples(texts(40), texts(400)), max_size=10),
    st.sampled_from([1, 1, 10, 20]),
    LIMITS,
)
def test_a_bulk_result_counts_the_rows_it_leaves_out(
    done: list[str], pairs: list[tuple[str, str]], times: int, limit: int
) -> None:
    lists: JsonObject = {
        "succeeded": tuple(done * times),
        "failed": tuple(Failure(session_id=id, error=f"not_found: {error}") for id, error in pairs * times),
        "would_change": tuple(Target(session_id=id, name=name) for id, name in pairs * times),
    }
    payload = fitted(BulkResult(action="archive", dry_run=False, **lists), limit)
    for key, rows in lists.items():
        missing = len(rows) - len(payload.get(key, ()))
        assert not missing or f"{missing} of {key}" in payload["note"]
    assert all(row["error"].startswith("not_found:") for row in payload.get("failed", ()))


def test_a_hundred_failures_are_cut_to_the_smallest_budget_and_complete_in_the_default_one() -> None:
    failures = [Failure(session_id=f"abcdef{place:02}", error="conflict: " + "changed " * 60) for place in range(100)]
    result = BulkResult(action="delete", dry_run=False, failed=tuple(failures), note="Done.")
    small = fitted(result, 2_000)
    assert small["note"].startswith(f"Done. Left out to fit 2,000 characters: {100 - len(small['failed'])} of failed")
    payload = fitted(result, 24_000)
    assert [row["session_id"] for row in payload["failed"]] == [failure.session_id for failure in failures]
    assert "the ends of 100 errors or names" in payload["note"]
    assert len(compact(payload)) > 24_000 * 0.95
