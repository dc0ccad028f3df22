"""Deleted sessions can be restored byte for byte, and nothing newer is lost by that."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_sessions.backends.transcripts.file_copies import link_or_copy
from mcp_sessions.errors import Conflict, NotFound, Unsupported
from mcp_sessions.models import NewMessage

from ...support.claude_transcripts import Transcript, conversation
from .folders import copy_fixtures, listed, names_in, opened, register, texts_of

HELLO = ((NewMessage(role="user", text="Hello"), NewMessage(role="assistant", text="Hi")),)
WITH_SUBAGENTS = "93c83ab1-4731-438e-893d-8eaa5e8994c6"
DAY = timedelta(days=1)


def written(root: Path, *, age: timedelta = timedelta(), name: str = "Trip") -> tuple[Transcript, Path]:
    moment = datetime.now(UTC) - age
    transcript = conversation(HELLO, moment, name=name)
    return transcript, transcript.write(root, moment)


def files_in(root: Path) -> dict[str, tuple[bytes, int]]:
    """Return bytes and time of each file, by its path."""
    return {
        str(path.relative_to(root)): (path.read_bytes(), path.stat().st_mtime_ns)
        for path in root.rglob("*")
        if path.is_file()
    }


def entries_for(root: Path) -> list[Path]:
    """Return what is in the trash for a folder of Claude Code."""
    return list(Path(f"{root}-data/deleted").glob("*/*"))


@pytest.fixture(params=["hard links", "copies"])
def way(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> str:
    """Return how files get into the trash: as hard links, or as copies, as on a filesystem without links."""
    way = str(request.param)
    if way == "copies":

        def link(source: Path, target: Path) -> None:
            if Path(target).exists():
                raise FileExistsError(target)
            raise OSError("no links here")

        monkeypatch.setattr(os, "link", link)
    return way


async def test_all_files_of_a_session_are_deleted_and_restored_with_their_times(tmp_path: Path, way: str) -> None:
    root = copy_fixtures(tmp_path)
    (path,) = root.glob(f"projects/*/{WITH_SUBAGENTS}.jsonl")
    os.utime(path)
    results = path.with_suffix("") / "tool-results"
    results.mkdir()
    (results / "1.txt").write_bytes(b"\xff output")
    (path.parent / "memory").mkdir()
    (path.parent / "memory/notes.md").write_text("of the project")
    before = files_in(root)
    async with opened(root) as backend:
        change = await backend.delete_session(WITH_SUBAGENTS)
        assert "restore_session" in change.note
        assert not [name for name in files_in(root) if WITH_SUBAGENTS in name]
        assert not path.with_suffix("").exists()
        assert len(before) - len(files_in(root)) == 6
        assert (await backend.restore_session(WITH_SUBAGENTS)).note == "It was deleted; now it is active again."
    assert files_in(root) == before
    assert entries_for(root) == []


async def test_subagents_beside_their_session_go_with_it(tmp_path: Path) -> None:
    root = copy_fixtures(tmp_path)
    agents = list(root.glob("projects/*/agent-*.jsonl"))
    async with opened(root) as backend:
        for session in await listed(backend):
            await backend.delete_session(session.id)
    assert agents
    assert not list(root.glob("projects/*/agent-*.jsonl"))


async def test_both_files_of_one_id_are_deleted(tmp_path: Path) -> None:
    transcript, _ = written(tmp_path)
    transcript.write(tmp_path, key="-another")
    before = files_in(tmp_path)
    async with opened(tmp_path) as backend:
        await backend.delete_session(transcript.id)
        assert await listed(backend) == ()
        await backend.restore_session(transcript.id)
    assert files_in(tmp_path) == before


async def test_a_session_that_is_open_is_not_deleted(tmp_path: Path) -> None:
    transcript, _ = written(tmp_path)
    register(tmp_path, os.getpid(), transcript.id)
    async with opened(tmp_path) as backend:
        with pytest.raises(Conflict, match=f"process {os.getpid()}"):
            await backend.delete_session(transcript.id)
    assert await names_in(tmp_path) == ["Trip"]


async def test_nothing_newer_is_overwritten_by_a_restored_session(tmp_path: Path, way: str) -> None:
    transcript, path = written(tmp_path)
    async with opened(tmp_path) as backend:
        await backend.delete_session(transcript.id)
        stump = Transcript(transcript.id)
        stump.prompt("written by a Claude Code that had it open", datetime.now(UTC))
        stump.write(tmp_path)
        with pytest.raises(Conflict):
            await backend.restore_session(transcript.id)
        assert path.read_bytes() == stump.data
        path.unlink()
        await backend.restore_session(transcript.id)
    assert path.read_bytes() == transcript.data


async def test_a_session_keeps_its_time_unless_claude_code_would_remove_it_at_once(tmp_path: Path) -> None:
    (old, old_path), (recent, recent_path) = written(tmp_path, age=40 * DAY), written(tmp_path, age=20 * DAY)
    before = recent_path.stat().st_mtime_ns
    began = datetime.now(UTC).timestamp()
    async with opened(tmp_path) as backend:
        for transcript in (old, recent):
            await backend.delete_session(transcript.id)
        assert "time of change is now" in (await backend.restore_session(old.id)).note
        assert "time of change is now" not in (await backend.restore_session(recent.id)).note
    assert old_path.stat().st_mtime >= began - 1
    assert old_path.read_bytes() == old.data
    assert recent_path.stat().st_mtime_ns == before


async def test_a_session_can_be_restored_with_a_new_name(tmp_path: Path) -> None:
    transcript, _ = written(tmp_path)
    async with opened(tmp_path) as backend:
        await backend.delete_session(transcript.id)
        change = await backend.restore_session(transcript.id, name="Back")
        assert (change.changed, change.previous) == ({"name": "Back"}, {"name": "Trip"})
        with pytest.raises(NotFound):
            await backend.restore_session("../x")
    assert await names_in(tmp_path) == ["Back"]


async def test_what_was_deleted_too_long_ago_is_removed_for_good(tmp_path: Path) -> None:
    transcript, _ = written(tmp_path)
    async with opened(tmp_path, keep_deleted=2) as backend:
        await backend.delete_session(transcript.id)
    (entry,) = entries_for(tmp_path)
    deleted = int(entry.name.rpartition(".")[2])
    entry.rename(entry.with_name(f"{transcript.id}.{deleted - 2 * 24 * 60 * 60 * 10**9}"))
    abandoned = entry.with_name(".abandoned")
    abandoned.mkdir()
    os.utime(abandoned, (0, 0))
    async with opened(tmp_path, keep_deleted=2) as backend:
        assert list(entry.parent.iterdir()) == []
        with pytest.raises(NotFound):
            await backend.restore_session(transcript.id)


async def test_a_deletion_that_was_interrupted_is_finished(tmp_path: Path, way: str) -> None:
    root = copy_fixtures(tmp_path)
    before = files_in(root)
    kept = tmp_path / "kept"
    async with opened(root) as backend:
        await backend.delete_session(WITH_SUBAGENTS)
        rest = [name for name in before if f"{WITH_SUBAGENTS}/" in name]
        (entry,) = entries_for(root)
        paths: list[str] = json.loads((entry / "files.json").read_bytes())["paths"]
        for name in rest:  # as if the process had been killed after the transcript was removed
            (root / name).parent.mkdir(parents=True, exist_ok=True)
            link_or_copy(entry / str(paths.index(name)), root / name)
    (root / rest[0]).replace(kept)
    (root / rest[0]).write_bytes(b"another one")
    async with opened(root) as backend:
        assert [name for name in files_in(root) if WITH_SUBAGENTS in name] == rest[:1]
        (root / rest[0]).unlink()
        await backend.restore_session(WITH_SUBAGENTS)
    assert {name: data for name, (data, _) in files_in(root).items()} == {
        name: data for name, (data, _) in before.items()
    }


async def test_links_are_not_deleted(tmp_path: Path) -> None:
    transcript, path = written(tmp_path)
    folder = path.with_suffix("")
    folder.mkdir()
    target = tmp_path / "elsewhere"
    target.mkdir()
    (target / "x.txt").write_text("not of the session")
    async with opened(tmp_path) as backend:
        for link in (folder / "folder", folder / "file.txt"):
            link.symlink_to(target if link.name == "folder" else target / "x.txt")
            with pytest.raises(Unsupported):
                await backend.delete_session(transcript.id)
            link.unlink()
        folder.rmdir()
        folder.symlink_to(target)
        with pytest.raises(Unsupported):
            await backend.delete_session(transcript.id)
        folder.unlink()
        path.rename(target / path.name)
        path.symlink_to(target / path.name)
        with pytest.raises(Unsupported):
            await backend.delete_session(transcript.id)
    assert (target / "x.txt").exists()
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "Hi"]
