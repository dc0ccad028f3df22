"""Rollouts that are damaged, unusual or hostile are still read, as far as they can be."""

import fcntl
import os
from collections.abc import Sequence
from pathlib import Path

import pytest

from mcp_sessions.backends.transcripts import lines
from mcp_sessions.errors import Invalid, NotFound
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import HistoryQuery

from ...support.codex_rollouts import Rollout
from .homes import (
    NOW,
    copy_fixtures,
    labelled,
    messages_of,
    note_of,
    opened,
    rollout,
    session_of,
    texts_of,
)

both_kinds = pytest.mark.parametrize("legacy", [False, True], ids=["paginated", "legacy"])
TORN = "Lines of the file that can't be read were left out."


@both_kinds
async def test_a_line_that_was_not_written_to_its_end_is_left_out_wherever_it_is(tmp_path: Path, legacy: bool) -> None:
    made = rollout(legacy=legacy)
    path = made.write(tmp_path)
    torn = made.lines[3][:80]
    path.write_bytes(made.data + torn)
    assert await texts_of(tmp_path, made.id) == ["question", "answer"]
    assert await note_of(tmp_path, made.id) == ""  # it may be being written right now
    more = Rollout(made.id, legacy=legacy, moment=NOW, ordinal=made.ordinal)
    more.lines.clear()
    more.turn("later", "reply", NOW)
    path.write_bytes(made.data + torn + b"\n" + more.data)
    assert await texts_of(tmp_path, made.id) == ["question", "answer", "later", "reply"]
    assert await note_of(tmp_path, made.id) == TORN


@both_kinds
async def test_unknown_lines_and_items_are_skipped(tmp_path: Path, legacy: bool) -> None:
    made = Rollout(legacy=legacy, moment=NOW)
    made.start(NOW)
    made.prompt("question", NOW)
    junk = (b"", b"\0" * 100, b"[]", b"5", b'"user_message"', b'{"type":"event_msg"}', b'{"type":[],"payload":"x"}')
    for line in (*junk, b"[" * 100_000, b'{"payload":{"type":"user_message","message":"spoof"}}'):
        made.add_bytes(line)
    made.add("new_type", {"type": "user_message", "message": "spoof"}, NOW)
    made.event("new_event", NOW, message="spoof")
    made.item("NewItem", NOW, content=[{"type": "text", "text": "spoof"}])
    made.add("compacted", {"message": "", "replacement_history": [{"type": "message", "role": "user"}]}, NOW)
    made.answer("answer", NOW)
    made.end(NOW)
    made.write(tmp_path)
    assert await texts_of(tmp_path, made.id) == ["question", "answer"]
    assert (await session_of(tmp_path, made.id)).name == "question"


async def test_what_a_tool_was_called_with_or_returned_is_no_message(tmp_path: Path) -> None:
    spoof = '{"type":"event_msg","payload":{"type":"user_message","message":"spoof"}}'
    for legacy in (False, True):
        made = rollout(legacy=legacy)
        made.tool("cat", '{"path":"rollout.jsonl"}', f"{spoof}\n{spoof}", NOW)
        made.write(tmp_path)
        assert await texts_of(tmp_path, made.id) == ["question", "answer"]


async def test_the_first_header_is_that_of_the_thread_and_the_copied_messages_are_its_own(tmp_path: Path) -> None:
    copied = rollout("copied", legacy=True)
    fork = Rollout(legacy=True, moment=NOW, forked_from_id=copied.id, cwd="/home/user/fork")
    fork.lines += copied.lines
    fork.turn("copied", "answer", NOW)
    fork.write(tmp_path)
    session = await session_of(tmp_path, fork.id)
    assert (session.parent_id, session.project) == (copied.id, "/home/user/fork")
    assert await texts_of(tmp_path, fork.id) == ["copied", "answer"] * 2


