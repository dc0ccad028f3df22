"""Servers that are killed while Codex makes a change for them: nothing is lost, and nothing is left running."""

import fcntl
import os
import random
import signal
from collections.abc import Callable, Coroutine
from contextlib import suppress
from multiprocessing.connection import Connection
from pathlib import Path
from time import perf_counter, sleep

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import NotFound
from mcp_sessions.models import SessionDetail

from ...support.codex_client import installed_codex, is_installed
from ...support.fakes.codex import fake_codex
from ...support.store_processes import PATIENCE, context
from .homes import EXPECTED, copy_fixtures_in_place, labelled, opened, texts_of

KILLS = int(os.environ.get("KILLS", "2"))
NAME = "A new name"
FAMILY = (labelled("parent"), next(one["id"] for one in EXPECTED if not isinstance(one["source"], str)))
"""A thread and that of its subagent."""


Operation = Callable[[SessionBackend, str], Coroutine[None, None, object]]
CHANGES: dict[str, tuple[str, str, Operation]] = {
    "rename": (labelled("paginated"), "thread/name/set", lambda backend, thread: backend.rename_session(thread, NAME)),
    "archive": (labelled("parent"), "thread/archive", lambda backend, thread: backend.archive_session(thread)),
    "restore": (labelled("archived"), "thread/unarchive", lambda backend, thread: backend.restore_session(thread)),
    "delete": (labelled("parent"), "thread/delete", lambda backend, thread: backend.delete_session(thread)),
    "fork": (labelled("paginated"), "thread/fork", lambda backend, thread: backend.fork_session(thread)),
    "fork a legacy thread": (
        labelled("legacy_named"),
        "thread/fork",
        lambda backend, thread: backend.fork_session(thread),
    ),
}
"""A thread, the method of Codex that changes it, and how to make the change."""


def make_change(home: Path, program: Path, change: str, telling: Connection) -> None:
    """Make a change in a process of its own, which tells when it begins and how many seconds that took."""
    thread_id, _, make = CHANGES[change]

    async def main() -> None:
        async with opened(home, command=str(program)) as backend:
            telling.send(0.0)
            began = perf_counter()
            await make(backend, thread_id)
            telling.send(perf_counter() - began)

    anyio.run(main)


def seconds_until_killed(home: Path, program: Path, change: str, is_due: Callable[[Path], None] | None) -> float:
    """Make a change in a process that is killed when `is_due` returns. Return the seconds it took, 0 if it failed."""
    told, telling = context().Pipe(duplex=False)
    process = context().Process(target=make_change, args=(home, program, change, telling), daemon=True)
    process.start()
    telling.close()
    with told:
        told.recv()
        if is_due:
            is_due(home)
            process.kill()
        process.join(PATIENCE)
        assert process.exitcode in (0, -signal.SIGKILL)
        with suppress(EOFError):
            return told.recv()
        return 0.0


def processes_in(home: Path) -> list[str]:
    """Return the ids of all processes that were started with this home."""
    setting, found = f"CODEX_HOME={home}".encode(), list[str]()
    for folder in Path("/proc").glob("[0-9]*"):
        with suppress(OSError):
            found += [folder.name] if setting in (folder / "environ").read_bytes().split(b"\0") else []
    return found


def contents(home: Path) -> dict[str, bytes]:
    """Return the contents of all threads' files by their names, wherever they are."""
    return {path.name: path.read_bytes() for path in home.rglob("rollout-*")}


def refuse_locks(home: Path) -> None:
    """Raise `OSError` if a process holds the lock of a thread."""
    for path in home.glob("thread-writer-locks/*"):
        with path.open("rb") as file:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


async def check(home: Path, program: Path, change: str, files: dict[str, bytes], before: SessionDetail) -> bool:
    """Check what a killed server left, and make the change again. Return whether it was made the first time."""
    refuse_locks(home)
    left = contents(home)
    lost, new = files.keys() - left.keys(), left.keys() - files.keys()
    assert {name: left[name] for name in files.keys() - lost} == {name: files[name] for name in files.keys() - lost}
    assert lost in (
        set(),
        {name for name in files if any(id in name for id in FAMILY)} if change == "delete" else set(),
    )
    assert len(new) in ((0, 1) if change.startswith("fork") else (0,))
    thread_id, _, make = CHANGES[change]
    async with opened(home, command=str(program)) as backend:
        if lost:
            with pytest.raises(NotFound):
                await make(backend, thread_id)
            return True
        session = await backend.get_session(thread_id)
        is_made = bool(new) or (session.name, session.archived_at) != (before.name, before.archived_at)
        await make(backend, thread_id)
        if change == "delete":
            assert not any(id in name for id in FAMILY for name in contents(home))
        elif change.startswith("fork"):
            forks = {name[-42:-6] for name in contents(home).keys() - files.keys()}
            assert len(forks) == len(new) + 1
            assert all([await texts_of(home, fork) == await texts_of(home, thread_id) for fork in forks])
        else:
            session = await backend.get_session(thread_id)
            assert (session.name == NAME) if change == "rename" else bool(session.archived_at) == (change == "archive")
        return is_made


async def kill(
    folder: Path, program: Path, change: str, faulty: Path, is_due: Callable[[Path], None] | None = None
) -> tuple[bool, float]:
    """Kill a server that changes a new home by the codex `faulty`, and check what it left.

    Return whether the change was made, and the seconds it took, 0 if it was not answered.
    """
    home = copy_fixtures_in_place(folder)
    async with opened(home) as backend:
        before = await backend.get_session(CHANGES[change][0])
    files = contents(home)
    with anyio.fail_after(PATIENCE):
        arguments = home, faulty, change, is_due
        seconds = await anyio.to_thread.run_sync(seconds_until_killed, *arguments, abandon_on_cancel=True)
        while processes_in(home):  # noqa: ASYNC110 - nothing tells of their end
            await anyio.sleep(0.02)
    return await check(home, program, change, files, before), seconds


@pytest.mark.slow
@pytest.mark.parametrize("fault", ["hang:initialize", "deaf", "late"])
async def test_a_server_that_is_killed_before_codex_answers_leaves_nothing_behind(tmp_path: Path, fault: str) -> None:
    """All at once, since it takes 5 seconds until a Codex that does not end by itself is ended."""

    def wait(home: Path) -> None:
        while not (home / "reached").exists():
            sleep(0.02)

    async def kill_during(change: str) -> None:
        faulty = fake_codex(tmp_path, fault=fault if ":" in fault else f"{fault}:{CHANGES[change][1]}")
        is_made, seconds = await kill(tmp_path / change, fake_codex(tmp_path), change, faulty, wait)
        assert (is_made, seconds) == (fault == "late", 0)

    async with anyio.create_task_group() as tasks:
        for change in CHANGES:
            tasks.start_soon(kill_during, change)


@pytest.mark.load
@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize("kind", ["fake", "real"] if is_installed() else ["fake"])
async def test_a_server_that_is_killed_at_any_moment_leaves_nothing_behind(
    tmp_path: Path, change: str, kind: str
) -> None:
    program = installed_codex() if kind == "real" else fake_codex(tmp_path)
    chance = random.Random(7)
    is_made, seconds = await kill(tmp_path / "whole", program, change, program)
    assert is_made
    assert seconds

    async def kill_after(moment: float) -> None:
        await kill(tmp_path / str(moment), program, change, program, lambda _: sleep(moment))

    async with anyio.create_task_group() as tasks:
        for _ in range(KILLS):
            tasks.start_soon(kill_after, chance.uniform(0, seconds))
