"""Lines that are appended to transcripts: new names and messages."""

import json
import os
import threading
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import anyio
import pytest
from anyio import from_thread

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.transcript_feed import FileState
from mcp_sessions.backends.transcripts import appending
from mcp_sessions.errors import Busy, Conflict, Invalid, NotFound, Unsupported
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import Attachment, NewMessage, ToolCall

from ...support.claude_transcripts import Transcript, conversation
from .folders import EXPECTED, copy_fixtures, messages_of, opened, overlaid, register, texts_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
PAIR = (NewMessage(role="user", text="More?"), NewMessage(role="assistant", text="Yes."))
HELLO = ((NewMessage(role="user", text="Hello"), NewMessage(role="assistant", text="Hi")),)
each_session = pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected["id"][:8])


def lines_after(path: Path, before: bytes) -> list[JsonObject]:
    """Return the lines that were appended, after checking that all earlier bytes are as they were."""
    data = path.read_bytes()
    assert data.startswith(before)
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data[len(before) :].splitlines() if line]


async def test_a_rename_appends_the_title_and_the_name_of_the_window_at_once(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW, name="Before")
    path = transcript.write(tmp_path, NOW)
    before = path.read_bytes()
    async with opened(tmp_path) as backend:
        change = await backend.rename_session(transcript.id, "After")
        session = await backend.get_session(transcript.id)
    assert (change.previous, change.changed, change.note) == ({"name": "Before"}, {"name": "After"}, "")
    assert (session.name, session.version, session.updated_at) == ("After", change.version, NOW)
    assert lines_after(path, before) == [
        {"type": "custom-title", "customTitle": "After", "sessionId": transcript.id},
        {"type": "agent-name", "agentName": "After", "sessionId": transcript.id},
    ]


async def test_a_line_that_was_cut_off_stays_alone(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW)
    path = transcript.write(tmp_path, NOW)
    with path.open("ab") as file:
        file.write(b'{"type":"user","message":{"ro')
    before = path.read_bytes()
    async with opened(tmp_path) as backend:
        await backend.rename_session(transcript.id, "After")
        await backend.append_messages(transcript.id, PAIR)
        assert (await backend.get_session(transcript.id)).name == "After"
        assert [message.text for message in await messages_of(backend, transcript.id)][-2:] == ["More?", "Yes."]
    assert path.read_bytes().startswith(before + b'\n{"type":"custom-title"')


@each_session
async def test_messages_are_appended_to_the_conversation_of_each_version(
    tmp_path: Path, expected: Mapping[str, Any]
) -> None:
    root = copy_fixtures(tmp_path)
    (path,) = root.glob(f"projects/*/{expected['id']}.jsonl")
    before = path.read_bytes()
    async with opened(root) as backend:
        messages = await messages_of(backend, expected["id"])
        change = await backend.append_messages(expected["id"], PAIR)
        after = await messages_of(backend, expected["id"])
        assert change.version == (await backend.get_session(expected["id"])).version
    assert [message.id for message in after[:-2]] == [message.id for message in messages]
    assert [(message.role, message.text) for message in after[-2:]] == [("user", "More?"), ("assistant", "Yes.")]
    assert after[-2].id in change.note
    user, assistant, last_prompt = lines_after(path, before)
    assert assistant["parentUuid"] == user["uuid"]
    assert str(assistant["timestamp"]) > str(user["timestamp"])  # or Claude Code before 2.1 would leave the answer out
    assert last_prompt["leafUuid"] == assistant["uuid"]
    assert (last_prompt["type"], last_prompt["lastPrompt"]) == ("last-prompt", "More?")


async def test_a_session_that_is_open_can_be_renamed_and_not_continued(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW)
    path = transcript.write(tmp_path, NOW)
    register(tmp_path, os.getpid(), transcript.id)
    async with opened(tmp_path) as backend:
        assert "restart" in (await backend.rename_session(transcript.id, "After")).note
        before = path.read_bytes()
        with pytest.raises(Conflict, match=f"process {os.getpid()}"):
            await backend.append_messages(transcript.id, PAIR)
    assert path.read_bytes() == before


