"""Sessions that are archived, or all with `keep=all`, stay when Claude Code removes their files."""

import os
import shutil
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.transcripts import file_creation
from mcp_sessions.errors import Conflict, NotFound
from mcp_sessions.models import NewMessage, Session, SessionFilter

from ...support.claude_transcripts import Transcript, conversation
from ...support.databases import until
from .folders import copy_fixtures, listed, messages_of, opened, overlaid
from .test_deletion import entries_for, files_in, way

__all__ = ["way"]  # a fixture

HELLO = ((NewMessage(role="user", text="Hello zebra"), NewMessage(role="assistant", text="Hi")),)
WITH_SUBAGENTS = "93c83ab1-4731-438e-893d-8eaa5e8994c6"
DAY = timedelta(days=1)


def remove_as_claude_code(path: Path) -> None:
    """Remove a session as Claude Code does when it is old."""
    path.unlink()
    shutil.rmtree(path.with_suffix(""), ignore_errors=True)


async def archived(backend: SessionBackend) -> list[Session]:
    return list((await backend.list_sessions(SessionFilter(archived=True))).sessions)


def copies_of(root: Path) -> list[Path]:
    """Return the files that are kept for a folder of Claude Code."""
    return [path for path in Path(f"{root}-data/kept").glob("*/projects/**/*") if path.is_file()]


def written(root: Path, age: timedelta = timedelta()) -> tuple[Transcript, Path]:
    transcript = conversation(HELLO, datetime.now(UTC) - age, name="Trip")
    return transcript, transcript.write(root, datetime.now(UTC) - age)


async def test_an_archived_session_is_read_after_its_removal_and_restored_byte_for_byte(
    tmp_path: Path, way: str
) -> None:
    root = copy_fixtures(tmp_path)
    (path,) = root.glob(f"projects/*/{WITH_SUBAGENTS}.jsonl")
    os.utime(path)
    before = files_in(root)
    async with overlaid(root) as backend:
        told = await messages_of(backend, WITH_SUBAGENTS)
        runs = (await backend.get_session_runs(WITH_SUBAGENTS)).runs
        count = len(await listed(backend))
        assert (await backend.archive_session(WITH_SUBAGENTS)).note.startswith("Stored by mcp-sessions")
        assert files_in(root) == before
        archived_at = (await backend.get_session(WITH_SUBAGENTS)).archived_at
        remove_as_claude_code(path)
    async with overlaid(root) as backend:
        assert len(await listed(backend)) == count - 1
        assert [row.id for row in await archived(backend)] == [WITH_SUBAGENTS]
        session = await backend.get_session(WITH_SUBAGENTS)
        assert (session.archived_at, session.expires_at, session.resume_command) == (archived_at, None, "")
        assert "Claude Code has removed this session" in session.note
        assert await messages_of(backend, WITH_SUBAGENTS) == told
        assert (await backend.get_session_runs(WITH_SUBAGENTS)).runs == runs
        (agent,) = [run.id for run in runs if "/" in run.id][:1]
        assert await messages_of(backend, agent)
        for change in (backend.rename_session(WITH_SUBAGENTS, "x"), backend.fork_session(WITH_SUBAGENTS)):
            with pytest.raises(Conflict, match="restore_session"):
                await change
        assert "now it is active again" in (await backend.restore_session(WITH_SUBAGENTS)).note
        assert len(await listed(backend)) == count
        assert await archived(backend) == []
    assert files_in(root) == before
    assert copies_of(root) == []


async def test_copies_have_what_is_appended_and_added_after_archiving(tmp_path: Path, way: str) -> None:
    transcript, path = written(tmp_path)
    async with overlaid(tmp_path) as backend:
        await backend.archive_session(transcript.id)
        await backend.rename_session(transcript.id, "Later")
        result = path.with_suffix("") / "tool-results/1.txt"
        result.parent.mkdir(parents=True)
        result.write_text("output")
        await backend.archive_session(transcript.id)
        before = files_in(tmp_path)
        remove_as_claude_code(path)
        assert [row.name for row in await archived(backend)] == ["Later"]
        await backend.restore_session(transcript.id)
    assert files_in(tmp_path) == before


async def test_a_server_renews_the_copies_of_what_changed_while_none_was_running(tmp_path: Path, way: str) -> None:
    transcript, path = written(tmp_path)
    async with overlaid(tmp_path) as backend:
        await backend.archive_session(transcript.id)
    transcript.title("Later")
    path.write_bytes(transcript.data)
    result = path.with_suffix("") / "tool-results/1.txt"
    result.parent.mkdir(parents=True)
    result.write_text("output")
    async with overlaid(tmp_path):
        expected = {transcript.data, b"output"}
        await until(lambda: {copy.read_bytes() for copy in copies_of(tmp_path)} == expected)


