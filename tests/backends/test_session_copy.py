"""A copy of sessions over the backend interface: what is kept, what is reported, and how it continues."""

import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from examples.custom_backend import JsonFolder
from mcp_sessions.backends.base import REQUIRED, Capability, SessionBackend
from mcp_sessions.backends.read_all import ReadAllBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.session_content import MARK
from mcp_sessions.backends.session_copy import BackendArgument, SessionCopyResult, copy_sessions
from mcp_sessions.errors import Invalid, NotFound
from mcp_sessions.models import Change, HistoryQuery, Message, NewMessage, Session, SessionDetail, SessionFilter

from ..contract.custom import JsonFolderHarness
from ..contract.harness import Seed
from ..contract.samples import WEATHER, exchanges, moment
from ..support.store_files import dump


@asynccontextmanager
async def folder_source(*seeds: Seed) -> AsyncGenerator[tuple[SessionBackend, list[str]]]:
    harness = JsonFolderHarness()
    async with harness.open() as backend:
        yield backend, await harness.seed(backend, seeds)


def tell_nothing(step: str, done: int, total: int) -> None:
    pass


async def copied(source: SessionBackend, path: Path, source_name: str = "folder:") -> SessionCopyResult:
    async with open_backend(f"sqlite:///{path}") as target:
        ends = BackendArgument("--from", source), BackendArgument("--to", target)
        return await copy_sessions(*ends, source_name, tell_nothing)


async def sessions_in(backend: SessionBackend, *, archived: bool = False) -> list[Session]:
    return list((await backend.list_sessions(SessionFilter(archived=archived), limit=100)).sessions)


async def messages_in(backend: SessionBackend, session_id: str) -> list[Message]:
    page = await backend.get_session_history(session_id, HistoryQuery(include_tools=True), limit=1_000)
    return list(page.messages)


def change(folder: JsonFolder, session_id: str, **fields: Any) -> None:
    """Change fields of a stored session, as another program would."""
    path = folder._folder / f"{session_id}.json"  # pyright: ignore[reportPrivateUsage] - the example has no writer
    path.write_text(json.dumps(json.loads(path.read_text()) | fields))


FULL = Seed(
    name="Rome",
    type="team",
    agent_id="crew",
    user_id="ann",
    state={"n": 1, "ü": [None, 1.5]},
    metadata={"kept": True, MARK: {"source": "an earlier copy", "id": "1"}},
    runs=WEATHER,
    moment=moment(1),
)


async def test_a_copy_has_all_that_the_source_shows(tmp_path: Path) -> None:
    async with folder_source(FULL) as (source, (id,)):
        result = await copied(source, tmp_path / "b.db")
        original = await messages_in(source, id)
    assert (result.sessions, result.messages, result.different, result.failed) == (1, 6, {}, {})
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        (session,) = await sessions_in(target)
        detail = await target.get_session(session.id)
        messages = await messages_in(target, session.id)
    assert (detail.name, detail.type, detail.agent_id, detail.user_id) == ("Rome", "team", "crew", "ann")
    assert (detail.state, detail.metadata) == (
        FULL.state,
        {"kept": True, MARK: {"source": "folder:", "id": id}},
    )
    kept = ("role", "text", "tool_calls", "tool_name", "attachments")
    assert [[getattr(message, field) for field in kept] for message in messages] == [
        [getattr(message, field) for field in kept] for message in original
    ]
    assert +result.absent == {"ids of sessions": 1, "times of sessions": 1}


async def test_the_order_of_the_lists_is_kept(tmp_path: Path) -> None:
    seeds = [Seed(name=f"n{n}", moment=moment((n * 7) % 10), archived=n % 3 == 0) for n in range(10)]
    async with folder_source(*seeds) as (source, _):
        await copied(source, tmp_path / "b.db")
        async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
            for archived in (False, True):
                names = [session.name for session in await sessions_in(target, archived=archived)]
                assert names == [session.name for session in await sessions_in(source, archived=archived)]


async def test_a_second_copy_changes_nothing(tmp_path: Path) -> None:
    async with folder_source(FULL, Seed(name="b", archived=True, runs=exchanges(3))) as (source, _):
        first = await copied(source, tmp_path / "b.db")
        before = dump(tmp_path / "b.db")
        second = await copied(source, tmp_path / "b.db")
    assert dump(tmp_path / "b.db") == before
    assert (first.already_there, second.already_there) == (0, 2)
    assert (second.sessions, second.messages) == (first.sessions, first.messages)


@pytest.mark.parametrize("step", ["copied", "compared"])
async def test_a_copy_that_was_interrupted_continues(step: str, tmp_path: Path) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(what: str, done: int, total: int) -> None:
        if (what, done) == (step, 2):
            raise Interrupted

    seeds = [Seed(name=f"n{n}", moment=moment(n), archived=n == 1, runs=exchanges(n)) for n in range(4)]
    async with folder_source(*seeds) as (source, _):
        async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
            ends = BackendArgument("--from", source), BackendArgument("--to", target)
            with pytest.raises(Interrupted):
                await copy_sessions(*ends, "folder:", interrupt)
        result = await copied(source, tmp_path / "b.db")
    assert (result.sessions, result.messages, result.different) == (4, 12, {})
    assert result.already_there == {"copied": 2, "compared": 4}[step]


async def test_messages_that_are_there_are_not_appended_again(tmp_path: Path) -> None:
    messages = [NewMessage(role="user", text=f"question {number}") for number in range(250)]
    async with folder_source(Seed(name="long", runs=(messages,))) as (source, (id,)):
        assert isinstance(source, JsonFolder)
        change(source, id, messages=[message.model_dump() for message in messages[:130]])
        assert (await copied(source, tmp_path / "b.db")).messages == 130
        change(source, id, messages=[message.model_dump() for message in messages])
        assert (await copied(source, tmp_path / "b.db")).messages == 250
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        (session,) = await sessions_in(target)
        texts = [message.text for message in await messages_in(target, session.id)]
    assert texts == [message.text for message in messages]


