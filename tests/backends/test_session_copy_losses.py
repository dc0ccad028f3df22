"""Values that the target of a copy can't store, or stores in another form, are counted."""

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from examples.custom_backend import JsonFolder
from mcp_sessions.backends.base import REQUIRED, Capability
from mcp_sessions.backends.read_all import ReadAllBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.session_content import MARK
from mcp_sessions.backends.session_copy import BackendArgument, copy_sessions
from mcp_sessions.errors import NotFound
from mcp_sessions.models import Change, Message, NewMessage, SessionDetail

from ..contract.harness import Seed
from ..contract.samples import WEATHER, exchanges
from ..support.copied_sessions import FULL, change, copied, folder_source, messages_in, sessions_in, tell_nothing


class PlainTarget(ReadAllBackend):
    """A system with only what a target needs: no users, no archive, and messages with a role and a text."""

    title = "a plain system"
    capabilities = REQUIRED | {Capability.CREATE_SESSION, Capability.APPEND_MESSAGES, Capability.UPDATE_SESSION}

    def __init__(self) -> None:
        self.sessions = {"gone": SessionDetail(id="gone")}
        self.messages: dict[str, list[Message]] = {}

    def why_no_user_scoping(self) -> str:
        return "It has no users."

    async def read_sessions(self) -> Sequence[SessionDetail]:
        return list(self.sessions.values())

    async def read_messages(self, session_id: str) -> Sequence[Message]:
        return self.messages[session_id]

    async def get_session(self, session_id: str) -> SessionDetail:
        if session_id == "gone":  # deleted after it was listed
            raise NotFound("no such session.")
        return await super().get_session(session_id)

    async def create_session(self, **given: Any) -> SessionDetail:
        id = f"n{len(self.sessions)}"
        self.messages[id] = []
        self.sessions[id] = SessionDetail.model_validate({**given, "id": id})
        return self.sessions[id]

    async def append_messages(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        assert 0 < len(messages) <= 100
        said = self.messages[session_id]
        said += [Message(id=str(len(said) + at), role=new.role, text=new.text) for at, new in enumerate(messages)]
        return Change(session_id=session_id)

    async def update_session(self, session_id: str, **given: Any) -> Change:
        self.sessions[session_id] = self.sessions[session_id].model_copy(update=given)
        return Change(session_id=session_id)


async def test_values_that_the_target_cannot_store_are_counted() -> None:
    target = PlainTarget()
    async with folder_source(replace(FULL, archived=True, runs=(*WEATHER, exchanges(101)[0] * 101))) as (source, (id,)):
        assert isinstance(source, JsonFolder)
        change(source, id, summary="summed up")
        ends = BackendArgument("--from", source), BackendArgument("--to", target)
        results = [await copy_sessions(*ends, "folder:", tell_nothing) for _ in range(2)]
    assert (results[0].sessions, results[0].messages, results[0].different) == (1, 208, {})
    assert results[1].already_there == 1
    assert len(target.sessions) == 2
    assert target.sessions["n1"].summary == "summed up"
    assert (
        +results[0].absent
        == +results[1].absent
        == {
            "ids of sessions": 1,
            "times of sessions": 1,
            "users of sessions": 1,
            "which sessions are archived": 1,
            "ids of messages": 208,
            "tool calls": 1,
            "names of tools": 1,
            "attachments": 1,
        }
    )


HOSTILE = {
    "name": "\u200b" + " " * 600,
    "type": "Agent Team",
    "agent_id": "a" * 600,
    "user_id": "u\0",
    "state": {"half": "\ud800"},
    "metadata": {MARK: {"source": "elsewhere:", "id": "1"}, "big": "x" * 2_000_000},
    "summary": "s" * 20_000,
    "messages": [
        {"role": "user", "text": "a\0b\ud800\u202e\x1b[31m😀"},
        {"role": "tool", "text": "", "tool_name": "t" * 600},
        {"role": "assistant", "text": "y" * 1_100_000, "tool_calls": [{"arguments": "\0"}]},
        {"role": "user", "attachments": [{"type": "image", "bytes": 5}], "agent_id": "helper", "run_id": "r"},
    ],
}


async def test_values_that_are_stored_in_another_form_are_counted(tmp_path: Path) -> None:
    async with folder_source(Seed(name="a")) as (source, (id,)):
        assert isinstance(source, JsonFolder)
        change(source, id, **HOSTILE, topics=["t"], total_tokens=7, channel="c")
        results = [await copied(source, tmp_path / "b.db") for _ in range(2)]
    assert results[0].changed == results[1].changed
    result = results[0]
    assert (result.sessions, result.messages, result.different, result.failed) == (1, 4, {}, {})
    assert +result.changed == {
        "names without a visible character, left out": 1,
        "types that can't be stored, replaced by agent": 1,
        "agents that can't be stored, left out": 1,
        "users that can't be stored, left out": 1,
        "states that can't be stored, left out": 1,
        "metadata that can't be stored, left out": 1,
        "texts with characters that can't be stored, replaced by �": 2,
        "texts that are too long, cut": 4,
    }
    assert +result.absent == {
        "ids of sessions": 1,
        "times of sessions": 1,
        "users of sessions": 1,
        "topics of sessions": 1,
        "token counts of sessions": 1,
        "channels of sessions": 1,
        "status and token counts of runs": 1,
        "authors of messages": 1,
    }
    assert +result.unread == {"data of attachments": 1}
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        (session,) = await sessions_in(target)
        first, *_ = await messages_in(target, session.id)
    assert first.text == "a�b�\u202e\x1b[31m😀"
