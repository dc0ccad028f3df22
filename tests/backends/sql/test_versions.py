"""Versions: each change increments the version, and a change that expects another version fails."""

from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Conflict
from mcp_sessions.models import NewMessage

from ...support.store_files import dump

Call = Callable[[SessionBackend, str], Awaitable[object]]

CHANGES: dict[str, Call] = {
    "rename": lambda store, own: store.rename_session(own, "After"),
    "rename to the same": lambda store, own: store.rename_session(own, "Before"),
    "archive": lambda store, own: store.archive_session(own),
    "restore under a name": lambda store, own: store.restore_session(own, name="After"),
    "delete": lambda store, own: store.delete_session(own),
    "merge": lambda store, own: store.update_session_state(own, {"a": 2}),
    "replace": lambda store, own: store.update_session_state(own, {}, mode="replace"),
    "metadata": lambda store, own: store.update_session(own, metadata={"a": 1}),
    "summary": lambda store, own: store.update_session(own, summary="It began."),
    "append": lambda store, own: store.append_messages(own, [NewMessage(role="user", text="Hello")]),
}

EXPECTING: dict[str, Callable[[SessionBackend, str, str], Awaitable[object]]] = {
    "delete": lambda store, own, version: store.delete_session(own, expected_version=version),
    "merge": lambda store, own, version: store.update_session_state(own, {"a": 2}, expected_version=version),
    "replace": lambda store, own, version: store.update_session_state(
        own, {}, mode="replace", expected_version=version
    ),
    "metadata": lambda store, own, version: store.update_session(own, metadata={"a": 1}, expected_version=version),
    "clear": lambda store, own, version: store.update_session(own, clear=["summary"], expected_version=version),
}


@pytest.mark.parametrize("what", CHANGES)
async def test_each_change_increments_the_version(store: SessionBackend, what: str) -> None:
    session = await store.create_session(name="Before", state={"a": 1})
    assert session.version == "1"
    await CHANGES[what](store, session.id)
    restored = await store.restore_session(session.id) if what == "delete" else None
    after = await store.get_session(session.id)
    assert after.version == ("3" if restored else "2")
    assert after.updated_at is not None and session.updated_at is not None
    assert after.updated_at > session.updated_at
    assert after.created_at == session.created_at


async def test_a_call_without_a_change_keeps_the_version(store: SessionBackend, path: Path) -> None:
    session = await store.create_session(name="Before")
    before = dump(path)
    await store.restore_session(session.id)
    await store.apply_to_sessions("delete", [session.id])
    await store.get_session_history(session.id)
    await store.fork_session(session.id)
    assert [line for line in before if session.id in line] == [line for line in dump(path) if session.id in line]


@pytest.mark.parametrize("what", EXPECTING)
async def test_an_old_version_is_a_conflict(store: SessionBackend, path: Path, what: str) -> None:
    session = await store.create_session(name="Before", state={"a": 1})
    await store.rename_session(session.id, "After")
    before = dump(path)
    for stale in ("1", "3", "02", "2 ", "-2", "two", "２"):
        with pytest.raises(Conflict, match="is at version 2 now"):
            await EXPECTING[what](store, session.id, stale)
    assert dump(path) == before
    await EXPECTING[what](store, session.id, "2")


async def test_a_fork_starts_at_its_own_version(store: SessionBackend) -> None:
    source = await store.create_session(name="Before")
    await store.rename_session(source.id, "After")
    assert (await store.fork_session(source.id)).version == "1"
