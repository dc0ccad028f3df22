"""Which lines of a transcript are messages of the conversation."""

from datetime import UTC, datetime, timedelta
from pathlib import Path
from uuid import uuid4

import pytest

from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import HistoryQuery, NewMessage

from ...support.claude_transcripts import Transcript, conversation
from .folders import messages_of, note_of, opened, texts_of

NOW = datetime(2026, 11, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HELLO = ((NewMessage(role="user", text="Hello"), NewMessage(role="assistant", text="Hi")),)


def question_and_answer(name: str = "") -> Transcript:
    return conversation(HELLO, NOW, name=name)


async def test_a_rest_whose_beginning_is_gone_is_shown_and_a_note_says_so(tmp_path: Path) -> None:
    transcript = question_and_answer()
    transcript.lines[1]["parentUuid"] = str(uuid4())
    transcript.write(tmp_path, NOW)
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "Hi"]
    async with opened(tmp_path) as backend:
        assert await note_of(backend, transcript.id) == "The beginning of this conversation is missing in its file."


@pytest.mark.parametrize("limit", [1, 3, 200])
async def test_behind_a_missing_link_messages_follow_in_the_order_of_the_file(tmp_path: Path, limit: int) -> None:
    transcript = Transcript()
    for number in range(3):
        transcript.prompt(f"question {number}", NOW)
        transcript.answer([{"type": "text", "text": f"answer {number}"}], NOW)
    transcript.prompt("lost link", NOW, parent=str(uuid4()))
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, transcript.id, limit)
        assert "in the order of the file" in await note_of(backend, transcript.id)
    pairs = [text for number in range(3) for text in (f"question {number}", f"answer {number}")]
    assert [message.text for message in messages] == [*pairs, "lost link"]


async def test_the_lines_of_one_answer_are_one_message_whose_tokens_count_once(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.prompt("Hello", NOW)
    call: JsonObject = {"type": "tool_use", "id": "t1", "name": "Bash", "input": {"command": "ls"}}
    blocks = [{"type": "thinking", "thinking": "hidden"}, {"type": "text", "text": "I look."}, call]
    first, *_ = transcript.answer(blocks, NOW, tokens=100)
    transcript.result("t1", "README.md", NOW)
    transcript.answer([{"type": "text", "text": "Done."}], NOW, tokens=7)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, transcript.id)
        session = await backend.get_session(transcript.id)
        (run,) = (await backend.get_session_runs(transcript.id)).runs
        assert (await backend.search_sessions("hidden")).hits == ()
    assert [(message.role, message.text) for message in messages] == [
        *(("user", "Hello"), ("assistant", "I look."), ("tool", "README.md"), ("assistant", "Done."))
    ]
    assert (messages[1].id, messages[1].tool_calls[0].arguments) == (first, '{"command":"ls"}')
    assert (session.total_tokens, session.message_count, session.run_count) == (107, 4, 1)
    assert (run.total_tokens, run.tool_calls, run.output) == (107, 1, "Done.")


async def test_all_results_of_parallel_calls_are_shown_though_the_chain_has_one_of_them(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.prompt("Hello", NOW)
    calls: list[JsonObject] = [
        {"type": "tool_use", "id": f"t{number}", "name": f"tool{number}", "input": {}} for number in range(3)
    ]
    lines = transcript.answer(calls, NOW)
    for number in (1, 0, 2):
        transcript.result(f"t{number}", f"result {number}", NOW + number * SECOND, parent=lines[number])
    transcript.answer([{"type": "text", "text": "Done."}], NOW)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        for limit in (1, 2, 200):
            messages = await messages_of(backend, transcript.id, limit)
            assert [message.text for message in messages[2:]] == ["result 0", "result 1", "result 2", "Done."]
            assert [message.tool_name for message in messages[2:5]] == ["tool0", "tool1", "tool2"]


async def test_calls_that_branch_off_the_chain_belong_to_their_answer(tmp_path: Path) -> None:
    transcript = Transcript()
    prompt = transcript.prompt("Hello", NOW)
    first, second = transcript.answer(
        [{"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {"n": number}} for number in range(2)], NOW
    )
    transcript.lines[-1]["parentUuid"] = prompt
    transcript.result("t0", "result 0", NOW, parent=first)
    transcript.result("t1", "result 1", NOW, parent=second)
    transcript.answer([{"type": "text", "text": "Done."}], NOW)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, transcript.id)
    assert [message.text for message in messages] == ["Hello", "", "result 0", "result 1", "Done."]
    assert sorted(call.arguments for call in messages[1].tool_calls) == ['{"n":0}', '{"n":1}']


@pytest.mark.parametrize("limit", [1, 2, 200])
@pytest.mark.parametrize("last_call_has_result", [True, False])
async def test_results_between_the_lines_of_an_answer_come_after_it(
    tmp_path: Path, limit: int, last_call_has_result: bool
) -> None:
    transcript = Transcript()
    transcript.prompt("Hello", NOW)
    for number in range(2):
        transcript.answer([{"type": "tool_use", "id": f"t{number}", "name": "Bash", "input": {}}], NOW)
        transcript.lines[-1]["message"]["id"] = "msg_1"
        if last_call_has_result or number == 0:
            transcript.result(f"t{number}", f"result {number}", NOW)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, transcript.id, limit)
    results = ["result 0", "result 1"] if last_call_has_result else ["result 0"]
    assert [message.text for message in messages] == ["Hello", "", *results]
    assert [call.id for call in messages[1].tool_calls] == ["t0", "t1"]


async def test_what_the_user_went_back_from_is_not_shown(tmp_path: Path) -> None:
    transcript = question_and_answer()
    answer = transcript.last
    transcript.prompt("abandoned", NOW)
    transcript.answer([{"type": "text", "text": "abandoned too"}], NOW)
    transcript.prompt("instead", NOW, parent=answer)
    transcript.write(tmp_path, NOW)
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "Hi", "instead"]


