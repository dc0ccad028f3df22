"""Values that the store refuses: the error names the field, and nothing is changed."""

from collections.abc import Awaitable, Callable
from math import inf, nan
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Conflict, Invalid, NotFound
from mcp_sessions.json_documents import Json, JsonObject
from mcp_sessions.models import (
    Attachment,
    HistoryQuery,
    NewMessage,
    SessionFilter,
    ToolCall,
)

from ...support.store_files import dump

MIB = 1024 * 1024
Call = Callable[[SessionBackend, str, str], Awaitable[object]]


def _append(message_of: Callable[[str], NewMessage]) -> Call:
    return lambda store, own, text: store.append_messages(own, [NewMessage(role="user"), message_of(text)])


def _call(**parts: str) -> NewMessage:
    return NewMessage(role="assistant", tool_calls=(ToolCall(**parts),))


def _attached(type: str = "file", media_type: str = "", url: str = "") -> NewMessage:
    return NewMessage(role="user", attachments=(Attachment(type=type, media_type=media_type, url=url),))


TEXTS: dict[str, tuple[str, Call]] = {
    "create name": ("name", lambda store, _, text: store.create_session(name=text)),
    "create type": ("type", lambda store, _, text: store.create_session(type=text)),
    "create agent": ("agent_id", lambda store, _, text: store.create_session(agent_id=text)),
    "rename": ("name", lambda store, own, text: store.rename_session(own, text)),
    "restore name": ("name", lambda store, own, text: store.restore_session(own, name=text)),
    "fork name": ("name", lambda store, own, text: store.fork_session(own, name=text)),
    "summary": ("summary", lambda store, own, text: store.update_session(own, summary=text)),
    "message text": ("text", _append(lambda text: NewMessage(role="user", text=text))),
    "tool name": ("tool_name", _append(lambda text: NewMessage(role="tool", tool_name=text))),
    "call id": ("tool_calls", _append(lambda text: _call(id=text))),
    "call name": ("tool_calls", _append(lambda text: _call(name=text))),
    "call arguments": ("tool_calls", _append(lambda text: _call(arguments=text))),
    "attachment type": ("attachments", _append(lambda text: _attached(type=text))),
    "attachment media": ("attachments", _append(lambda text: _attached(media_type=text))),
    "attachment url": ("attachments", _append(lambda text: _attached(url=text))),
    "list query": ("query", lambda store, _, text: store.list_sessions(SessionFilter(query=text))),
    "list type": ("type", lambda store, _, text: store.list_sessions(SessionFilter(type=text))),
    "list agent": ("agent_id", lambda store, _, text: store.list_sessions(SessionFilter(agent_id=text))),
    "list cursor": ("cursor", lambda store, _, text: store.list_sessions(SessionFilter(), cursor=text)),
    "search query": ("query", lambda store, _, text: store.search_sessions(f"word {text}")),
    "search cursor": ("cursor", lambda store, _, text: store.search_sessions("word", cursor=text)),
    "history cursor": ("cursor", lambda store, own, text: store.get_session_history(own, cursor=text)),
    "runs cursor": ("cursor", lambda store, own, text: store.get_session_runs(own, cursor=text)),
}
"""Every text argument that is stored or searched for, and the field name in its error."""

IDS: dict[str, Call] = {
    "get": lambda store, _, text: store.get_session(text),
    "history": lambda store, _, text: store.get_session_history(text),
    "message": lambda store, own, text: store.get_session_history(own, HistoryQuery(message_id=text)),
    "around": lambda store, own, text: store.get_session_history(own, HistoryQuery(around=text)),
    "runs": lambda store, _, text: store.get_session_runs(text),
    "run": lambda store, own, text: store.get_session_runs(own, run_id=text),
    "rename": lambda store, _, text: store.rename_session(text, "Fine"),
    "delete version": lambda store, own, text: store.delete_session(own, expected_version=text),
    "state version": lambda store, own, text: store.update_session_state(own, {}, expected_version=text),
    "update version": lambda store, own, text: store.update_session(own, summary="Fine", expected_version=text),
    "fork up to": lambda store, own, text: store.fork_session(own, up_to_message_id=text),
}
"""Every argument that takes an id or a version."""


