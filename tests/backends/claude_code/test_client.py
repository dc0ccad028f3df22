"""The real Claude Code lists, shows and continues what was written here."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import anyio
import pytest

from mcp_sessions.models import NewMessage

from ...support.claude_client import ClaudeClient
from ...support.fakes.messages_api import MessagesApi
from ...support.fakes.model_api import ANSWER, serving
from ...support.snippets import printed
from .folders import listed, messages_of, opened

PROMPT = "We see the fjords by train."
PAIR = (NewMessage(role="user", text="Appended question"), NewMessage(role="assistant", text="Appended answer"))
pytestmark = pytest.mark.slow


@pytest.fixture
def client(tmp_path: Path) -> Iterator[ClaudeClient]:
    project = tmp_path / "project"
    project.mkdir()
    with serving(MessagesApi()) as api:
        yield ClaudeClient(tmp_path / "config", project, api)


async def test_claude_code_shows_and_continues_what_was_renamed_appended_forked_and_restored(
    client: ClaudeClient,
) -> None:
    await anyio.to_thread.run_sync(client.ask, "First question")
    async with opened(client.root) as backend:
        (session,) = await listed(backend)
        assert [message.text for message in await messages_of(backend, session.id)] == ["First question", ANSWER]
        assert session.project == str(client.project)
        await backend.rename_session(session.id, "A new name")
        await backend.append_messages(session.id, PAIR)
        fork = await backend.fork_session(session.id, name="Another way")
        question = (await messages_of(backend, session.id))[0]
        short = await backend.fork_session(session.id, up_to_message_id=question.id, name="Only the question")
        await backend.delete_session(session.id)
        assert session.id not in await anyio.to_thread.run_sync(client.sessions)
        await backend.restore_session(session.id)
        said = ["First question", ANSWER, "Appended question", "Appended answer"]
        assert await anyio.to_thread.run_sync(client.sessions) == {
            session.id: ("A new name", said),
            fork.id: ("Another way", said),
            short.id: ("Only the question", ["First question"]),
        }
        for session_id in (session.id, fork.id):
            sent = await anyio.to_thread.run_sync(partial(client.ask, "And now?", resume=session_id))
            assert [text for text in sent if text in (*said, "And now?")] == [*said, "And now?"]
            after = [message.text for message in await messages_of(backend, session_id)]
            assert after == [*said, "And now?", ANSWER]


async def test_claude_code_names_the_conversation_it_is_in_lists_it_by_that_name_and_finds_it(
    client: ClaudeClient, capsys: pytest.CaptureFixture[str]
) -> None:
    client.add_server(printed(capsys, "claude-code")[0])
    tools = [f"mcp__sessions__{name}" for name in ("rename_session", "search_sessions")]
    client.api.calls = [
        (tools[0], {"session_id": "current", "name": "Trip to Oslo"}),
        (tools[1], {"query": '"fjords by train"', "project": str(client.project)}),
    ]
    ask = partial(client.shown_in_terminal, PROMPT, "--allowedTools", "mcp__sessions")
    assert ANSWER in await anyio.to_thread.run_sync(partial(ask, until=ANSWER))
    async with opened(client.root) as backend:
        (session,) = await listed(backend)
        assert session.name == "Trip to Oslo"
        *_, renamed, found = [
            json.loads(message.text)
            for message in await messages_of(backend, session.id)
            if message.role == "tool" and message.text.startswith("{")
        ]
    assert (renamed["session_id"], renamed["resolved_from"]) == (session.id, "client")
    assert [(hit["session_id"], hit["snippet"]) for hit in found["hits"]] == [(session.id, PROMPT)]
    resume = partial(client.shown_in_terminal, "--resume", until="❯ Trip to Oslo")
    assert "❯TriptoOslo" in await anyio.to_thread.run_sync(resume)
