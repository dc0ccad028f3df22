"""A copy of sessions over the backend interface: what is kept, what is reported, and how it continues."""

import os
from pathlib import Path
from typing import Any

import pytest

from examples.custom_backend import JsonFolder
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.session_content import MARK
from mcp_sessions.backends.session_copy import BackendArgument, copy_sessions
from mcp_sessions.errors import Invalid, NotFound
from mcp_sessions.models import NewMessage, SessionDetail

from ..contract.harness import Seed
from ..contract.samples import exchanges, moment
from ..support.copied_sessions import FULL, change, copied, folder_source, messages_in, sessions_in, tell_nothing
from ..support.store_files import dump


async def test_a_copy_equals_what_the_source_returns(tmp_path: Path) -> None:
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


async def test_a_copy_keeps_the_order_of_lists(tmp_path: Path) -> None:
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


async def test_messages_that_the_copy_has_are_not_appended_again(tmp_path: Path) -> None:
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


async def test_other_sessions_in_the_target_are_left_alone(tmp_path: Path) -> None:
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


async def test_a_fork_of_a_copy_is_not_mistaken_for_the_copy(tmp_path: Path) -> None:
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


async def test_a_session_that_cannot_be_copied_does_not_stop_the_others(tmp_path: Path) -> None:
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
