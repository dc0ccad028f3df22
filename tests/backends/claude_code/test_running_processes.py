"""Which sessions are open, and which one the Claude Code that started this process has open."""

import os
import subprocess
import sys
from collections.abc import Generator
from datetime import UTC, datetime
from pathlib import Path

import anyio
import pytest
from mcp.client import Client

from mcp_sessions import create_server, open_backend
from mcp_sessions.backends.claude_code import backend as backend_module
from mcp_sessions.backends.claude_code.running_processes import live_sessions
from mcp_sessions.backends.deadline import deadline, remaining
from mcp_sessions.server.context import META_KEY

from ...support.claude_transcripts import Transcript
from .folders import listed, opened, register

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="only Linux tells when a process began, in /proc")


@pytest.fixture
def sessions(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Write three sessions, and return their ids."""
    monkeypatch.delenv("CLAUDE_CODE_SESSION_ID", raising=False)
    transcripts = [Transcript() for _ in range(3)]
    for number, transcript in enumerate(transcripts):
        transcript.prompt(f"session {number}", NOW)
        transcript.write(tmp_path, NOW)
    return [transcript.id for transcript in transcripts]


@pytest.fixture
def process() -> Generator[int]:
    """Yield the number of a running process that did not start this one."""
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as started:
        yield started.pid
        started.kill()


async def test_a_session_is_live_while_the_process_that_opened_it_runs(
    tmp_path: Path, sessions: list[str], process: int
) -> None:
    register(tmp_path, process, sessions[0])
    async with opened(tmp_path) as backend:
        assert [row.id for row in await listed(backend) if row.is_live] == [sessions[0]]
        assert (await backend.get_session(sessions[0])).is_live


def test_a_file_that_a_killed_process_left_behind_says_nothing_though_its_number_is_in_use_again(
    tmp_path: Path, sessions: list[str], process: int
) -> None:
    path = register(tmp_path, process, sessions[0], procStart="1")
    assert live_sessions(tmp_path) == {}
    register(tmp_path, process, sessions[0], pid=1)
    assert live_sessions(tmp_path) == {}
    path.rename(path.with_name("4194305.json"))  # no process has this number
    for name, text in (("5.json", "{"), ("6.json", '{"pid":6,"sessionId":5}'), ("x.json", "{}"), ("07.json", "{}")):
        path.with_name(name).write_text(text)
    assert live_sessions(tmp_path) == {}


async def test_the_current_session_is_the_one_that_the_process_that_started_us_has_open(
    tmp_path: Path, sessions: list[str], process: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", sessions[1])
    register(tmp_path, process, sessions[2])
    async with opened(tmp_path) as backend:
        assert backend.client_session() == sessions[1]
        register(tmp_path, os.getppid(), sessions[0])
        assert backend.client_session() == sessions[0]
        register(tmp_path, os.getppid(), sessions[2])  # as after /clear
        assert backend.client_session() == sessions[2]
        register(tmp_path, os.getppid(), "../../secret")
        assert backend.client_session() == sessions[1]
        monkeypatch.setenv("CLAUDE_CODE_SESSION_ID", "nonsense")
        assert backend.client_session() == ""


async def test_a_call_on_the_current_session_says_that_the_client_named_it(tmp_path: Path, sessions: list[str]) -> None:
    register(tmp_path, os.getppid(), sessions[0])
    async with opened(tmp_path) as backend, Client(create_server(backend, session=sessions[1])) as client:
        result = await client.call_tool("get_session", {"session_id": "current"})
        assert result.structured_content is not None
        assert (result.structured_content["id"], result.structured_content["resolved_from"]) == (
            sessions[0],
            "client",
        )
        assert result.structured_content["is_live"] is True
        named = await client.call_tool("get_session", {"session_id": "current"}, meta={META_KEY: sessions[2]})
        assert named.structured_content is not None
        assert (named.structured_content["id"], named.structured_content["resolved_from"]) == (sessions[2], "meta")
        rows = (await client.call_tool("list_sessions", {})).structured_content
        assert rows is not None
        assert [row["id"] for row in rows["sessions"] if row.get("is_current")] == [sessions[0]]


def _transcript(root: Path, session_id: str) -> Path:
    (path,) = root.glob(f"projects/*/{session_id}.jsonl")
    return path


def _write_much(path: Path) -> None:
    with path.open("ab") as file:
        file.write(b'{"type":"api-request-blob","value":"' + b"x" * 100_000 + b'"}\n')


async def _write_much_and_wait_for_the_name(path: Path) -> None:
    _write_much(path)
    with anyio.fail_after(5):
        while b"A name" not in path.read_bytes()[-64 * 1024 :]:  # noqa: ASYNC110, ASYNC240 - a local file
            await anyio.sleep(0.01)


async def test_the_name_of_an_open_session_stays_where_claude_codes_own_list_looks_for_it(
    tmp_path: Path, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "_NAMES_REPEATED_EVERY", 0.01)
    register(tmp_path, os.getppid(), sessions[0])
    path = _transcript(tmp_path, sessions[0])
    async with opened(tmp_path) as backend:
        await backend.rename_session(sessions[0], "A name")
        for _ in range(2):
            await _write_much_and_wait_for_the_name(path)
        assert (await backend.get_session(sessions[0])).name == "A name"


async def test_a_name_is_still_repeated_after_the_deadline_of_the_call_that_gave_it(
    tmp_path: Path, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "_NAMES_REPEATED_EVERY", 0.01)
    register(tmp_path, os.getppid(), sessions[0])
    path = _transcript(tmp_path, sessions[0])
    async with opened(tmp_path) as backend:
        with deadline(0.5):
            await backend.rename_session(sessions[0], "A name")
            while remaining(1):  # noqa: ASYNC110 - it is a clock
                await anyio.sleep(0.01)
        await _write_much_and_wait_for_the_name(path)


async def test_only_the_last_name_is_repeated_until_claude_code_removes_the_session(
    tmp_path: Path, sessions: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(backend_module, "_NAMES_REPEATED_EVERY", 0.01)
    register(tmp_path, os.getppid(), sessions[0])

    def repeating() -> int:
        return sum("_repeat_names" in (task.name or "") for task in anyio.get_running_tasks())

    async with opened(tmp_path) as backend:
        for name in ("First", "Second", "Second"):
            await backend.rename_session(sessions[0], name)
        assert repeating() == 1
        await backend.protect_session(sessions[0])
        _transcript(tmp_path, sessions[0]).unlink()
        with anyio.fail_after(5):
            while repeating():  # noqa: ASYNC110 - nothing tells of its end
                await anyio.sleep(0.01)
        assert "This is a copy" in (await backend.get_session(sessions[0])).note


@pytest.mark.parametrize("is_renamed", [False, True])
async def test_when_the_server_ends_a_name_is_repeated_unless_there_is_another_one(
    is_renamed: bool, tmp_path: Path, sessions: list[str]
) -> None:
    register(tmp_path, os.getppid(), sessions[0])
    path = _transcript(tmp_path, sessions[0])
    async with opened(tmp_path) as backend:
        await backend.rename_session(sessions[0], "A name")
        await anyio.wait_all_tasks_blocked()
        if is_renamed:
            with path.open("ab") as file:
                file.write(b'{"type":"custom-title","customTitle":"Another"}\n')
        _write_much(path)
    assert path.read_bytes()[-64 * 1024 :].count(b"A name") == (0 if is_renamed else 2)


async def test_the_name_of_a_closed_session_is_written_once(tmp_path: Path, sessions: list[str]) -> None:
    path = _transcript(tmp_path, sessions[0])
    async with opened(tmp_path) as backend:
        await backend.rename_session(sessions[0], "A name")
        _write_much(path)
    assert path.read_bytes().count(b'"customTitle":"A name"') == 1


async def test_of_several_backends_the_one_with_the_clients_session_says_which_it_is(
    tmp_path: Path, sessions: list[str]
) -> None:
    register(tmp_path, os.getppid(), sessions[0])
    backends = {"": open_backend(), "claude": open_backend(f"claude-code://{tmp_path}")}
    async with Client(create_server(backends)) as client:
        result = await client.call_tool("get_session", {"session_id": "current"})
        assert result.structured_content is not None
        assert result.structured_content["id"] == f"claude/{sessions[0]}"
        assert result.structured_content["resolved_from"] == "client"