@pytest.mark.parametrize(
    ("message", "error"),
    [
        (NewMessage(role="system", text="x"), Unsupported),
        (NewMessage(role="tool", text="x", tool_name="t"), Unsupported),
        (NewMessage(role="assistant", text="x", tool_calls=(ToolCall(id="1", name="t"),)), Unsupported),
        (
            NewMessage(role="user", text="x", attachments=(Attachment(type="image", url="https://x.example"),)),
            Unsupported,
        ),
        (NewMessage(role="user", text=" \n"), Invalid),
    ],
)
async def test_a_message_after_which_claude_code_could_not_continue_is_refused(
    tmp_path: Path, message: NewMessage, error: type[Exception]
) -> None:
    transcript = conversation(HELLO, NOW)
    path = transcript.write(tmp_path, NOW)
    before = path.read_bytes()
    async with opened(tmp_path) as backend:
        with pytest.raises(error):
            await backend.append_messages(transcript.id, [*PAIR, message])
        with pytest.raises(Invalid):
            await backend.rename_session(transcript.id, "")
    assert path.read_bytes() == before


async def test_a_file_that_was_changed_since_it_was_read_is_a_conflict(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW)
    path = transcript.write(tmp_path, NOW)
    found = path.stat()
    state = FileState(found.st_ino, found.st_size, found.st_mtime_ns)
    os.utime(path, ns=(1, 1))
    with pytest.raises(Conflict):
        appending.append_lines(str(path), [{"type": "mode"}], after=state)
    assert path.read_bytes() == transcript.data


