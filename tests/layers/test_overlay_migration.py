"""`mcp-sessions overlay migrate`: facts move into a system that can store them by now, and nothing is lost."""

# ruff: noqa: ASYNC240 - the files are on a local disk

import sqlite3
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from anyio.to_thread import run_sync

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.layers.overlay.migration import MoveResult, migrate
from mcp_sessions.backends.layers.overlay.transfer import export_lines
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.backends.registry import open_backend, system_of
from mcp_sessions.cli.main import main
from mcp_sessions.errors import Conflict
from mcp_sessions.models import Change, SessionDetail


class Before(Wrapper):
    """A store as it would be if it could store nothing but names."""

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset({"name"})


class Lossy(Wrapper):
    """A system that refuses summaries, and accepts a state but does not store it."""

    async def update_session(self, session_id: str, **arguments: Any) -> Change:
        raise Conflict("the session is locked. Try again later.")

    async def update_session_state(self, session_id: str, *arguments: Any, **named: Any) -> Change:
        return Change(session_id=session_id)


@pytest.fixture
def url(tmp_path: Path) -> str:
    return f"sqlite:///{tmp_path}/store.db"


@asynccontextmanager
async def before(url: str, overlay_path: Path) -> AsyncGenerator[Overlay]:
    overlay = OverlayStore.from_url(f"sqlite:///{overlay_path}")
    async with Overlay(Before(open_backend(url)), overlay, source=system_of(url)) as backend:
        yield backend


async def filled(backend: SessionBackend, name: str) -> SessionDetail:
    session = await backend.create_session(name=name, state={"step": 1}, metadata={"k": "v"})
    await backend.update_session(session.id, summary="S")
    await backend.archive_session(session.id)
    return await backend.get_session(session.id)


async def run(*command: str) -> int:
    """Run `mcp-sessions` in a thread, since it starts an event loop."""
    return await run_sync(lambda: main(command, {}))


async def moves(system: SessionBackend, overlay_path: Path, url: str, *, apply: bool = True) -> list[MoveResult]:
    store = OverlayStore.from_url(f"sqlite:///{overlay_path}")
    async with store, system:
        return [move async for move in migrate(system, store, source=system_of(url), apply=apply)]


async def kept(overlay_path: Path) -> list[str]:
    store = OverlayStore.from_url(f"sqlite:///{overlay_path}")
    async with store:
        return [line async for line in export_lines(store, [])]


