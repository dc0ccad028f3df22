"""Forks are what Claude Code itself would have written."""

import json
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.errors import Invalid
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import NewMessage

from ...support.claude_transcripts import Transcript, conversation
from .folders import EXPECTED, copy_fixtures, messages_of, opened, texts_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
HELLO = ((NewMessage(role="user", text="Hello"), NewMessage(role="assistant", text="Hi")),)
UUID = re.compile("[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}")
each_session = pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected["id"][:8])


def lines_of(root: Path, session_id: str) -> list[JsonObject]:
    (path,) = root.glob(f"projects/*/{session_id}.jsonl")
    return [json.loads(line) for line in path.read_bytes().split(b"\n") if line]


@each_session
async def test_a_fork_of_each_version_has_the_same_messages(tmp_path: Path, expected: Mapping[str, Any]) -> None:
    root = copy_fixtures(tmp_path)
    async with opened(root) as backend:
        before = await messages_of(backend, expected["id"])
        fork = await backend.fork_session(expected["id"])
        assert await messages_of(backend, expected["id"]) == before
        after = await messages_of(backend, fork.id)
    assert [(message.role, message.text) for message in after] == [(message.role, message.text) for message in before]
    assert not {message.id for message in after} & {message.id for message in before}
    assert (fork.parent_id, fork.resume_command) == (expected["id"], f"claude --resume {fork.id}")
    assert fork.name.endswith(" (fork)")


@each_session
async def test_a_fork_ends_with_each_message_that_is_named(tmp_path: Path, expected: Mapping[str, Any]) -> None:
    root = copy_fixtures(tmp_path)
    async with opened(root) as backend:
        messages = [message for message in await messages_of(backend, expected["id"]) if message.role != "system"]
        for message in messages[:: max(len(messages) // 4, 1)]:
            fork = await backend.fork_session(expected["id"], up_to_message_id=message.id)
            said = [copied for copied in await messages_of(backend, fork.id) if copied.role != "system"]
            count = messages.index(message) + 1
            # Results of parallel calls may stand in the file before the last line of their answer.
            shown = [copied.text for copied in said if copied.role != "tool"]
            assert shown == [one.text for one in messages[:count] if one.role != "tool"]


async def test_each_line_says_where_it_came_from_and_none_points_to_the_source(tmp_path: Path) -> None:
    transcript = Transcript()
    prompt = transcript.prompt("Hello", NOW, slug="a-b", teamName="", permissionMode="default")
    progress = transcript.link("progress", NOW, data={})
    transcript.link("progress", NOW, data={})
    transcript.answer([{"type": "text", "text": "Hi"}], NOW, sourceToolAssistantUUID=prompt)
    transcript.prompt("of a subagent", NOW, parent="", isSidechain=True)
    transcript.add("content-replacement", replacements=[1])
    path = transcript.write(tmp_path, NOW)
    began = datetime.now(UTC) - timedelta(seconds=1)
    async with opened(tmp_path) as backend:
        fork = await backend.fork_session(transcript.id, name="Another way")
    lines = lines_of(tmp_path, fork.id)
    user, assistant, replacement, title, name = lines
    assert UUID.fullmatch(str(user["uuid"]))
    assert (user["parentUuid"], assistant["parentUuid"]) == (None, user["uuid"])
    assert user["forkedFrom"] == {"sessionId": transcript.id, "messageUuid": prompt}
    assert user["permissionMode"] == "default"
    assert all(line["sessionId"] == fork.id for line in lines)
    assert progress not in json.dumps(lines)
    assert not {"slug", "teamName", "sourceToolAssistantUUID"} & {*user, *assistant}
    assert datetime.fromisoformat(str(assistant["timestamp"])) >= began
    assert replacement["replacements"] == [1]
    assert (title["customTitle"], name["agentName"], fork.name) == ("Another way", "Another way", "Another way")
    assert path.with_name(f"{fork.id}.jsonl").stat().st_mode & 0o777 == 0o600


async def test_a_fork_has_what_the_session_had_when_it_was_forked(tmp_path: Path) -> None:
    transcript = conversation(HELLO, NOW, name="Trip")
    path = transcript.write(tmp_path, NOW)
    with path.open("ab") as file:
        file.write(b'{"type":"user","uuid":"')
    async with opened(tmp_path) as backend:
        fork = await backend.fork_session(transcript.id)
    assert fork.name == "Trip (fork)"
    assert await texts_of(tmp_path, fork.id) == ["Hello", "Hi"]


async def test_a_session_without_messages_is_not_forked_and_no_file_stays(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.title("Empty")
    path = transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        with pytest.raises(Invalid):
            await backend.fork_session(transcript.id)
    assert list(path.parent.iterdir()) == [path]