async def test_all_sessions_are_kept_if_asked(tmp_path: Path) -> None:
    (first, path), (second, _) = written(tmp_path), written(tmp_path, 3 * DAY)
    (path.parent / f"{'0' * 8}-0000-4000-8000-{'0' * 12}.jsonl").symlink_to(path)
    async with opened(tmp_path, keep="all") as backend:
        await until(lambda: len(copies_of(tmp_path)) == 2)
        path.unlink()
        assert [row.id for row in await archived(backend)] == [first.id]
        assert "copies were kept" in (await backend.list_sessions(SessionFilter(archived=True))).note
        assert second.id in [row.id for row in await listed(backend)]
        assert [hit.session_id for hit in (await backend.search_sessions("zebra")).hits][:1] == [first.id]
        assert await backend.find_session_ids(first.id) == [first.id]
        await backend.restore_session(first.id)
        assert path.read_bytes() == first.data
        assert len(copies_of(tmp_path)) == 2
    with pytest.raises(NotFound):
        async with overlaid(tmp_path / "other", keep="off") as backend:
            transcript, path = written(tmp_path / "other")
            await backend.archive_session(transcript.id)
            path.unlink()
            await backend.get_session(transcript.id)


@pytest.mark.parametrize(
    ("keep", "before", "after"), [("archived", "If you", "A copy"), ("off", "Archiving it keeps no", "")]
)
async def test_a_session_that_will_be_removed_tells_whether_a_copy_is_kept(
    keep: str, before: str, after: str, tmp_path: Path
) -> None:
    transcript, _ = written(tmp_path, 28 * DAY)
    async with overlaid(tmp_path, keep=keep) as backend:
        assert (await backend.get_session(transcript.id)).note.startswith(before)
        await backend.archive_session(transcript.id)
        assert (await backend.get_session(transcript.id)).note.startswith(after or before)


async def test_a_newer_transcript_is_neither_overwritten_nor_does_it_replace_the_copy(tmp_path: Path) -> None:
    transcript, path = written(tmp_path)
    stump = Transcript(transcript.id)
    stump.prompt("written by a Claude Code that had it open", datetime.now(UTC))
    async with overlaid(tmp_path) as backend:
        await backend.archive_session(transcript.id)
        path.unlink()
        stump.write(tmp_path)
        await backend.archive_session(transcript.id)
        assert "a newer file" in (await backend.restore_session(transcript.id)).note
        assert isinstance(backend, Wrapper)
        with pytest.raises(Conflict, match="a newer file"):
            await backend.inner.restore_session(transcript.id)
        assert path.read_bytes() == stump.data
        path.unlink()
        await backend.restore_session(transcript.id)
    assert path.read_bytes() == transcript.data


@pytest.mark.parametrize("is_removed", [False, True])
async def test_a_deleted_session_has_no_copy_left_and_can_be_restored(tmp_path: Path, *, is_removed: bool) -> None:
    transcript, path = written(tmp_path)
    async with overlaid(tmp_path) as backend:
        await backend.archive_session(transcript.id)
        if is_removed:
            path.unlink()
        await backend.delete_session(transcript.id)
        assert (copies_of(tmp_path), path.exists()) == ([], False)
        with pytest.raises(NotFound):
            await backend.get_session(transcript.id)
        await backend.restore_session(transcript.id)
    assert path.read_bytes() == transcript.data
    assert entries_for(tmp_path) == []


async def test_a_session_that_claude_code_would_remove_again_counts_as_changed_now(tmp_path: Path) -> None:
    transcript, path = written(tmp_path, 40 * DAY)
    async with overlaid(tmp_path) as backend:
        await backend.archive_session(transcript.id)
        path.unlink()
        assert "time of change is now" in (await backend.restore_session(transcript.id)).note
    assert path.stat().st_mtime > (datetime.now(UTC) - DAY).timestamp()


async def test_a_session_of_which_no_copy_can_be_kept_is_archived_with_a_note(tmp_path: Path) -> None:
    transcript, path = written(tmp_path)
    real = path.rename(tmp_path / "real.jsonl")
    path.symlink_to(real)
    async with overlaid(tmp_path) as backend:
        assert "may remove it when it is old" in (await backend.archive_session(transcript.id)).note
        assert [row.id for row in await archived(backend)] == [transcript.id]


async def test_an_old_session_that_is_active_again_keeps_its_copy(tmp_path: Path) -> None:
    transcript, path = written(tmp_path, 40 * DAY)
    async with overlaid(tmp_path) as backend:
        await backend.archive_session(transcript.id)
        await backend.restore_session(transcript.id)
        path.unlink()  # as Claude Code does at its next start
        assert [row.id for row in await archived(backend)] == [transcript.id]
        await backend.restore_session(transcript.id)
    assert path.read_bytes() == transcript.data


async def test_unfinished_files_of_killed_processes_are_removed_but_not_those_being_written(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript, path = written(tmp_path)
    async with opened(tmp_path) as backend:
        await backend.protect_session(transcript.id)
    (copy,) = copies_of(tmp_path)
    unfinished = [file_creation.unfinished_path(place) for place in (path, path.with_suffix("") / "1.txt", copy)]
    for place in unfinished:
        place.parent.mkdir(exist_ok=True)
        place.touch()
        os.utime(place, (0, 0))  # that of the file it is a copy of
    kept = copy.parents[2]
    (kept / "renewed").unlink(missing_ok=True)
    async with opened(tmp_path):
        await until((kept / "renewed").exists)
    assert all(place.exists() for place in unfinished)
    monkeypatch.setattr(file_creation, "_ABANDONED_AFTER", -1)
    async with opened(tmp_path):
        await until(lambda: not any(place.exists() for place in unfinished))
    assert copies_of(tmp_path) == [copy]