async def test_the_command_moves_facts_once_it_is_told_to(
    url: str, overlay_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with before(url, overlay_path) as backend:
        sessions = [await filled(backend, f"n{number}") for number in range(3)]
    facts = await kept(overlay_path)
    assert len(facts) == 4 * len(sessions)
    command = ["overlay", "migrate", "--backend", url, "--overlay", f"sqlite:///{overlay_path}"]
    assert await run(*command) == 0
    assert capsys.readouterr().out == (
        "12 values would be moved into their system; 0 were there already.\n"
        "Nothing was changed. Add --apply to move them.\n"
    )
    assert await kept(overlay_path) == facts
    async with open_backend(url) as system:
        assert (await system.get_session(sessions[0].id)).state == {}
    assert await run(*command, "--apply") == 0
    assert capsys.readouterr().out == "12 values moved into their system; 0 were there already.\n"
    assert await kept(overlay_path) == []
    async with open_backend(url) as system:
        for session in sessions:
            moved = await system.get_session(session.id)
            assert (moved.state, moved.metadata, moved.summary) == (session.state, session.metadata, session.summary)
            assert moved.archived_at is not None
    assert await run(*command, "--apply") == 0
    assert capsys.readouterr().out == "0 values moved into their system; 0 were there already.\n"


async def test_a_system_that_fails_does_not_keep_what_was_moved_from_being_told(
    url: str, overlay_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken = f"sqlite:///{tmp_path}/broken.db"
    for each in (url, broken):
        async with before(each, overlay_path) as backend:
            await filled(backend, "n")
    (tmp_path / "broken.db").write_bytes(b"damaged" * 1000)
    names = {"one": broken, "two": url, "three": broken + "?timeout=2"}
    backends = [part for name, each in names.items() for part in ("--backend", f"{name}={each}")]
    assert await run("overlay", "migrate", *backends, "--overlay", f"sqlite:///{overlay_path}", "--apply") == 1
    told = capsys.readouterr()
    assert told.out == "4 values moved into their system; 0 were there already.\n"
    assert told.err.count("damaged or not a SQLite file") == 1


async def test_a_damaged_value_keeps_only_its_own_session_from_being_moved(
    url: str, overlay_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with before(url, overlay_path) as backend:
        sessions = [await filled(backend, f"n{number}") for number in range(2)]
    with closing(sqlite3.connect(overlay_path)) as connection:
        connection.execute("UPDATE facts SET state = '{' WHERE session_id = ?", (sessions[0].id,))
        connection.commit()
    command = ["overlay", "migrate", "--backend", url, "--overlay", f"sqlite:///{overlay_path}"]
    assert await run(*command, "--apply") == 1
    told = capsys.readouterr().out
    assert told.startswith("4 values moved into their system; 0 were there already.\n4 stay in the overlay:\n")
    assert f"state of \"{sessions[0].id}\": the session's state in the overlay can't be read." in told
    assert len(await kept(overlay_path)) == 3


async def test_true_is_not_moved_as_one(url: str, overlay_path: Path) -> None:
    async with before(url, overlay_path) as backend:
        session = await backend.create_session(state={"done": True})
    async with open_backend(url) as system:
        await system.update_session_state(session.id, {"done": 1})
        (move,) = await moves(open_backend(url), overlay_path, url)
    assert move.outcome == "different"


async def test_a_value_that_the_system_has_already_is_not_changed(url: str, overlay_path: Path) -> None:
    async with before(url, overlay_path) as backend:
        session = await filled(backend, "n")
    async with open_backend(url) as system:
        await system.update_session_state(session.id, {"step": 1})
        await system.update_session(session.id, summary="Another one")
        outcomes = {move.field: move.outcome for move in await moves(open_backend(url), overlay_path, url)}
        assert outcomes == {"summary": "different", "metadata": "moved", "state": "equal", "archived_at": "moved"}
        assert (await system.get_session(session.id)).summary == "Another one"
    (line,) = await kept(overlay_path)
    assert '"field":"summary","value":"S"' in line


async def test_facts_of_a_session_that_is_not_there_stay(
    url: str, overlay_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    async with before(url, overlay_path) as backend:
        session = await filled(backend, "n")
    other = f"sqlite:///{tmp_path}/other.db"
    assert {move.outcome for move in await moves(open_backend(other), overlay_path, url)} == {"not found"}
    assert len(await kept(overlay_path)) == 4
    async with open_backend(url) as system:
        await system.delete_session(session.id)
    command = ["overlay", "migrate", "--backend", url, "--overlay", f"sqlite:///{overlay_path}", "--apply"]
    assert await run(*command) == 1
    assert f'state of "{session.id}": the session was not found' in capsys.readouterr().out


async def test_facts_that_the_system_refuses_or_does_not_return_stay(url: str, overlay_path: Path) -> None:
    async with before(url, overlay_path) as backend:
        await filled(backend, "n")
    outcomes = {move.field: move for move in await moves(Lossy(open_backend(url)), overlay_path, url)}
    assert outcomes["state"].outcome == "different"
    assert (outcomes["summary"].outcome, outcomes["summary"].error) == (
        "failed",
        "conflict: the session is locked. Try again later.",
    )
    assert [line.split('"field":')[1][:10] for line in await kept(overlay_path)] == [
        '"state","v',
        '"metadata"',
        '"summary",',
    ]


async def test_fields_that_the_system_cannot_store_stay(url: str, overlay_path: Path) -> None:
    async with before(url, overlay_path) as backend:
        await filled(backend, "n")
    assert await moves(Before(open_backend(url)), overlay_path, url) == []
    assert len(await kept(overlay_path)) == 4


async def test_no_store_is_created_for_a_system_without_facts(
    overlay_path: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    command = [
        "overlay",
        "migrate",
        "--backend",
        f"sqlite:///{tmp_path}/none.db",
        "--overlay",
        f"sqlite:///{overlay_path}",
    ]
    assert await run(*command) == 0
    assert await run(*command[:-1], "off") == 2
    assert list(tmp_path.iterdir()) == []
