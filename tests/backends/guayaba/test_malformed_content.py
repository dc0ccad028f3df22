"""From any content of a list or history comes a result or an error of ours, and never an origin."""

import json
from contextlib import suppress
from dataclasses import replace

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.guayaba.transcript import read_messages
from mcp_sessions.backends.guayaba.wire import read_archives, read_sessions
from mcp_sessions.backends.http.client import Reply
from mcp_sessions.errors import BadResponse
from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import (
    HistoryQuery,
    SessionFilter,
)

from ...support.faked_guayaba import KEY, faked, outcome, served
from ...support.fakes.guayaba import MAIN, READINGS, FakeGuayaba, Reading, shaped
from ...support.fakes.guayaba.seeds import SECRETS, row, seed_usual, user

AGENT = "e3e70682-c209-4cac-a29f-6fbed82c07cd"
FIELDS = (
    *("key", "sessionId", "label", "updatedAt", "lastChannel", "filename", "archivedAt", "id", "role", "content"),
    *("timestamp", "type", "text", "thinking", "name", "toolName", "toolCallId", "tool_use_id", "arguments", "input"),
    *("source", "data", "url", "mimeType", "media_type", "origin"),
)
WORDS = (
    *("text", "toolCall", "tool_use", "toolResult", "tool_result", "thinking", "image", "user", "assistant", "data:x"),
    *("0001-01-01T00:00:00+14:00", "9999-12-31T23:59:59-14:00", "2024-02-30T00-00-00", "17145648000000000000", KEY),
)
scalars = (
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.sampled_from([10**400, -(10**400), 2**53, 253_402_300_800_000, -1, 0])
    | st.text(st.characters(), max_size=8)
    | st.sampled_from(WORDS)
)
values = st.recursive(
    scalars,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.sampled_from(FIELDS), inner, max_size=6),
    max_leaves=12,
)
rows = st.lists(st.dictionaries(st.sampled_from(FIELDS), values, max_size=8), max_size=5)


@pytest.mark.slow
@given(rows)
@settings(max_examples=80, deadline=None)
def test_every_field_can_be_missing_or_have_any_type(answer: Json) -> None:
    parsed = Reply(200, json.dumps(answer).encode()).json()
    for session in (*read_sessions(parsed, AGENT), *read_archives(parsed, AGENT)):
        assert json.loads(session.to_session(session.id).model_dump_json())["id"] == session.id
        assert session.position[0] >= 0
        assert session.version
    messages = read_messages(parsed)
    assert len({message.id for message in messages}) == len(messages) == len(parsed)
    for message in messages:
        assert message.model_dump_json().encode()


@pytest.mark.slow
@given(rows=rows, shape=st.sampled_from([None, "data", "messages", "sessions"]))
@settings(max_examples=20, deadline=None)
def test_every_call_returns_a_result_or_a_sessions_error(rows: list[JsonObject], shape: str | None) -> None:
    async def ask() -> None:
        async with faked() as (fake, backend):
            body = {shape: rows} if shape else rows
            fake.fail_next(replace(shaped(body), path="/history", times=9))
            await outcome(lambda backend: backend.get_session_history(KEY, HistoryQuery(include_tools=True)), backend)
            await outcome(lambda backend: backend.search_sessions("text"), backend)
            await outcome(lambda backend: backend.get_session_for_deletion(KEY), backend)
            for path in ("/sessions", "/archives"):
                fake.fail_next(replace(shaped(body), path=path, times=99))
            for archived in (True, False):
                filter = SessionFilter(archived=archived)
                await outcome(lambda backend, given=filter: backend.list_sessions(given), backend)
            await outcome(lambda backend: backend.rename_session(KEY, "New"), backend)

    anyio.run(ask)


@pytest.mark.parametrize("depth", [500, 2_000, 100_000])
@pytest.mark.parametrize("path", ["/sessions", "/archives", "/history"])
async def test_deep_nesting_is_read_or_a_bad_response(path: str, depth: int) -> None:
    nested = b'[{"key": "x", "filename": "x", "content": %s}]' % (b'[{"input":' * depth + b"1" + b"}]" * depth)
    async with faked() as (fake, backend):
        fake.fail_next(replace(shaped([]), body=nested, path=path, times=9))
        filter = SessionFilter(archived=path == "/archives")
        assert await outcome(lambda backend: backend.list_sessions(filter), backend) in ("", "bad_response")
        code = await outcome(
            lambda backend: backend.get_session_history(KEY, HistoryQuery(include_tools=True)), backend
        )
        assert code in ("", "bad_response", "not_found")


def test_nesting_that_can_be_parsed_but_not_written_is_a_bad_response() -> None:
    for depth in range(300, 1_000):
        with suppress(BadResponse):
            read_messages(Reply(200, b'[{"x": ' + b"[" * depth + b"]" * depth + b"}]").json())


