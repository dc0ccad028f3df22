"""What a history and the runs show of opencode's messages and their parts."""

import json
from typing import Any

import pytest

from mcp_sessions.errors import BadResponse
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import HistoryQuery, Message, Run

from ...contract.harness import Seed
from ...support.faked_opencode import faked
from ...support.fakes.http import Response
from ...support.fakes.opencode import Fault

MOMENT = 1_714_564_807_000


def row(id: str, role: str, *parts: JsonObject, **info: Any) -> JsonObject:
    return {"info": {"id": id, "role": role, "time": {"created": MOMENT}, **info}, "parts": [*parts]}


def text(value: str, **fields: Any) -> JsonObject:
    return {"type": "text", "text": value, **fields}


def tool(id: str, status: str, **state: Any) -> JsonObject:
    return {"id": id, "type": "tool", "callID": "c1", "tool": "bash", "state": {"status": status, **state}}


async def shown(*rows: JsonObject) -> tuple[tuple[Message, ...], tuple[Run, ...]]:
    """Return the messages, with tools, and the runs of a session with these messages."""
    async with faked(Seed()) as (fake, backend, (session_id,)):
        fake.store.messages[session_id] = [*rows]
        page = await backend.get_session_history(session_id, HistoryQuery(include_tools=True))
        return page.messages, (await backend.get_session_runs(session_id)).runs


async def test_what_opencode_adds_for_the_model_is_not_shown() -> None:
    parts = [text("Look"), text("The file says …", synthetic=True), {"type": "reasoning", "text": "Hm"}, text("here")]
    (message,), _ = await shown(row("msg_1", "user", *parts))
    assert message.text == "Look\nhere"


async def test_a_tool_call_without_a_result_has_no_tool_message() -> None:
    messages, _ = await shown(
        row("msg_1", "assistant", tool("prt_1", "running", input={"command": "ls"}), tool("prt_2", "pending"))
    )
    assert [message.role for message in messages] == ["assistant"]
    assert [call.arguments for call in messages[0].tool_calls] == ['{"command":"ls"}', ""]


async def test_a_tool_that_failed_says_why() -> None:
    messages, _ = await shown(row("msg_1", "assistant", tool("prt_1", "error", input={}, error="no such file")))
    assert [(message.id, message.role, message.text) for message in messages[1:]] == [("prt_1", "tool", "no such file")]


async def test_the_data_of_an_attachment_is_never_returned() -> None:
    (message,), _ = await shown(
        row("msg_1", "user", {"type": "file", "mime": "text/plain", "url": "data:text/plain;base64,aGVsbG8="})
    )
    (attachment,) = message.attachments
    assert (attachment.type, attachment.url, attachment.bytes) == ("file", "", 5)


@pytest.mark.parametrize(
    ("answer", "status"),
    [
        ({"time": {"created": MOMENT, "completed": MOMENT}}, "completed"),
        ({"error": {"name": "MessageAbortedError"}}, "error"),
        ({}, "unfinished"),
    ],
)
async def test_the_status_of_a_run_is_that_of_its_last_answer(answer: JsonObject, status: str) -> None:
    tokens = {"input": 3, "output": 4, "reasoning": 0, "cache": {"read": 5, "write": 0}}
    _, (run,) = await shown(
        row("msg_1", "user", text("Why?")),
        row("msg_2", "assistant", text("Because"), parentID="msg_1", tokens=tokens, agent="plan", **answer),
    )
    assert (run.id, run.input, run.output, run.status) == ("msg_1", "Why?", "Because", status)
    assert (run.agent_id, run.total_tokens) == ("plan", 12)


async def test_malformed_messages_are_left_out_or_shown_as_far_as_they_can_be() -> None:
    messages, _ = await shown(
        row("", "user"),
        row("msg_1", "robot"),
        row("msg_2", "user", text("kept"), {"type": "text", "text": 7}, {"type": "tool", "state": []}, time="now"),
        {"info": {"id": "msg_3", "role": "assistant", "time": {"created": 10**30}}, "parts": {"type": "text"}},
    )
    assert [(message.id, message.text) for message in messages] == [("msg_2", "kept"), ("msg_3", "")]


@pytest.mark.parametrize("answer", [{"info": {}}, "text", [1]])
async def test_an_answer_that_is_no_list_of_messages_is_a_bad_response(answer: Any) -> None:
    async with faked(Seed()) as (fake, backend, (session_id,)):
        fake.faults.append(Fault(Response(200, json.dumps(answer).encode()), path="/message"))
        with pytest.raises(BadResponse, match="not a list"):
            await backend.get_session_history(session_id)
