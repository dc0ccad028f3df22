"""Threads that Codex 0.98, 0.120 and 0.171 wrote are shown as Codex shows them, and not changed by that."""

import math
import shutil
import sqlite3
import sys
from collections.abc import Callable
from contextlib import closing
from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.transcript_feed import NEWEST
from mcp_sessions.errors import Invalid
from mcp_sessions.models import HistoryQuery, SessionFilter

from ...support.file_states import PROCESS_EVENTS, states_in, watched
from .homes import EXPECTED, FIXTURES, copy_fixtures, file_of, labelled, listed, messages_of, opened

HOME = FIXTURES / "home"
RENAMED = labelled("archived")
TOOLS = {"commandExecution": "exec_command", "collabAgentToolCall": "spawn_agent"}
STATUSES = {"completed": "completed", "interrupted": "cancelled"}
each_thread = pytest.mark.parametrize(
    "expected", EXPECTED, ids=lambda expected: expected["label"] or expected["source"]
)


@each_thread
@pytest.mark.parametrize("limit", [1, 200])
async def test_the_messages_are_those_that_codex_shows(expected: dict[str, Any], limit: int) -> None:
    async with opened(HOME) as backend:
        messages = await messages_of(backend, expected["id"], limit)
    said = [message for message in messages if message.role in ("user", "assistant") and not message.tool_calls]
    assert [(message.role, message.text[:80], len(message.attachments)) for message in said] == [
        (wanted["role"], wanted["text"], wanted.get("images", 0)) for wanted in expected["messages"]
    ]
    times = [round(message.created_at.timestamp() * 1000) if message.created_at else 0 for message in said]
    assert [wanted["at_ms"] or time for wanted, time in zip(expected["messages"], times, strict=True)] == times
    assert len({message.id for message in messages}) == len(messages)


@each_thread
async def test_a_session_is_what_codex_lists(expected: dict[str, Any]) -> None:
    async with opened(HOME) as backend:
        session = await backend.get_session(expected["id"])
    assert session.name[:80] == (expected["name"] or expected["preview"])
    assert (session.project, session.branch, session.type) == (expected["cwd"], "master", "agent")
    assert (session.archived_at is not None) is expected["archived"]
    assert session.created_at is not None
    assert session.updated_at is not None
    assert (int(session.created_at.timestamp()), int(session.updated_at.timestamp())) == (
        expected["createdAt"],
        expected["updatedAt"],
    )
    source: Any = expected["source"]
    spawned = "" if isinstance(source, str) else source["subAgent"]["thread_spawn"]["parent_thread_id"]
    assert session.parent_id == (expected["forkedFromId"] or spawned)
    can_resume = not (expected["archived"] or spawned)
    assert session.resume_command == (f"codex resume {session.id}" if can_resume else "")


@each_thread
async def test_the_runs_are_the_turns_that_codex_shows(expected: dict[str, Any]) -> None:
    async with opened(HOME) as backend:
        runs = list(reversed((await backend.get_session_runs(expected["id"], limit=100)).runs))
        messages = await messages_of(backend, expected["id"])
    turns = [turn for turn in expected["turns"] if "userMessage" in turn["items"]]
    assert [run.status for run in runs] == [STATUSES[turn["status"]] for turn in turns]
    if expected["historyMode"] == "paginated":  # Codex doesn't show the tools of legacy threads
        assert [run.tool_calls for run in runs] == [sum(item in TOOLS for item in turn["items"]) for turn in turns]
    compactions = [message for message in messages if message.role == "system"]
    assert len(compactions) == sum("contextCompaction" in turn["items"] for turn in expected["turns"])


async def test_all_threads_are_listed_those_of_subagents_too() -> None:
    async with opened(HOME) as backend:
        for archived in (False, True):
            wanted = {one["id"] for one in EXPECTED if one["archived"] is archived}
            assert {row.id for row in await listed(backend, archived=archived)} == wanted


async def test_tools_are_shown_with_their_results_in_both_kinds_of_threads() -> None:
    async with opened(HOME) as backend:
        for label, output in (("paginated", "three\nhello\n"), ("legacy_named", "Chunk ID: 75fa02\n")):
            messages = await messages_of(backend, labelled(label))
            (call,) = (message for message in messages if message.tool_calls)
            (result,) = (message for message in messages if message.role == "tool")
            assert call.tool_calls[0].name == result.tool_name == "exec_command"
            assert messages.index(result) == messages.index(call) + 1
            assert "echo t" in call.tool_calls[0].arguments
            assert result.text.startswith(output)


async def read_everything(backend: SessionBackend) -> None:
    """Call every operation on every session."""
    await backend.check_reachable()
    for order in ("updated_desc", "updated_asc", "created_desc", "created_asc"):
        for archived in (False, True):
            await backend.list_sessions(SessionFilter(order=order, archived=archived), limit=100)
    await backend.search_sessions("meadow")
    await backend.find_session_ids("0")
    async for session in backend.changes(None):
        await backend.get_session(session.id)
        await backend.export_session(session.id)
        for message in (await backend.get_session_history(session.id, limit=2)).messages:
            await backend.get_session_history(session.id, HistoryQuery(message_id=message.id))
        for run in (await backend.get_session_runs(session.id, limit=2)).runs:
            await backend.get_session_runs(session.id, run_id=run.id)