@pytest.fixture
async def session_id(store: SessionBackend) -> str:
    session = await store.create_session(name="Before", state={"a": 1}, metadata={"b": 2})
    await store.append_messages(session.id, [NewMessage(role="user", text="Hello")])
    return session.id


@pytest.mark.parametrize("text", ["\ud800", "half \udfff of a pair", "a\0b"], ids=["high", "low", "NUL"])
@pytest.mark.parametrize("what", TEXTS)
async def test_the_error_about_text_that_cannot_be_stored_names_the_field(
    store: SessionBackend, path: Path, session_id: str, what: str, text: str
) -> None:
    field, call = TEXTS[what]
    before = dump(path)
    with pytest.raises(Invalid, match=f'"{field}"') as refusal:
        await call(store, session_id, text)
    assert refusal.value.text.isprintable()
    assert dump(path) == before


@pytest.mark.parametrize("text", ["\ud800", "half \udfff of a pair", "a\0b"], ids=["high", "low", "NUL"])
@pytest.mark.parametrize("what", IDS)
async def test_an_id_that_is_not_a_string_is_refused(
    store: SessionBackend, path: Path, session_id: str, what: str, text: str
) -> None:
    before = dump(path)
    with pytest.raises((Invalid, NotFound, Conflict)) as refusal:
        await IDS[what](store, session_id, text)
    assert refusal.value.text.isprintable()
    assert dump(path) == before


async def test_a_bulk_action_reports_an_id_that_is_not_a_string(store: SessionBackend) -> None:
    result = await store.apply_to_sessions("delete", ["\ud800", "a\0b"], dry_run=False)
    assert [failure.error.partition(":")[0] for failure in result.failed] == ["invalid", "invalid"]


async def test_a_user_id_that_is_not_a_string_is_invalid(store: SessionBackend) -> None:
    for user_id in ("\udcff", "a\0b"):
        with pytest.raises(Invalid, match='"user_id"'):
            store.for_caller(Caller(user_id=user_id))


@pytest.mark.parametrize(
    "name", [" ", "\t\r\n", "\u00a0", "\u3000", "\u200b", "\u200b\u200d\u2060\ufeff", "\u202e \u200e"]
)
async def test_a_name_without_visible_characters_is_invalid(
    store: SessionBackend, path: Path, session_id: str, name: str
) -> None:
    before = dump(path)
    for call in (
        store.create_session(name=name),
        store.rename_session(session_id, name),
        store.restore_session(session_id, name=name),
        store.fork_session(session_id, name=name),
    ):
        with pytest.raises(Invalid, match='"name"'):
            await call
    assert dump(path) == before


async def test_names_are_trimmed(store: SessionBackend, session_id: str) -> None:
    assert (await store.create_session(name="\n One two \t")).name == "One two"
    change = await store.rename_session(session_id, "\u3000Three\u00a0")
    assert change.changed == {"name": "Three"}
    assert (await store.get_session(session_id)).name == "Three"


async def test_names_can_have_512_characters(store: SessionBackend, path: Path, session_id: str) -> None:
    for name in ("x" * 512, "😀" * 512):
        await store.rename_session(session_id, name)
        assert (await store.get_session(session_id)).name == name
    before = dump(path)
    with pytest.raises(Invalid, match='"name" has 513 characters; at most 512'):
        await store.rename_session(session_id, "x" * 513)
    assert dump(path) == before


@pytest.mark.parametrize("type", ["", "Agent", "a b", "a" * 33, "é", "a\n", "../a"])
async def test_a_type_is_a_short_word(store: SessionBackend, path: Path, session_id: str, type: str) -> None:
    before = dump(path)
    with pytest.raises(Invalid, match='"type"'):
        await store.create_session(type=type)
    assert dump(path) == before
    assert (await store.create_session(type="my_type-2" + "x" * 23)).type == "my_type-2" + "x" * 23