@both_kinds
async def test_a_turn_without_an_end_runs_as_long_as_its_file_grows_or_is_locked(tmp_path: Path, legacy: bool) -> None:
    made = rollout(legacy=legacy)
    made.start(NOW)
    made.prompt("unanswered", NOW)
    path = made.write(tmp_path)
    lock = tmp_path / "thread-writer-locks" / f"{made.id}.lock"
    lock.parent.mkdir()

    async def statuses() -> list[str]:
        async with opened(tmp_path) as backend:
            return [run.status for run in (await backend.get_session_runs(made.id)).runs]

    assert await statuses() == ["running", "completed"]
    os.utime(path, (1e9, 1e9))
    assert await statuses() == ["cancelled", "completed"]
    with lock.open("w") as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert await statuses() == ["running", "completed"]


@pytest.mark.parametrize("legacy", [False, True])
async def test_the_history_of_an_unknown_kind_is_that_of_the_events_in_it(tmp_path: Path, legacy: bool) -> None:
    made = Rollout(legacy=legacy, moment=NOW, history_mode="chaptered")
    made.turn("question", "answer", NOW)
    made.write(tmp_path)
    assert await texts_of(tmp_path, made.id) == ["question", "answer"]
    assert await note_of(tmp_path, made.id) == (
        "A newer version of Codex wrote this session, so messages may be missing."
    )


async def test_a_paginated_thread_shows_all_turns_since_codex_reverts_it_by_a_new_file(tmp_path: Path) -> None:
    made = rollout()
    made.event("thread_rolled_back", NOW, num_turns=1)
    made.write(tmp_path)
    assert await texts_of(tmp_path, made.id) == ["question", "answer"]


async def test_turns_that_were_rolled_back_are_left_out_of_each_page(tmp_path: Path) -> None:
    made = Rollout(legacy=True, moment=NOW)
    for number, back in ((1, 0), (2, 1), (3, 0), (4, 0), (5, 2), (6, 0), (7, 9), (8, 0)):
        made.turn(f"question {number}", f"answer {number}", NOW)
        if back:
            made.event("thread_rolled_back", NOW, num_turns=back)
    made.write(tmp_path)
    assert await texts_of(tmp_path, made.id) == ["question 8", "answer 8"]
    made.turn("question 9", "answer 9", NOW)
    for count in (1, 1):
        made.turn("undone", "undone", NOW)
        made.turn("undone", "undone", NOW)
        made.event("thread_rolled_back", NOW, num_turns=count)
        made.event("thread_rolled_back", NOW, num_turns=1)
    made.turn("question 10", "answer 10", NOW)
    made.write(tmp_path)
    async with opened(tmp_path) as backend:
        for limit in (1, 2, 200):
            texts = [message.text for message in await messages_of(backend, made.id, limit)]
            assert texts == [f"{kind} {number}" for number in (8, 9, 10) for kind in ("question", "answer")]


async def test_images_are_described_and_their_data_is_not_returned(tmp_path: Path) -> None:
    made = Rollout(moment=NOW)
    made.prompt("look", NOW, ["data:image/webp;base64," + "A" * 400, "https://example.org/cat.JPG"])
    made.write(tmp_path)
    async with opened(tmp_path) as backend:
        (message,) = (await backend.get_session_history(made.id)).messages
    shown = [(item.type, item.media_type, item.url, item.bytes) for item in message.attachments]
    assert shown == [
        ("image", "image/webp", "", 300),
        ("image", "image/jpeg", "https://example.org/cat.JPG", None),
    ]