@pytest.mark.parametrize(
    ("fields", "told"),
    [
        ({"name": "other"}, ["name"]),
        ({"type": "team"}, ["type"]),
        ({"agent_id": "other"}, ["agent_id"]),
        ({"user_id": "ben"}, ["user_id"]),
        ({"state": {"n": 2}}, ["state"]),
        ({"metadata": {"n": 2}}, ["metadata"]),
        ({"summary": "other"}, ["summary"]),
        ({"archived_at": None}, ["archived"]),
        ({"messages": []}, ["messages"]),
        ({"messages": [{"role": "user", "text": "other"}]}, ["messages"]),
    ],
    ids=str,
)
async def test_a_session_that_the_source_changed_is_reported_and_not_overwritten(
    fields: dict[str, Any], told: list[str], tmp_path: Path
) -> None:
    async with folder_source(Seed(name="a", archived=True, runs=exchanges(1))) as (source, (id,)):
        assert isinstance(source, JsonFolder)
        change(source, id, summary="first")
        await copied(source, tmp_path / "b.db")
        before = dump(tmp_path / "b.db")
        change(source, id, **fields)
        result = await copied(source, tmp_path / "b.db")
    assert result.different == {id: told}
    assert result.sessions == 0
    assert dump(tmp_path / "b.db") == before


async def test_a_session_that_changes_during_the_copy_is_reported(tmp_path: Path) -> None:
    async with folder_source(Seed(name="a", runs=exchanges(1)), Seed(name="b")) as (source, (id, other)):
        assert isinstance(source, JsonFolder)

        def go_on(what: str, done: int, total: int) -> None:
            if (what, done) == ("copied", total):
                change(source, id, messages=[{"role": "user", "text": "said meanwhile"}])

        async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
            ends = BackendArgument("--from", source), BackendArgument("--to", target)
            result = await copy_sessions(*ends, "folder:", go_on)
    assert (result.different, result.sessions) == ({id: ["messages"]}, 1)
    assert other not in result.different


async def test_sessions_that_others_made_in_the_target_are_left_alone(tmp_path: Path) -> None:
    """Also one that pretends to be a copy, of another user."""
    async with folder_source(Seed(name="a", user_id="ann", runs=exchanges(1))) as (source, (id,)):
        async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
            await target.create_session(name="own")
            await target.create_session(name="a", metadata={MARK: {"source": "folder:", "id": id}})
            await target.create_session(name="odd", metadata={MARK: [id]})
        before = dump(tmp_path / "b.db")
        result = await copied(source, tmp_path / "b.db")
    assert result.different == {id: ["user_id", "messages"]}
    assert dump(tmp_path / "b.db") == before


async def test_a_fork_of_a_copy_is_not_taken_for_the_copy(tmp_path: Path) -> None:
    async with folder_source(Seed(name="a", runs=exchanges(2))) as (source, _):
        await copied(source, tmp_path / "b.db")
        async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
            (session,) = await sessions_in(target)
            fork = await target.fork_session(session.id, up_to_message_id="m1")
            result = await copied(source, tmp_path / "b.db")
            assert len(await messages_in(target, fork.id)) == 1
    assert (result.sessions, result.different) == (1, {})


async def test_sessions_of_two_sources_with_the_same_id_are_both_copied(tmp_path: Path) -> None:
    for name in ("one:", "two:"):
        async with folder_source(Seed(name=name)) as (source, _):
            assert (await copied(source, tmp_path / "b.db", name)).already_there == 0
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        assert [session.name for session in await sessions_in(target)] == ["two:", "one:"]


async def test_a_copy_that_was_deleted_during_the_copy_is_reported(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text('{"messages": []}')
    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:

        class DeletingSource(JsonFolder):
            """A source that deletes what is in the target whenever a session is read."""

            async def get_session(self, session_id: str) -> SessionDetail:
                for session in await sessions_in(target):
                    await target.delete_session(session.id)
                return await super().get_session(session_id)

        source = DeletingSource(tmp_path)
        ends = BackendArgument("--from", source), BackendArgument("--to", target)
        result = await copy_sessions(*ends, "folder:", tell_nothing)
    assert (result.different, result.sessions) == ({"a": ["deleted"]}, 0)


async def test_a_session_that_can_not_be_copied_does_not_stop_the_others(tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"\xff.json")).write_text('{"messages": []}')  # its id is no valid text
    (tmp_path / "a.json").write_text('{"messages": []}')
    (tmp_path / "b.json").write_text('{"messages": []}')

    def remove(what: str, done: int, total: int) -> None:
        if (what, done) == ("copied", total):
            (tmp_path / "b.json").unlink()

    async with open_backend(f"sqlite:///{tmp_path}/b.db") as target:
        ends = BackendArgument("--from", JsonFolder(tmp_path)), BackendArgument("--to", target)
        result = await copy_sessions(*ends, "folder:", remove)
    assert {id: type(error) for id, error in result.failed.items()} == {"\udcff": Invalid, "b": NotFound}
    assert str(result.failed["\udcff"]).startswith("--to: ")
    assert str(result.failed["b"]).startswith("--from: ")
    assert (result.sessions, result.different) == (1, {})


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


async def test_what_the_target_has_no_place_for_is_counted() -> None:
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


async def test_what_can_not_be_stored_is_changed_and_counted(tmp_path: Path) -> None:
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
