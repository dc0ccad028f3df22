"""The search index over files of Claude Code and Codex: what it reads of them, and what it finds."""

import os
from collections.abc import Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from mcp_sessions.backends.database.database import Transaction
from mcp_sessions.backends.database.sqlite import SqliteTransaction
from mcp_sessions.backends.layers.index import tables
from mcp_sessions.backends.transcript_feed import FileState
from mcp_sessions.backends.transcripts.lines import TranscriptFile
from mcp_sessions.models import HistoryQuery

from ..support.claude_transcripts import Transcript
from ..support.codex_rollouts import Rollout, name_in_index, record
from .transcript_indexes import NOW, found, open_index, transcript_of


def _states(folder: Path) -> Mapping[Path, tuple[int, bytes]]:
    paths = [path for name in ("projects", "sessions") for path in (folder / name).rglob("*")]
    return {path: (path.stat().st_mtime_ns, path.read_bytes() if path.is_file() else b"") for path in paths}


async def test_messages_appended_to_a_file_are_found_and_only_they_are_read(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = transcript_of(*(f"apple {number} {'padding ' * 50}" for number in range(2_000)))
    path = transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert [snippet.split()[:2] for _, snippet in found(await backend.search_sessions('"apple 7"'))] == [
            ["apple", "7"]
        ]
        read: list[int] = []
        original = TranscriptFile.read

        def counted(self: TranscriptFile, offset: int, length: int) -> bytes:
            data = original(self, offset, length)
            read.append(len(data))
            return data

        monkeypatch.setattr(TranscriptFile, "read", counted)
        transcript.prompt("a pear", NOW + timedelta(hours=1))
        transcript.write(tmp_path)
        assert found(await backend.search_sessions("pear")) == [(transcript.id, "a pear")]
    assert sum(read) < 1_000_000 < path.stat().st_size


async def test_after_a_user_went_back_only_the_new_branch_is_found(tmp_path: Path) -> None:
    transcript = transcript_of("apple one")
    first = transcript.last
    transcript.prompt("apple two", NOW + timedelta(seconds=1))
    transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 2
        branch = transcript.link(
            "user", NOW + timedelta(seconds=2), parent=first, message={"role": "user", "content": "apple three"}
        )
        transcript.write(tmp_path)
        page = await backend.search_sessions("apple")
        assert [snippet for _, snippet in found(page)] == ["apple three", "apple one"]
        assert page.hits[0].message_id == branch


async def test_more_messages_of_one_second_than_it_has_keys_are_each_found_once(tmp_path: Path) -> None:
    many, one = transcript_of(), transcript_of()
    sent = {many.prompt(f"apple {number}", NOW) for number in range(2_100)}
    sent |= {one.prompt(f"apple {number}", NOW + timedelta(seconds=number)) for number in range(1, 4)}
    many.write(tmp_path)
    one.write(tmp_path)
    async with open_index(tmp_path) as backend:
        await backend.search_sessions("apple")
        sent |= {many.prompt(f"apple {number}", NOW) for number in range(5)}
        many.write(tmp_path)
        found: list[str] = []
        cursor = ""
        while cursor or not found:
            page = await backend.search_sessions("apple", limit=50, cursor=cursor)
            found += [hit.message_id for hit in page.hits]
            cursor = page.next_cursor
    assert len(found) == len(sent)
    assert set(found) == sent


async def test_a_file_that_is_replaced_is_read_anew(tmp_path: Path) -> None:
    transcript = transcript_of("apple one")
    path = transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 1
        other = transcript_of("a pear and more than before " * 10, id=transcript.id)
        path.unlink()
        other.write(tmp_path)
        assert found(await backend.search_sessions("apple")) == []
        assert len(found(await backend.search_sessions("pear"))) == 1


async def test_indexing_changes_no_byte_and_no_time_of_the_files(tmp_path: Path) -> None:
    transcript = transcript_of("an apple")
    transcript.write(tmp_path)
    before = _states(tmp_path)
    async with open_index(tmp_path) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 1
    assert before and _states(tmp_path) == before


async def test_a_renamed_session_is_found_only_by_its_new_name(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.prompt("hello", NOW)
    transcript.title("Fruit")
    transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert found(await backend.search_sessions("fruit")) == [(transcript.id, "")]
        await backend.rename_session(transcript.id, "Vegetables")
        assert found(await backend.search_sessions("fruit")) == []
        assert found(await backend.search_sessions("vegetables")) == [(transcript.id, "")]


async def test_a_session_whose_project_is_not_known_at_first_is_found_in_it_later(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.title("apple")
    path = transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert found(await backend.search_sessions("apple")) == [(transcript.id, "")]
        transcript.prompt("red apple", NOW)
        path.write_bytes(transcript.data)
        page = await backend.search_sessions("apple", project="/home/user")
        assert found(page) == [(transcript.id, ""), (transcript.id, "red apple")]


async def test_a_thread_of_codex_is_found_in_the_project_that_its_database_names_now(tmp_path: Path) -> None:
    rollout = Rollout(moment=NOW, cwd="")
    rollout.turn("an apple", "", NOW)
    path = rollout.write(tmp_path)
    async with open_index(tmp_path, f"codex://{tmp_path}") as backend:
        for project in ("/w/app", "/w/app2"):
            record(tmp_path, rollout, path, cwd=project)
            page = await backend.search_sessions('"an apple"', project=project)
            assert [hit.session_id for hit in page.hits] == [rollout.id] * 2
        assert found(await backend.search_sessions('"an apple"', project="/w/app")) == []


async def test_sessions_whose_files_are_gone_leave_the_index(tmp_path: Path) -> None:
    kept, gone = transcript_of("an apple"), transcript_of("an apple")
    for transcript in (kept, gone):
        path = transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 2
        path.unlink()
        assert found(await backend.search_sessions("apple")) == [(kept.id, "an apple")]


@pytest.mark.parametrize("is_other_process", [False, True])
async def test_a_session_that_was_deleted_and_restored_is_found_again(is_other_process: bool, tmp_path: Path) -> None:
    transcript = transcript_of("an apple")
    path = transcript.write(tmp_path)
    async with open_index(tmp_path) as backend, open_index(tmp_path) as other:
        assert len(found(await backend.search_sessions("apple"))) == 1
        before = path.stat()
        changing = other if is_other_process else backend
        await changing.delete_session(transcript.id)
        await changing.restore_session(transcript.id)
        after = path.stat()
        assert (after.st_ino, after.st_size, after.st_mtime_ns) == (before.st_ino, before.st_size, before.st_mtime_ns)
        assert len(found(await backend.search_sessions("apple"))) == 1


async def test_new_sessions_take_fewer_statements_than_there_are_sessions(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    sessions = 150
    for _ in range(sessions):
        transcript_of("an apple").write(tmp_path)
    statements: list[str] = []
    for name in ("all", "run"):  # `one` calls `all`
        original = getattr(SqliteTransaction, name)

        def counted(self: SqliteTransaction, statement: str, *values: object, original: Any = original) -> Any:
            statements.append(statement)
            return original(self, statement, *values)

        monkeypatch.setattr(SqliteTransaction, name, counted)
    async with open_index(tmp_path) as backend:
        await backend.search_sessions("apple")
    assert len(statements) < sessions / 2


async def test_a_search_reads_from_the_index_which_files_it_has_only_if_another_process_changed_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcript = transcript_of("an apple")
    transcript.write(tmp_path)
    reads: list[str] = []
    original = tables.states

    def counted(tx: Transaction, source: str, current: Mapping[str, FileState]) -> Mapping[str, FileState]:
        reads.append(source)
        return original(tx, source, current)

    monkeypatch.setattr(tables, "states", counted)
    async with open_index(tmp_path) as backend, open_index(tmp_path) as other:
        for count in range(1, 4):
            assert len(found(await backend.search_sessions("apple"))) == count
            transcript.prompt("an apple", NOW + timedelta(hours=count))
            transcript.write(tmp_path)
        assert reads == ["tests"]
        assert len(found(await other.search_sessions("apple"))) == 4
        assert len(found(await backend.search_sessions("apple"))) == 4
    assert reads == ["tests"] * 3


@pytest.mark.parametrize("system", ["claude-code", "legacy", "paginated"])
async def test_all_hits_of_a_session_are_read_while_its_file_is_open(
    system: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    transcripts = [transcript_of("an apple"), transcript_of("an apple")]
    rollouts = [Rollout(legacy=system == "legacy", moment=NOW) for _ in range(2)]
    for number in range(1, 7):  # the messages of both sessions alternate
        transcripts[number % 2].prompt(f"apple {number}", NOW + timedelta(hours=number))
        rollouts[number % 2].turn(f"apple {number}", "", NOW + timedelta(hours=number))
    url = "" if system == "claude-code" else f"codex://{tmp_path}"
    for file in rollouts if url else transcripts:
        file.write(tmp_path)
    async with open_index(tmp_path, url) as backend:
        await backend.search_sessions("apple")
        opened: list[str] = []
        original = os.open

        def counted(path: str, flags: int, mode: int = 0o777) -> int:
            opened.append(path)
            return original(path, flags, mode)

        monkeypatch.setattr(os, "open", counted)
        hits = [snippet for _, snippet in found(await backend.search_sessions("apple")) if snippet.startswith("apple")]
    assert hits == [f"apple {number}" for number in range(6, 0, -1)]
    files = [path for path in opened if str(path).endswith(".jsonl")]
    assert len(files) == len(set(files)) == 2


@pytest.mark.parametrize("is_fork", [True, False])
async def test_a_message_and_its_copies_in_other_sessions_are_one_hit(is_fork: bool, tmp_path: Path) -> None:
    transcript = transcript_of("an apple")
    transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        newest = transcript.id
        ids = {newest}
        for _ in range(2):
            if is_fork:
                newest = (await backend.fork_session(newest)).id
            else:  # as older versions of Claude Code resumed a session: with the uuids of its lines
                copy = Transcript()
                copy.lines = [line | {"sessionId": copy.id} for line in transcript.lines]
                copy.write(tmp_path)
                newest = copy.id
            ids.add(newest)
        while ids:  # as long as one of them has it, it is found
            (hit,) = [hit for hit in (await backend.search_sessions("apple")).hits if hit.message_id]
            ids.remove(hit.session_id)
            await backend.delete_session(hit.session_id)
        assert not (await backend.search_sessions("apple")).hits


async def test_a_thread_of_codex_is_read_on_and_found_by_a_name_that_is_in_another_file(tmp_path: Path) -> None:
    rollout = Rollout(legacy=True, moment=NOW)
    rollout.turn("an apple", "", NOW)
    rollout.write(tmp_path)
    async with open_index(tmp_path, f"codex://{tmp_path}") as backend:
        assert [hit.message_id != "" for hit in (await backend.search_sessions("apple")).hits] == [False, True]
        name_in_index(tmp_path, rollout.id, "Fruit")
        rollout.turn("a pear", "", NOW)
        rollout.write(tmp_path)
        page = await backend.search_sessions("pear")
        assert found(page) == [(rollout.id, "a pear")]
        around = HistoryQuery(around=page.hits[0].message_id)
        assert (await backend.get_session_history(rollout.id, around)).focus == page.hits[0].message_id
        assert found(await backend.search_sessions("fruit")) == [(rollout.id, "")]


async def test_a_file_that_can_not_be_read_makes_a_search_incomplete_and_fails_nothing(tmp_path: Path) -> None:
    readable, unreadable = transcript_of("an apple"), transcript_of("an apple")
    readable.write(tmp_path)
    path = unreadable.write(tmp_path)
    async with open_index(tmp_path) as backend:
        assert len(found(await backend.search_sessions("apple"))) == 2
        path.unlink()
        path.symlink_to(path.name)
        page = await backend.search_sessions("apple")
        assert ([hit.session_id for hit in page.hits], page.complete) == ([readable.id], False)
        assert "could not be read" in page.note
        path.unlink()
        unreadable.write(tmp_path)
        assert len(found(await backend.search_sessions("apple"))) == 2