async def test_hidden_lines_at_the_end_do_not_hide_the_conversation(tmp_path: Path) -> None:
    transcript = question_and_answer()
    transcript.prompt("abandoned", NOW)
    transcript.answer([{"type": "text", "text": "What the user chose"}], NOW)
    transcript.lines[-1]["parentUuid"] = transcript.lines[2]["uuid"]
    transcript.prompt("a reminder", NOW, isMeta=True)
    transcript.attach(NOW)
    transcript.prompt("from a team", NOW, teamName="team")
    transcript.prompt("of a subagent", NOW, parent="", isSidechain=True)
    transcript.write(tmp_path, NOW)
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "Hi", "What the user chose"]


async def test_the_raw_result_of_a_tool_is_not_repeated(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.prompt("Hello", NOW)
    transcript.answer([{"type": "tool_use", "id": "t1", "name": "Bash", "input": {}}], NOW)
    transcript.result("t1", "once", NOW)
    transcript.write(tmp_path, NOW)
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "", "once"]


async def test_a_snapshot_with_the_uuid_of_a_message_is_no_message(tmp_path: Path) -> None:
    transcript = question_and_answer()
    uuid = transcript.last
    transcript.add("file-history-snapshot", messageId=uuid, uuid=uuid, parentUuid=None, snapshot={"messageId": uuid})
    transcript.prompt("more", NOW)
    transcript.write(tmp_path, NOW)
    assert await texts_of(tmp_path, transcript.id) == ["Hello", "Hi", "more"]


async def test_a_cursor_stays_valid_while_lines_are_appended(tmp_path: Path) -> None:
    transcript = question_and_answer()
    for number in range(4):
        transcript.prompt(f"{number}", NOW)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        page = await backend.get_session_history(transcript.id, limit=2)
        transcript.prompt("new", NOW)
        transcript.write(tmp_path, NOW)
        older = await backend.get_session_history(transcript.id, limit=200, cursor=page.next_cursor)
    assert [message.text for message in older.messages] == ["Hello", "Hi", "0", "1"]


async def test_a_line_and_a_block_of_an_unknown_type_are_passed_over(tmp_path: Path) -> None:
    transcript = Transcript()
    transcript.add("brand-new", anything=[1, 2])
    blocks = [{"type": "hologram", "data": "x"}, {"type": "text", "text": "Hello"}, {}, 5]
    transcript.link("user", NOW, message={"role": "user", "content": blocks})
    transcript.link("progress", NOW, data={"a": 1})
    transcript.answer([{"type": "text", "text": "Hi"}], NOW)
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        first, second = await messages_of(backend, transcript.id)
    assert (first.text, first.attachments[0].type, second.text) == ("Hello", "hologram", "Hi")


async def test_the_data_of_an_attachment_is_described_and_not_shown(tmp_path: Path) -> None:
    transcript = Transcript()
    image = {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "AAAAAAAA"}}
    transcript.link("user", NOW, message={"role": "user", "content": [{"type": "text", "text": "Look"}, image]})
    transcript.write(tmp_path, NOW)
    async with opened(tmp_path) as backend:
        (message,) = (await backend.get_session_history(transcript.id, HistoryQuery())).messages
    (attachment,) = message.attachments
    assert (attachment.type, attachment.media_type, attachment.bytes, attachment.url) == ("image", "image/png", 6, "")