@pytest.mark.parametrize(
    "written",
    [
        "2024-05-01T12:00:00.000Z",
        "2024-05-01T14:00:00+02:00",
        "2024-05-01T12-00-00.000Z",
        "2024-05-01 12:00:00",
        "1714564800000",
        "1714564800",
    ],
)
def test_times_are_read_in_every_format(written: str) -> None:
    (session,) = read_archives([{"filename": "x", "archivedAt": written}], AGENT)
    assert session.changed_at is not None
    assert session.changed_at.isoformat() == "2024-05-01T12:00:00+00:00"


@pytest.mark.parametrize("seconds", [True, False])
async def test_times_of_messages_can_be_in_seconds(seconds: bool) -> None:
    async with faked(replace(READINGS["default"], message_seconds=seconds)) as (_, backend):
        (message,) = (await backend.get_session_history(KEY)).messages
        assert message.created_at is not None
        assert message.created_at.isoformat() == "2024-05-01T11:58:20+00:00"


@pytest.mark.parametrize("ids", [["m", "m", "m-2", "m-2", "m"], ["m-2", "m", "m"], ["", "", ""], [None, 5, "5"]])
def test_messages_with_equal_or_missing_ids_get_different_ids(ids: list[Json]) -> None:
    messages = read_messages([{"id": id, "role": "user", "content": "same"} for id in ids])
    assert len({message.id for message in messages}) == len(ids)
    own = [message.id for message, id in zip(messages, ids, strict=True) if isinstance(id, str) and id == message.id]
    assert set(own) == {id for id in ids if id and isinstance(id, str)}


def test_data_in_a_url_is_not_shown() -> None:
    urls = ("data:image/png;base64,AAAA", "DATA:image/png;base64,AAAA", " data:image/png;base64,AAAA")
    blocks = [{"type": "image", "url": url} for url in urls] + [{"type": "image", "source": {"url": urls[1]}}]
    (message,) = read_messages([{"role": "user", "content": blocks}])
    assert [attachment.url for attachment in message.attachments] == [""] * 4


@pytest.mark.parametrize("reading", READINGS.values(), ids=READINGS)
async def test_results_do_not_contain_message_origins(reading: Reading) -> None:
    async with FakeGuayaba(reading) as fake:
        seed_usual(fake, fake.agents[0])
        fake.add_archive(fake.agents[0], row("agent:main:old", fake.new_id()))
        async with served(fake, max_chars=400_000) as tools:
            results: list[object] = []
            for archived in (False, True):
                results.append(await tools.call("list_sessions", limit=100, archived=archived))
                for id in await tools.ids(limit=100, archived=archived):
                    results.append(await tools.call("get_session", session_id=id))
                    if not archived:
                        results.append(await tools.call("get_session_history", session_id=id, include_tools=True))
            results.append(await tools.call("search_sessions", query="Ann"))
            results.append(await tools.call("rename_session", session_id=f"{fake.agents[0].id}/{MAIN}", name="New"))
            shown = json.dumps(results)
            assert [secret for secret in SECRETS if secret in shown] == []


@pytest.mark.parametrize("order", ["oldest_first", "newest_first"])
@pytest.mark.parametrize("ids", [True, False])
async def test_a_long_history_is_read_page_by_page_to_its_end(ids: bool, order: str) -> None:
    reading = replace(READINGS["default"], history_order=order, message_ids=ids)
    async with FakeGuayaba(reading) as fake:
        said = [user(f"Message {place}", id=f"i{place}", timestamp=10**12 + place) for place in range(1_500)]
        fake.add_session(fake.agents[0], row(KEY, fake.new_id()), said)
        async with served(fake) as tools:
            texts: list[str] = []
            cursor = ""
            for _ in range(20):
                page = await tools.call(
                    "get_session_history", session_id=f"{fake.agents[0].id}/{KEY}", limit=200, cursor=cursor
                )
                texts = [message["text"] for message in page["messages"]] + texts
                assert "newest 1,000" in page["note"]
                cursor = page.get("next_cursor", "")
                if not cursor:
                    break
            assert texts == [f"Message {place}" for place in range(500, 1_500)]


async def test_a_huge_message_is_read_in_parts() -> None:
    text = "".join(chr(0x4E00 + place % 5_000) for place in range(200_000))
    async with FakeGuayaba() as fake:
        fake.add_session(fake.agents[0], row(KEY, fake.new_id()), [user(text, id="m1")])
        async with served(fake) as tools:
            given = {"session_id": f"{fake.agents[0].id}/{KEY}", "message_id": "m1"}
            page = await tools.call("get_session_history", **given)
            read = page["messages"][0]["text"]
            while "next_cursor" in page:
                page = await tools.call("get_session_history", **given, cursor=page["next_cursor"])
                read += page["messages"][0]["text"]
            assert read == text
