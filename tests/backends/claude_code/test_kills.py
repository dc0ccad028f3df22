"""Processes that are killed at each step of a change: whatever the step, no file of a session is lost."""

import os
import random
import signal
import sys
from collections.abc import Callable, Coroutine
from datetime import UTC, datetime, timedelta
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import NotFound
from mcp_sessions.models import NewMessage

from ...support.claude_transcripts import Transcript, conversation
from ...support.store_processes import PATIENCE, context
from .folders import opened
from .test_protection import HELLO, remove_as_claude_code

KILLS = int(os.environ.get("KILLS", "2"))
MOMENT = datetime.now(UTC) - timedelta(hours=1)
SESSION = conversation((), MOMENT, number=1).id
STEPS = {"os.link", "os.rename", "os.remove", "os.rmdir", "os.mkdir", "os.utime"}
"""What a process does to files, as Python's audit events call it. Opening a file for writing is a step too."""

Operation = Callable[[SessionBackend], Coroutine[None, None, object]]
CHANGES: dict[str, Operation] = {
    "delete": lambda backend: backend.delete_session(SESSION),
    "delete another conversation": lambda backend: backend.delete_session(SESSION),
    "delete what Claude Code removed": lambda backend: backend.delete_session(SESSION),
    "restore what was deleted": lambda backend: backend.restore_session(SESSION),
    "restore what Claude Code removed": lambda backend: backend.restore_session(SESSION),
    "protect": lambda backend: backend.protect_session(SESSION),
    "stop protecting": lambda backend: backend.protect_session(SESSION, is_protected=False),
    "rename": lambda backend: backend.rename_session(SESSION, "Another name"),
    "append": lambda backend: backend.append_messages(SESSION, [NewMessage(role="user", text="More")]),
    "fork": lambda backend: backend.fork_session(SESSION, name="Fork"),
}
STAYS_PROTECTED = {"delete", "rename", "append", "fork"}


def written(root: Path) -> Path:
    """Write a session with an output in a file of its own, and return its transcript."""
    transcript = conversation(HELLO, MOMENT, name="Trip", number=1)
    path = transcript.write(root, MOMENT)
    output = path.with_suffix("") / "tool-results/1.txt"
    output.parent.mkdir(parents=True)
    output.write_text("output")
    return path


async def prepare(root: Path, change: str) -> tuple[Path, dict[str, bytes]]:
    """Make a folder in which a change can be made. Return the transcript, and the bytes of the session's files."""
    path = written(root)
    async with opened(root) as backend:
        if change != "protect":
            await backend.protect_session(SESSION)
        if change == "delete another conversation":
            path.unlink()
            another = Transcript(SESSION)
            another.prompt("written by a Claude Code that had it open", MOMENT)
            another.write(root, MOMENT)
        before = files_of(root, path)
        if change == "restore what was deleted":
            await backend.delete_session(SESSION)
    if change.endswith("Claude Code removed"):
        remove_as_claude_code(path)
    return path, before


def files_of(root: Path, path: Path) -> dict[str, bytes]:
    """Return the bytes of the session's files, by path."""
    parts = [part for part in path.with_suffix("").rglob("[!.]*") if part.is_file()]  # what is unfinished goes later
    return {str(part.relative_to(root)): part.read_bytes() for part in [*parts, path] if part.exists()}


def is_step(event: str, arguments: tuple[object, ...], root: Path) -> bool:
    if event == "open":
        flags = arguments[2]
        is_written = isinstance(flags, int) and flags & (os.O_WRONLY | os.O_RDWR)
        return bool(is_written) and str(arguments[0]).startswith(str(root)) and "locks" not in str(arguments[0])
    return event in STEPS and str(arguments[0]).startswith(str(root))


def change_until(root: Path, change: str, last: int, telling: Connection) -> None:
    """Make a change, but kill this process before step number `last`. Tell how many steps there were otherwise."""
    made = 0
    is_counting = False

    def count(event: str, arguments: tuple[object, ...]) -> None:
        nonlocal made
        if is_counting and is_step(event, arguments, root):
            made += 1
            if made == last:
                os.kill(os.getpid(), signal.SIGKILL)

    async def main() -> None:
        nonlocal is_counting
        async with opened(root) as backend:
            await backend.get_session(SESSION) if "deleted" not in change else None
            is_counting = True
            await CHANGES[change](backend)
            is_counting = False

    sys.addaudithook(count)
    anyio.run(main)
    telling.send(made)


def steps_of(root: Path, change: str, last: int = 0) -> int | None:
    """Run a process that makes a change. Return the number of its steps, None if it was killed before step `last`."""
    told, telling = context().Pipe(duplex=False)
    process = context().Process(target=change_until, args=(root, change, last, telling))
    process.start()
    telling.close()
    with told:
        process.join(PATIENCE)
        assert process.exitcode in ((-signal.SIGKILL, 0) if last else (0,))
        return told.recv() if process.exitcode == 0 else None


async def check_after_kill(root: Path, path: Path, change: str, before: dict[str, bytes]) -> None:
    """Check that the session is as before, or deleted and can be restored, and that it is protected as before."""
    async with opened(root) as backend:
        try:
            is_kept = bool((await backend.get_session(SESSION)).archived_at)
        except NotFound:
            assert "delete" in change
            assert not files_of(root, path)
            await backend.restore_session(SESSION)
        else:
            assert is_kept == (path.name not in map(os.path.basename, files_of(root, path)))
            if not is_kept and change in STAYS_PROTECTED:
                before |= {key: data for key, data in files_of(root, path).items() if data.startswith(before[key])}
                remove_as_claude_code(path)
                is_kept = True
            if is_kept:
                await backend.restore_session(SESSION)
        found = files_of(root, path)
        assert found.keys() == before.keys()
        assert all(data.startswith(before[key]) for key, data in found.items())


async def kill_at(root: Path, change: str, last: int) -> int | None:
    """Kill a process before step `last` of a change, and check what it left. Return the number of steps, if known."""
    path, before = await prepare(root, change)
    steps = await anyio.to_thread.run_sync(steps_of, root, change, last)
    if steps is None:
        await check_after_kill(root, path, change, before)
    return steps


@pytest.mark.parametrize(
    "change",
    [pytest.param(change, marks=pytest.mark.slow if change == "delete" else pytest.mark.load) for change in CHANGES],
)
async def test_a_kill_at_any_step_loses_nothing(change: str, tmp_path: Path) -> None:
    count = await kill_at(tmp_path / "counted", change, 0)
    assert count
    steps = list(range(1, count + 1))
    for last in random.Random(7).sample(steps, min(KILLS, count)):
        await kill_at(tmp_path / str(last), change, last)