def rename(home: Path, name: str) -> sqlite3.Connection:
    """Rename a thread as Codex does, and leave the change in the database's log."""
    connection = sqlite3.connect(home / "state_5.sqlite")
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("PRAGMA wal_autocheckpoint=0")
    connection.execute("UPDATE threads SET name = ? WHERE id = ?", (name, RENAMED))
    connection.commit()
    return connection


def without_log(home: Path) -> None:
    with closing(rename(home, "Finished compass")):
        pass
    assert not (home / "state_5.sqlite-wal").exists()


def with_log_and_index(home: Path) -> None:
    """Leave what Codex leaves if it is killed."""
    kept = home.parent / "kept"
    kept.mkdir()
    with closing(rename(home, "Finished compass")):
        for path in home.glob("state_5.sqlite*"):
            shutil.copy2(path, kept)
    for path in kept.iterdir():
        shutil.move(path, home / path.name)


def with_log_alone(home: Path) -> None:
    """Leave what a backup may have."""
    with_log_and_index(home)
    (home / "state_5.sqlite-shm").unlink()


@pytest.mark.parametrize("leave", [without_log, with_log_and_index, with_log_alone])
async def test_reading_changes_nothing_starts_nothing_and_opens_no_other_file(
    tmp_path: Path, leave: Callable[[Path], None], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nonexistent")  # doctor starts a codex that it finds, to ask for its version
    home = copy_fixtures(tmp_path)
    with closing(rename(home, "Before")):
        pass
    leave(home)
    for name in ("auth.json", "config.toml", "history.jsonl", "logs_2.sqlite", "thread_history_1.sqlite"):
        (home / name).write_text("{}")
    locks = home / "thread-writer-locks"
    locks.mkdir()
    (locks / f"{RENAMED}.lock").touch()
    before = states_in(tmp_path)
    with watched() as events:
        async with opened(home) as backend:
            await read_everything(backend)
            await backend.examine(lambda check: None)
            assert (await backend.get_session(RENAMED)).name == "Finished compass"
    assert states_in(tmp_path) == before
    names = {Path(path).name for event, path in events if event == "open" and path.startswith(str(home))}
    assert names >= {file_of(home, RENAMED).name, "session_index.jsonl", f"{RENAMED}.lock"}
    others = {name for name in names if not name.startswith("rollout-") and not name.endswith(".lock")}
    assert others <= {"session_index.jsonl", "state_5.sqlite", "state_5.sqlite-wal"}
    assert not [event for event, _ in events if event.startswith(PROCESS_EVENTS)]


_WRITER = """
import sqlite3, sys
connection = sqlite3.connect(sys.argv[1], isolation_level=None)
connection.execute("PRAGMA journal_mode=WAL")
for name in sys.stdin:
    connection.execute("UPDATE threads SET name = ? WHERE id = ?", (name.strip(), sys.argv[2]))
    print(flush=True)
"""
"""A program that keeps the database open, as Codex does."""


async def test_a_change_is_seen_while_codex_is_running_and_its_files_stay_as_they_are(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    command = [sys.executable, "-c", _WRITER, str(home / "state_5.sqlite"), RENAMED]
    with anyio.fail_after(20):
        async with await anyio.open_process(command, stderr=None) as writer, opened(home) as backend:
            assert writer.stdin is not None
            assert writer.stdout is not None
            for name in ("First", "Second"):
                await writer.stdin.send(f"{name}\n".encode())
                await writer.stdout.receive(1)
                before = states_in(tmp_path)
                assert (home / "state_5.sqlite-shm") in before
                assert (await backend.get_session(RENAMED)).name == name
                assert states_in(tmp_path) == before
            await writer.stdin.aclose()


@pytest.mark.parametrize(
    "words", ["permissions", "environment_context", "You are a coding agent", "stub-model", "Chunk", "injected"]
)
async def test_what_codex_does_not_show_is_not_found(words: str) -> None:
    assert any(words.encode() in path.read_bytes() for path in HOME.rglob("rollout-*"))
    async with opened(HOME) as backend:
        assert (await backend.search_sessions(words)).hits == ()


@each_thread
async def test_a_search_reads_the_texts_of_the_history_from_any_of_them_on(expected: dict[str, Any]) -> None:
    """Compare without the texts that a fork has in common with another thread."""
    async with opened(HOME) as backend:
        messages = [message for message in await messages_of(backend, expected["id"]) if message.role != "tool"]
        feed = await backend.transcript_feed()
        assert feed is not None
        with feed.open(expected["id"], math.inf) as transcript:
            assert transcript is not None
            found = list(transcript.messages(NEWEST))
            shown = [message for message in messages if not message.tool_calls]
            own = shown[-len(found) :] if transcript.bases else shown
            assert [(text.id, text.role, text.text, text.created_at) for text, *_ in reversed(found)] == [
                (message.id, message.role, message.text, message.created_at) for message in own
            ]
            for place, text in enumerate(found):
                assert list(transcript.messages(text.position)) == found[place:]
            for position in ((1,), (0, 1)):
                with pytest.raises(Invalid):
                    next(transcript.messages(position))
