"""Sessions that Claude Code 1.0, 2.0 and 2.1 wrote are shown as Claude Code shows them, and not changed by that."""

import math
import sys
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.claude_code.running_processes import live_sessions
from mcp_sessions.backends.transcript_feed import NEWEST
from mcp_sessions.models import HistoryQuery, SessionFilter

from .folders import EXPECTED, FIXTURES, copy_fixtures, listed, messages_of, opened

COMPACTED = "d33152bc-9703-402a-a608-1fad92cd6aec"
FOREIGN_SUMMARY = "4eabb9f7-c555-4189-b1c3-634cb533acda"
TORN = "4c908846-5013-4c7c-b3c8-3d3ba5eea52e"
each_session = pytest.mark.parametrize("expected", EXPECTED, ids=lambda expected: expected["id"][:8])


def grouped(lines: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """Return role, id and the begin of the text of each message: the lines of one answer are one message."""
    found: list[tuple[str, str, str]] = []
    last = None
    for line in lines:
        if line["message_id"] and line["message_id"] == last:
            role, id, text = found.pop()
            found.append((role, id, "\n".join(filter(None, (text, line["text"])))))
        else:
            found.append((line["role"], line["uuid"], line["text"]))
        last = line["message_id"]
    return [(role, id, text[:80].replace("\n", " ")) for role, id, text in found]


@each_session
@pytest.mark.parametrize("limit", [1, 200])
async def test_the_messages_are_those_that_claude_code_shows(expected: dict[str, Any], limit: int) -> None:
    async with opened(FIXTURES / "config") as backend:
        messages = await messages_of(backend, expected["id"], limit)
    shown = [(message.role, message.id, message.text[:80].replace("\n", " ")) for message in messages]
    wanted = grouped(expected["messages"])
    if expected["id"] == COMPACTED:  # Claude Code's SDK leaves out what was before
        assert shown[6] == ("system", messages[6].id, messages[6].text[:80])
        assert messages[6].text.startswith("The conversation was compacted here.")
        assert [text for _, _, text in shown[:6:2]] == ["D opening", "STUB_MCP one", "STUB_MCP three"]
        shown = shown[7:]
    assert shown == wanted
    times = {line["uuid"]: line["timestamp"] for line in expected["messages"]}
    assert all(f"{message.created_at:%Y-%m-%dT%H:%M:%S}" == times[message.id][:19] for message in messages[-5:])


@each_session
async def test_a_session_has_the_title_folder_and_branch_that_claude_code_shows(expected: dict[str, Any]) -> None:
    async with opened(FIXTURES / "config") as backend:
        session = await backend.get_session(expected["id"])
    # The SDK takes a summary for the title that Claude Code 1.0 wrote about another session.
    title = "shared old STUB_TOOLS" if expected["id"] == FOREIGN_SUMMARY else expected["title"]
    assert (session.name, session.project, session.branch) == (title, expected["cwd"], expected["branch"])
    assert session.metadata.get("tag") == expected["tag"]
    assert session.resume_command == f"claude --resume {session.id}"


async def test_all_sessions_are_listed_and_no_subagents() -> None:
    async with opened(FIXTURES / "config") as backend:
        assert sorted(row.id for row in await listed(backend)) == sorted(one["id"] for one in EXPECTED)


async def test_a_line_that_was_not_written_to_its_end_is_left_out_and_a_note_says_so() -> None:
    async with opened(FIXTURES / "config") as backend:
        page = await backend.get_session_history(TORN)
    assert len(page.messages) == 4
    assert page.note == "Lines of the file that can't be read were left out."


async def read_everything(backend: SessionBackend) -> None:
    """Call every operation on every session."""
    await backend.check_reachable()
    for order in ("updated_desc", "updated_asc", "created_desc", "created_asc"):
        await backend.list_sessions(SessionFilter(order=order), limit=100)
    await backend.list_sessions(SessionFilter(query="stub"), limit=100)
    await backend.search_sessions("reply")
    backend.client_session()
    await backend.find_session_ids("0")
    assert [session async for session in backend.changes(None)]
    for session in await listed(backend):
        await backend.get_session(session.id)
        await backend.export_session(session.id)
        for message in (await backend.get_session_history(session.id)).messages:
            await backend.get_session_history(session.id, HistoryQuery(message_id=message.id))
        for run in (await backend.get_session_runs(session.id)).runs:
            await backend.get_session_runs(session.id, run_id=run.id)
            if "/" in run.id:
                await backend.export_session(run.id)


def states_in(root: Path) -> dict[Path, tuple[int, int, int, bytes]]:
    """Return the change times, sizes and contents of all files and folders."""
    return {
        path: (path.stat().st_mtime_ns, path.stat().st_ctime_ns, path.stat().st_size, path.read_bytes())
        if path.is_file()
        else (path.stat().st_mtime_ns, path.stat().st_ctime_ns, 0, b"")
        for path in sorted([root, *root.rglob("*")])
    }


_watchers: list[list[tuple[str, str]]] = []


def _record(event: str, arguments: tuple[Any, ...]) -> None:
    for events in _watchers:
        events.append((event, str(arguments[0]) if arguments else ""))


@contextmanager
def watched() -> Generator[list[tuple[str, str]]]:
    """Collect what Python does with files and processes."""
    if not _watchers:
        sys.addaudithook(_record)  # can't be removed, but has nothing to do outside of this
    events: list[tuple[str, str]] = []
    _watchers.append(events)
    try:
        yield events
    finally:
        _watchers.remove(events)


async def test_reading_changes_nothing_starts_nothing_and_opens_no_key(tmp_path: Path) -> None:
    root = copy_fixtures(tmp_path)
    (root / "sessions").mkdir()
    (root / "sessions/1.json").write_text('{"pid":1,"sessionId":"0d9b0945-b202-41bd-8614-9c9a88a4230d"}')
    (root / "sessions/1.abc.key").write_text("secret")
    (root / "settings.json").write_text("{}")
    before = states_in(tmp_path)
    with watched() as events:
        async with opened(root) as backend:
            await read_everything(backend)
            await backend.examine(lambda check: None)
        live_sessions(root)
    assert states_in(tmp_path) == before
    assert any(event == "open" and path.endswith(".jsonl") for event, path in events)
    assert not [path for event, path in events if event == "open" and path.endswith(".key")]
    assert not [
        event for event, _ in events if event.startswith(("subprocess.", "os.fork", "os.exec", "os.posix_spawn"))
    ]


@each_session
async def test_a_search_reads_the_texts_of_the_history_from_any_of_them_on(expected: dict[str, Any]) -> None:
    async with opened(FIXTURES / "config") as backend:
        messages = [message for message in await messages_of(backend, expected["id"]) if message.role != "tool"]
        feed = await backend.transcript_feed()
        assert feed is not None
        with feed.open(expected["id"], math.inf) as transcript:
            assert transcript is not None
            found = list(transcript.messages(NEWEST))
            assert [(text.id, text.role, text.text, text.created_at) for text, *_ in reversed(found)] == [
                (message.id, message.role, message.text, message.created_at) for message in messages
            ]
            for place, text in enumerate(found):
                assert list(transcript.messages(text.position)) == found[place:]
