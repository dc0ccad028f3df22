"""Transcripts that are damaged, unusual or hostile are still read, as far as they can be."""

import json
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from mcp_sessions.errors import NotFound
from mcp_sessions.models import NewMessage, SessionFilter

from ...support.claude_transcripts import Transcript, conversation
from ...support.memory import kept_after
from .folders import listed, messages_of, names_in, note_of, opened, texts_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HELLO = ((NewMessage(role="user", text="Hello"), NewMessage(role="assistant", text="Hi")),)


def question_and_answer(name: str = "") -> Transcript:
    return conversation(HELLO, NOW, name=name)


async def test_a_file_that_vanishes_is_no_error_of_a_list_and_not_found_alone(tmp_path: Path) -> None:
    kept, gone = question_and_answer("kept"), conversation(HELLO, NOW + SECOND, name="gone")
    kept.write(tmp_path, NOW)
    path = gone.write(tmp_path, NOW + SECOND)
    async with opened(tmp_path) as backend:
        assert [row.name for row in await listed(backend)] == ["gone", "kept"]
        path.unlink()
        path.symlink_to(tmp_path / "nowhere")
        assert [row.name for row in await listed(backend)] == ["kept"]
        for call in (backend.get_session, backend.get_session_history, backend.get_session_runs):
            with pytest.raises(NotFound, match=gone.id):
                await call(gone.id)


async def test_the_project_of_a_session_is_in_its_lines_since_folders_share_a_key(tmp_path: Path) -> None:
    for cwd in ("/home/user/a_b", "/home/user/a-b", "C:\\Users\\a b", "/home/user/é"):
        transcript = Transcript(cwd=cwd)
        transcript.prompt(cwd, NOW)
        transcript.write(tmp_path, NOW, key="-home-user-a-b")
    async with opened(tmp_path) as backend:
        assert {row.name: row.project for row in await listed(backend)} == {
            name: name for name in ("/home/user/a_b", "/home/user/a-b", "C:\\Users\\a b", "/home/user/é")
        }


async def test_of_two_files_with_one_id_the_one_that_was_written_to_last_is_the_session(tmp_path: Path) -> None:
    old, new = Transcript(str(uuid4())), Transcript()
    new.id = old.id
    for transcript, text, moment in ((new, "new", NOW), (old, "old", NOW - SECOND)):
        transcript.prompt(text, moment)
        transcript.write(tmp_path, moment, key=f"-{text}")
    assert await names_in(tmp_path) == ["new"]
    assert await texts_of(tmp_path, old.id) == ["new"]


async def test_only_files_named_by_a_uuid_that_begin_with_the_session_itself_are_sessions(tmp_path: Path) -> None:
    path = question_and_answer("session").write(tmp_path, NOW)
    for name in ("agent-a1082de.jsonl", "notes.jsonl", f"{uuid4()}.jsonl.bak", f"{uuid4()}.json", f"{uuid4()}.JSONL"):
        (path.parent / name).write_bytes(path.read_bytes())
    side = question_and_answer("side")
    for line in side.lines[1:3]:
        line["isSidechain"] = True
    side.write(tmp_path, NOW)
    (path.parent / f"{uuid4()}.jsonl").write_bytes(b"")
    empty = Transcript()
    empty.add("mode", mode="normal")
    empty.write(tmp_path, NOW)
    (path.parent / f"{uuid4()}.jsonl").mkdir()
    (path.parent / "memory").mkdir()
    assert await names_in(tmp_path) == ["session"]


async def test_a_field_of_a_tool_call_is_no_title_tag_or_time(tmp_path: Path) -> None:
    transcript = question_and_answer("Real")
    spoofed = {"type": "custom-title", "customTitle": "Spoof", "tag": "spoof", "timestamp": "2030-01-01T00:00:00Z"}
    transcript.answer([{"type": "tool_use", "id": "t1", "name": "Write", "input": spoofed}], NOW)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        session = await backend.get_session(transcript.id)
    assert (session.name, session.metadata, session.updated_at) == ("Real", {}, NOW)


async def test_a_title_far_from_the_end_is_found_and_a_later_one_too(tmp_path: Path) -> None:
    transcript = question_and_answer()
    transcript.prompt("x" * 100_000, NOW)
    transcript.title("Given in the middle")
    transcript.prompt("y" * 200_000, NOW)
    path = transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        assert (await backend.get_session(transcript.id)).name == "Given in the middle"
        for name in ("Given later", ""):
            with path.open("ab") as file:
                file.write(json.dumps({"type": "custom-title", "customTitle": name}).encode() + b"\n")
                file.write(b'{"type":"mode","mode":"' + b"z" * 200_000 + b'"}\n')
            assert (await backend.get_session(transcript.id)).name == (name or "Hello")


