"""Several processes that change Claude Code's files at once, and ones that are killed while they do."""

import json
import os
import random
import shutil
import time
from collections.abc import Callable
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import NotFound
from mcp_sessions.models import NewMessage

from ...support.store_processes import PATIENCE, context, run_together
from .folders import copy_fixtures, listed, messages_of, opened

KILLS = int(os.environ.get("KILLS", "5"))
APPENDS = int(os.environ.get("APPENDS", "40"))
SESSION = "93c83ab1-4731-438e-893d-8eaa5e8994c6"
OPERATIONS = 7
pytestmark = pytest.mark.slow


def transcript_in(root: Path) -> Path:
    return root / "projects/-home-user-project" / f"{SESSION}.jsonl"


def parts_of(root: Path) -> dict[str, bytes]:
    """Return the bytes of each file of the session except its transcript, by its path."""
    folder = transcript_in(root).with_suffix("")
    return {str(path.relative_to(root)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


async def make_change(backend: SessionBackend, root: Path, number: int) -> None:
    """Make the next kind of change: rename, append, fork, protect, restore what was removed, delete or restore."""
    match number % OPERATIONS:
        case 0:
            await backend.rename_session(SESSION, f"name {number}")
        case 1:
            pair = (NewMessage(role="user", text=f"question {number}"), NewMessage(role="assistant", text="x" * 50_000))
            await backend.append_messages(SESSION, pair)
        case 2:
            await backend.fork_session(SESSION, name=f"fork {number}")
        case 3:
            await backend.protect_session(SESSION)
        case 4:
            transcript_in(root).unlink()
            shutil.rmtree(transcript_in(root).with_suffix(""))
            await backend.restore_session(SESSION)
        case 5:
            await backend.delete_session(SESSION)
        case _:
            await backend.restore_session(SESSION)


def change_without_end(root: Path, telling: Connection) -> None:
    """Change the session again and again, and tell of each change that is made."""

    async def main() -> None:
        async with opened(root) as backend:
            for number in count():
                await make_change(backend, root, number)
                telling.send(number)

    anyio.run(main)


def killed_after(root: Path, changes: int, chance: random.Random) -> None:
    """Start a process and kill it during the change after so many ones."""
    told, telling = context().Pipe(duplex=False)
    process = context().Process(target=change_without_end, args=(root, telling))
    process.start()
    telling.close()
    with told:
        times = [time.perf_counter()]
        for _ in range(changes):
            assert told.poll(PATIENCE)
            told.recv()
            times.append(time.perf_counter())
        told.poll(chance.uniform(0, 1.2 * (times[-1] - times[-2])))
        process.kill()
        process.join(PATIENCE)


async def test_a_killed_process_leaves_no_half_of_a_change(tmp_path: Path) -> None:
    chance = random.Random(5)
    root = copy_fixtures(tmp_path)
    path = transcript_in(root)
    parts = parts_of(root)
    async with opened(root) as backend:
        texts = [message.text for message in await messages_of(backend, SESSION)]
    for number in range(KILLS):
        before = path.read_bytes()
        await anyio.to_thread.run_sync(killed_after, root, number % OPERATIONS + 1, chance)
        async with opened(root) as backend:
            try:
                is_removed = bool((await backend.get_session(SESSION)).archived_at)
            except NotFound:
                assert parts_of(root) == {}
                is_removed = True
            if is_removed:
                await backend.restore_session(SESSION)
            await backend.protect_session(SESSION, is_protected=False)
            assert path.read_bytes().startswith(before)
            assert parts_of(root) == parts
            for session in await listed(backend):
                if (await backend.get_session(session.id)).parent_id == SESSION:
                    said = [message.text for message in await messages_of(backend, session.id)]
                    assert said[: len(texts)] == texts
                    assert len(said) % 2 == len(texts) % 2
                    path.with_name(f"{session.id}.jsonl").unlink()
            texts = [message.text for message in await messages_of(backend, SESSION)]
            await backend.rename_session(SESSION, "after the kill")


def append_from(root: Path, writer: str, append: Callable[[Path, str, int], None]) -> None:
    for number in range(APPENDS):
        append(root, writer, number)


def rename_as_server(root: Path, writer: str, number: int) -> None:
    async def main() -> None:
        async with opened(root) as backend:
            await backend.rename_session(SESSION, f"{writer} {number}")

    anyio.run(main)


def append_as_claude_code(root: Path, writer: str, number: int) -> None:
    """Append a line as Claude Code does, without looking at other writers."""
    with transcript_in(root).open("ab", buffering=0) as file:
        file.write(json.dumps({"type": "mode", "mode": f"{writer} {number}"}).encode() + b"\n")


def test_no_line_of_several_writers_is_lost_or_joined_with_another(tmp_path: Path) -> None:
    root = copy_fixtures(tmp_path)
    before = transcript_in(root).read_bytes()
    writers = {"one": rename_as_server, "two": rename_as_server, "claude": append_as_claude_code}
    run_together(
        [context().Process(target=append_from, args=(root, writer, append)) for writer, append in writers.items()]
    )
    data = transcript_in(root).read_bytes()
    assert data.startswith(before)
    lines = [json.loads(line) for line in data[len(before) :].split(b"\n") if line]
    for key, names in (("customTitle", ("one", "two")), ("agentName", ("one", "two")), ("mode", ("claude",))):
        for writer in names:
            assert [line[key] for line in lines if str(line.get(key, "")).startswith(f"{writer} ")] == [
                f"{writer} {number}" for number in range(APPENDS)
            ]