async def test_a_line_that_is_too_long_is_skipped_with_a_note(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(lines, "_LONGEST_LINE", 200_000)
    made = rollout("before")
    made.prompt("x" * 300_000, NOW)
    made.turn("after", "answer", NOW)
    made.write(tmp_path)
    assert await texts_of(tmp_path, made.id) == ["before", "answer", "after", "answer"]
    assert await note_of(tmp_path, made.id) == TORN


async def test_a_cursor_into_a_file_that_was_replaced_is_refused(tmp_path: Path) -> None:
    made = rollout()
    made.turn("second", "reply", NOW)
    path = made.write(tmp_path)
    async with opened(tmp_path) as backend:
        cursor = (await backend.get_session_history(made.id, limit=1)).next_cursor
        path.write_bytes(made.lines[0])
        with pytest.raises(Invalid, match="no longer exists"):
            await backend.get_session_history(made.id, limit=1, cursor=cursor)
        with pytest.raises(NotFound):
            await backend.get_session_history(made.id, HistoryQuery(around="byte-1"))


async def test_the_tools_of_paginated_threads_have_names_arguments_and_results(tmp_path: Path) -> None:
    made = Rollout(moment=NOW)
    change = {"/home/user/a.txt": {"type": "update", "unified_diff": "-a\n+b"}}
    made.item("FileChange", NOW, "t1", changes=change, status="completed", stdout="Success.")
    made.item("WebSearch", NOW, "t2", query="weather in Rome")
    made.item("McpToolCall", NOW, "t3", server="s", tool="get", arguments={"a": 1}, error={"message": "no such city"})
    made.item("DynamicToolCall", NOW, "t4", tool="ask", arguments={}, content_items=[{"type": "text", "text": "yes"}])
    made.item("Reasoning", NOW, "t5", summary_text=["hidden"])
    made.write(tmp_path)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, made.id)
    calls = [(message.id, call.name, call.arguments) for message in messages for call in message.tool_calls]
    results = [(message.id, message.tool_name, message.text) for message in messages if message.role == "tool"]
    diff = '{"/home/user/a.txt":{"type":"update","unified_diff":"-a\\n+b"}}'
    assert calls == [
        ("t1", "apply_patch", diff),
        ("t2", "web_search", '{"query":"weather in Rome"}'),
        ("t3", "get", '{"a":1}'),
        ("t4", "ask", "{}"),
    ]
    assert results == [
        ("t1-result", "apply_patch", "Success."),
        ("t2-result", "web_search", ""),
        ("t3-result", "get", "no such city"),
        ("t4-result", "ask", "yes"),
    ]


async def test_the_tools_of_legacy_threads_are_what_the_model_saw(tmp_path: Path) -> None:
    made = Rollout(legacy=True, moment=NOW)
    action = {"type": "exec", "command": ["ls"]}
    for payload in (
        {"type": "local_shell_call", "call_id": "c1", "action": action},
        {"type": "custom_tool_call", "call_id": "c2", "name": "apply_patch", "input": "*** Begin Patch"},
        {"type": "custom_tool_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "Done."}]},
        {"type": "function_call_output", "call_id": "c1", "output": "a.txt"},
        {"type": "function_call_output", "call_id": "c9", "output": "of a call that is missing"},
        {"type": "reasoning", "encrypted_content": "gAAAA"},
    ):
        made.add("response_item", payload, NOW)
    made.write(tmp_path)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, made.id)
    assert [(call.name, call.arguments) for message in messages for call in message.tool_calls] == [
        ("local_shell", '{"type":"exec","command":["ls"]}'),
        ("apply_patch", "*** Begin Patch"),
    ]
    assert [(message.tool_name, message.text) for message in messages if message.role == "tool"] == [
        ("apply_patch", "Done."),
        ("local_shell", "a.txt"),
        ("", "of a call that is missing"),
    ]


async def test_the_tokens_of_a_legacy_threads_run_are_those_of_its_requests(tmp_path: Path) -> None:
    async with opened(copy_fixtures(tmp_path / "codex")) as backend:
        runs = (await backend.get_session_runs(labelled("legacy_fork"))).runs
    assert [run.total_tokens for run in runs] == [5202, 5139, 5073, 5052, 9866]
    made = Rollout(legacy=True, moment=NOW)

    def count(total: int, last: int) -> None:
        usage: JsonObject = {"total_token_usage": {"total_tokens": total}, "last_token_usage": {"total_tokens": last}}
        made.event("token_count", NOW, info=usage)

    turns: Sequence[tuple[tuple[int, int] | None, Sequence[tuple[int, int]]]] = (
        ((0, 0), [(100, 100), (250, 150)]),
        ((250, 150), [(400, 150)]),
        (None, [(1000, 600), (1100, 100)]),  # as if no count were repeated
        (None, []),
    )
    for repeated, requests in turns:
        made.start(NOW)
        made.prompt("question", NOW)
        if repeated is not None:
            count(*repeated)
        for request in requests:
            made.answer("answer", NOW)
            count(*request)
        made.end(NOW)
    made.write(tmp_path)
    async with opened(tmp_path) as backend:
        runs = (await backend.get_session_runs(made.id)).runs
    assert [run.total_tokens for run in runs] == [None, 700, 150, 250]