async def test_only_the_beginning_of_a_long_first_prompt_is_kept_in_memory(tmp_path: Path) -> None:
    for _ in range(10):
        transcript = Transcript()
        transcript.prompt("long " * 100_000, NOW)
        transcript.write(tmp_path)
    async with opened(tmp_path) as backend:
        assert await kept_after(lambda: listed(backend)) < 1_000_000
        assert {len(row.name) for row in await listed(backend)} == {200}


async def test_records_of_requests_are_neither_shown_nor_searched(tmp_path: Path) -> None:
    transcript = question_and_answer()
    secret = {"role": "user", "content": [{"type": "text", "text": "zebra"}]}
    for type in ("api-request", "api-request-shape", "api-request-blob"):
        transcript.add(type, uuid=str(uuid4()), parentUuid=transcript.last, message=secret)
    transcript.link("attachment", NOW, attachment={"type": "prompt_snapshot", "text": "zebra"})
    transcript.write(tmp_path, NOW)
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "Hi"]
    async with opened(tmp_path) as backend:
        assert (await backend.search_sessions("zebra")).hits == ()


async def test_damaged_text_is_read_as_valid_text_and_the_lines_around_it_too(tmp_path: Path) -> None:
    transcript = question_and_answer("NAME")
    path = transcript.write(tmp_path, NOW)
    data = (
        path.read_bytes().replace(b'"Hello"', b'"\\ud800 \xff\xe2\x80\xa8\xc2\x85\\u0000"').replace(b"NAME", b"\\udfff")
    )
    path.write_bytes(
        data + b"\0" * 70_000 + b"\n" + b"[" * 3000 + b"\n" + b'{"type":"user","uuid":{}}\n[]\n{"a":1e999}\n'
    )
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, transcript.id)
        session = await backend.get_session(transcript.id)
        json.dumps(await backend.export_session(transcript.id)).encode()
    assert [message.text for message in messages] == ["\ufffd \ufffd\u2028\x85\0", "Hi"]
    assert session.name.encode() == "\ufffd".encode()


async def test_a_line_that_is_just_being_written_is_ignored_and_read_once_it_is_complete(tmp_path: Path) -> None:
    transcript = question_and_answer()
    path = transcript.write(tmp_path, NOW)
    transcript.prompt("more", NOW)
    line = json.dumps(transcript.lines[-2]).encode()
    async with opened(tmp_path) as backend:
        with path.open("ab", buffering=0) as file:
            file.write(line[:100])
            assert [message.text for message in await messages_of(backend, transcript.id)] == ["Hello", "Hi"]
            assert await note_of(backend, transcript.id) == ""
            file.write(line[100:])
            assert len(await messages_of(backend, transcript.id)) == 3
            file.write(b"\n")
            assert len(await messages_of(backend, transcript.id)) == 3


async def test_a_tag_is_shown_and_does_not_archive(tmp_path: Path) -> None:
    transcript = question_and_answer("tagged")
    transcript.add("tag", tag="archived")
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        assert [row.name for row in await listed(backend)] == ["tagged"]
        assert (await backend.get_session(transcript.id)).metadata == {"tag": "archived"}
        assert (await backend.list_sessions(SessionFilter(archived=True))).sessions == ()


async def test_links_are_followed_and_what_can_not_be_read_is_left_out_with_a_note(tmp_path: Path) -> None:
    real, root = tmp_path / "real", tmp_path / "link"
    path = question_and_answer("linked").write(real, NOW)
    (real / "projects" / "-another").symlink_to(path.parent)
    root.symlink_to(real)
    loop = path.parent / f"{uuid4()}.jsonl"
    loop.symlink_to(loop)
    os.mkfifo(path.parent / f"{uuid4()}.jsonl")  # opening it would wait for a writer
    async with opened(root) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert [row.name for row in page.sessions] == ["linked"]
        assert "could not be read" in page.note
        with pytest.raises(NotFound):
            await backend.get_session(loop.stem)


async def test_of_a_key_that_a_line_has_twice_the_last_one_counts(tmp_path: Path) -> None:
    transcript = question_and_answer()
    path = transcript.write(tmp_path, NOW)
    path.write_bytes(path.read_bytes().replace(b'"cwd":', b'"cwd":"/wrong","cwd":'))
    async with opened(tmp_path) as backend:
        assert (await backend.get_session(transcript.id)).project == "/home/user/project"


@pytest.mark.parametrize(
    "id", ["../secret", "..", "", "a/b", "{}/agent-../../secret", "{}/../x", "{}/agent-x/y", "{}/"]
)
async def test_an_id_never_leads_out_of_the_folder(tmp_path: Path, id: str) -> None:
    transcript = question_and_answer("inside")
    path = transcript.write(tmp_path, NOW)
    (tmp_path / "secret.jsonl").write_bytes(path.read_bytes())
    (tmp_path / "projects" / "secret.jsonl").write_bytes(path.read_bytes())
    async with opened(tmp_path) as backend:
        with pytest.raises(NotFound):
            await backend.get_session(id.format(transcript.id))