def _json_of(size: int) -> JsonObject:
    return {"a": "é" * ((size - len('{"a":""}')) // 2)}


async def test_state_and_metadata_can_have_one_mebibyte(store: SessionBackend, path: Path, session_id: str) -> None:
    await store.update_session_state(session_id, _json_of(MIB), mode="replace")
    await store.update_session(session_id, metadata=_json_of(MIB), clear=["metadata"])
    session = await store.get_session(session_id)
    assert session.state == session.metadata == _json_of(MIB)
    before = dump(path)
    for field, call in (
        ("changes", store.update_session_state(session_id, _json_of(MIB + 2), mode="replace")),
        ("metadata", store.update_session(session_id, metadata=_json_of(MIB + 2))),
        ("state", store.create_session(state=_json_of(MIB + 2))),
        ("metadata", store.create_session(metadata=_json_of(MIB + 2))),
        ("state", store.update_session_state(session_id, {"b": 1})),
        ("metadata", store.update_session(session_id, metadata={"b": 1})),
    ):
        with pytest.raises(Invalid, match=f'"{field}" would take 1,048,'):
            await call
    assert dump(path) == before


def _nested(depth: int, *, in_list: bool) -> JsonObject:
    value: Json = []
    for _ in range(depth - 2):
        value = [value] if in_list else {"a": value}
    return {"a": value}


@pytest.mark.parametrize("in_list", [False, True])
async def test_state_can_have_64_levels(store: SessionBackend, session_id: str, in_list: bool) -> None:
    await store.update_session_state(session_id, _nested(64, in_list=in_list), mode="replace")
    assert (await store.get_session(session_id)).state == _nested(64, in_list=in_list)
    for depth in (65, 1000, 100_000):
        with pytest.raises(Invalid, match='"changes" is nested deeper than 64 levels'):
            await store.update_session_state(session_id, _nested(depth, in_list=in_list))


@pytest.mark.parametrize("number", [2**1024, -(2**1024), 10**5000], ids=["2¹⁰²⁴", "-2¹⁰²⁴", "10⁵⁰⁰⁰"])
async def test_a_number_that_readers_cannot_represent_is_invalid(
    store: SessionBackend, path: Path, session_id: str, number: int
) -> None:
    before = dump(path)
    with pytest.raises(Invalid, match='"changes" has a number'):
        await store.update_session_state(session_id, {"a": [number]})
    assert dump(path) == before


@pytest.mark.parametrize("number", [nan, inf, -inf], ids=str)
async def test_a_number_that_json_lacks_is_invalid_at_any_depth(
    store: SessionBackend, path: Path, session_id: str, number: float
) -> None:
    before = dump(path)
    for field, call in (
        ("changes", store.update_session_state(session_id, {"a": {"b": [number]}})),
        ("changes", store.update_session_state(session_id, {"a": number}, mode="replace")),
        ("metadata", store.update_session(session_id, metadata={"a": number})),
        ("state", store.create_session(state={"a": number})),
        ("metadata", store.create_session(metadata={"a": number})),
    ):
        with pytest.raises(Invalid, match=f'"{field}" has NaN or an infinite number'):
            await call
    assert dump(path) == before


async def test_texts_up_to_the_limit_are_kept_and_longer_ones_are_refused(
    store: SessionBackend, path: Path, session_id: str
) -> None:
    text = "word " * (MIB // 5)
    await store.append_messages(session_id, [NewMessage(role="user", text=text)])
    (message,) = (await store.get_session_history(session_id, HistoryQuery(message_id="m2"))).messages
    assert message.text == text
    before = dump(path)
    with pytest.raises(Invalid, match='"text" has 1,048,577 characters'):
        await store.append_messages(session_id, [NewMessage(role="user", text="x" * (MIB + 1))])
    with pytest.raises(Invalid, match='"summary" has 16,385 characters'):
        await store.update_session(session_id, summary="x" * 16_385)
    assert dump(path) == before