async def test_a_file_that_was_replaced_during_the_write_is_a_conflict(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = conversation(HELLO, NOW)
    path = transcript.write(tmp_path, NOW)
    write = os.write

    def write_and_replace(descriptor: int, data: bytes) -> int:
        path.with_suffix(".new").write_bytes(transcript.data + data)
        path.with_suffix(".new").replace(path)
        return write(descriptor, data)

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", write_and_replace)
        with pytest.raises(Conflict):
            appending.append_lines(str(path), [{"type": "mode"}])


async def test_nothing_is_created_for_a_session_that_is_gone(tmp_path: Path) -> None:
    path = tmp_path / "gone.jsonl"
    with pytest.raises(NotFound):
        appending.append_lines(str(path), [{"type": "mode"}])
    path.touch()
    with pytest.raises(NotFound):
        appending.append_lines(str(path), [{"type": "mode"}])
    assert path.read_bytes() == b""


async def test_a_subagent_is_not_changed(tmp_path: Path) -> None:
    root = copy_fixtures(tmp_path)
    session_id = "93c83ab1-4731-438e-893d-8eaa5e8994c6"
    async with opened(root) as backend:
        runs = (await backend.get_session_runs(session_id)).runs
        agent = next(run.id for run in runs if "/" in run.id)
        with pytest.raises(Unsupported):
            await backend.rename_session(agent, "x")


@pytest.mark.parametrize(
    ("fields", "line"),
    [
        ({"a": "\ud800", "b": "é"}, b'{"a":"\\ud800","b":"\\u00e9"}\n'),
        ({"a": float("inf"), "b": [1e3, -0.0]}, b'{"a":null,"b":[1000.0,-0.0]}\n'),
        ({"a": "é\u2028"}, '{"a":"é\u2028"}\n'.encode()),
    ],
)
def test_a_line_is_valid_json_whatever_was_read(fields: JsonObject, line: bytes) -> None:
    assert appending.encoded_line(fields) == line


async def test_the_first_messages_of_a_session_have_no_parent(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.title("Empty")
    transcript.write(tmp_path, NOW - timedelta(days=1))
    async with opened(tmp_path) as backend:
        await backend.append_messages(transcript.id, PAIR)
    assert await texts_of(tmp_path, transcript.id) == ["More?", "Yes."]


async def test_a_tag_is_that_of_claude_code_and_other_metadata_is_kept_beside_it(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW, name="Trip")
    path = transcript.write(tmp_path, NOW)
    before = path.read_bytes()

    async def metadata_of(backend: SessionBackend) -> JsonObject:
        return (await backend.get_session(transcript.id)).metadata

    async with overlaid(tmp_path) as backend:
        version = (await backend.get_session(transcript.id)).version
        change = await backend.update_session(
            transcript.id, metadata={"tag": "  red ", "a": 1}, expected_version=version
        )
        assert lines_after(path, before) == [{"type": "tag", "tag": "red", "sessionId": transcript.id}]
        assert (change.changed, change.previous) == ({"metadata": {"tag": "red", "a": 1}}, {"metadata": {}})
        assert change.version == (await backend.get_session(transcript.id)).version
        with pytest.raises(Conflict):
            await backend.update_session(transcript.id, metadata={"tag": "late"}, expected_version=version)
        with path.open("ab") as file:  # by Claude Code, and then a lot of work
            file.write(json.dumps({"type": "tag", "tag": "blue"}).encode() + b"\n")
            file.write(b'{"type":"mode","mode":"' + b"z" * 200_000 + b'"}\n')
        assert await metadata_of(backend) == {"tag": "blue", "a": 1}
        before = path.read_bytes()
        await backend.update_session(transcript.id, metadata={"a": 2})
        assert path.read_bytes() == before
        change = await backend.update_session(transcript.id, metadata={"tag": None})
        assert lines_after(path, before)[0]["tag"] == ""
        assert change.previous == {"metadata": {"tag": "blue", "a": 2}}
        await backend.update_session(transcript.id, metadata={"tag": "green"})
        await backend.update_session(transcript.id, clear=("metadata",), metadata={"b": 3})
        assert await metadata_of(backend) == {"b": 3}
        for tag in (7, ["red"], "x" * 201, "\0"):
            with pytest.raises(Invalid, match="tag"):
                await backend.update_session(transcript.id, metadata={"tag": tag, "b": 4})
        assert await metadata_of(backend) == {"b": 3}


async def test_without_an_overlay_only_a_tag_can_be_stored(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW, name="Trip")
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        with pytest.raises(Unsupported, match="update_session"):
            await backend.update_session(transcript.id, metadata={"tag": "red", "a": 1})
        await backend.update_session(transcript.id, metadata={"tag": "red"})
        assert (await backend.get_session(transcript.id)).metadata == {"tag": "red"}


@pytest.mark.parametrize(
    ("time", "is_after"), [("2999-01-01T00:00:00.000Z", False), ("9999-12-31T23:59:59.999Z", False), ("soon", True)]
)
async def test_messages_are_later_than_the_last_one_unless_its_time_is_wrong(
    tmp_path: Path, time: str, *, is_after: bool
) -> None:
    transcript = conversation(HELLO, NOW, name="Trip")
    soon = datetime.now(UTC) + timedelta(hours=1)
    time = soon.isoformat() if time == "soon" else time
    transcript.lines[2]["timestamp"] = time
    path = transcript.write(tmp_path, NOW)
    before = path.read_bytes()
    async with opened(tmp_path) as backend:
        await backend.append_messages(transcript.id, PAIR)
    user = lines_after(path, before)[0]
    assert (datetime.fromisoformat(str(user["timestamp"])) > soon) == is_after


async def test_a_session_stays_locked_while_the_thread_of_a_cancelled_change_still_writes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("mcp_sessions.backends.file_locks._PATIENCE", 0.01)
    transcript = conversation(HELLO, NOW)
    transcript.write(tmp_path, NOW)
    is_writing, disk_answers = anyio.Event(), threading.Event()
    real = os.fsync

    def slow_fsync(descriptor: int) -> None:
        from_thread.run_sync(is_writing.set)
        assert disk_answers.wait(10)
        real(descriptor)

    async with opened(tmp_path) as backend, opened(tmp_path) as other, anyio.create_task_group() as tasks:
        with anyio.fail_after(10):
            monkeypatch.setattr(os, "fsync", slow_fsync)
            tasks.start_soon(backend.rename_session, transcript.id, "Slow")
            await is_writing.wait()
            monkeypatch.setattr(os, "fsync", real)
            tasks.cancel_scope.cancel()
            with anyio.CancelScope(shield=True):
                with pytest.raises(Busy):
                    await other.rename_session(transcript.id, "Meanwhile")
                disk_answers.set()
                monkeypatch.setattr("mcp_sessions.backends.file_locks._PATIENCE", 10)
                await other.rename_session(transcript.id, "Afterwards")
                assert (await other.get_session(transcript.id)).name == "Afterwards"
