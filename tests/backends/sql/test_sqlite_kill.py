"""Processes killed during changes: acknowledged changes are kept, and the file is intact."""

import random
from collections.abc import Generator
from contextlib import contextmanager
from itertools import count
from multiprocessing.connection import Connection, wait
from multiprocessing.context import ForkServerProcess
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.models import HistoryQuery, NewMessage, SessionDetail

from ...support.store_files import assert_whole, opened
from ...support.store_processes import PATIENCE, context, on_store

MESSAGES = 12  # a change: enough that most of a writer's time is inside a transaction


async def write_without_end(store: SessionBackend, telling: Connection) -> None:
    """Append messages, count them in the state and rename the session, in turn. Report each finished change."""
    words = random.Random(1)
    session = await store.create_session(name="step 0", state={"step": 0})
    telling.send_bytes(f"{session.id} 0".encode())
    for step in count(1):
        texts = [" ".join(f"w{words.randrange(5000)}" for _ in range(100)) for _ in range(MESSAGES - 1)]
        messages = [NewMessage(role="assistant", text=text) for text in (f"step{step} of {session.id}", *texts)]
        await store.append_messages(session.id, messages)
        telling.send_bytes(f"{session.id} {3 * step - 2}".encode())
        await store.update_session_state(session.id, {"step": step, f"{step}": "x" * (step % 5 * 500)})
        telling.send_bytes(f"{session.id} {3 * step - 1}".encode())
        await store.rename_session(session.id, f"step {step}")
        telling.send_bytes(f"{session.id} {3 * step}".encode())


@contextmanager
def _writer(path: Path) -> Generator[tuple[ForkServerProcess, Connection]]:
    processes = context()
    told, telling = processes.Pipe(duplex=False)
    process = processes.Process(target=on_store, args=(path, write_without_end, telling))
    process.start()
    telling.close()
    with told:
        try:
            yield process, told
        finally:
            process.kill()
            process.join(PATIENCE)


def _killed_at_work(path: Path, chance: random.Random) -> list[tuple[str, int]]:
    """Kill two writing processes. Return each one's session and number of acknowledged changes."""
    with _writer(path) as (one, told_one), _writer(path) as (two, told_two):
        last: dict[Connection, bytes] = {}
        for _ in range(chance.randrange(2, 14)):
            for ready in wait([told_one, told_two], PATIENCE):
                assert isinstance(ready, Connection)
                last[ready] = ready.recv_bytes()
        # Directly after a report, neither process is inside a transaction.
        one.join(chance.uniform(0, 0.02))
        for process in chance.sample([one, two], 2):
            process.kill()
        for told in (told_one, told_two):
            for message in _rest(told):
                last[told] = message
    return [(session_id, int(changes)) for session_id, changes in (told.decode().split() for told in last.values())]


def _rest(told: Connection) -> Generator[bytes]:
    """Yield the remaining reports of a killed process."""
    try:
        while True:
            yield told.recv_bytes()
    except EOFError:
        return


@pytest.mark.slow
@pytest.mark.parametrize("cycles", [15, pytest.param(60, marks=pytest.mark.variants)])
async def test_acknowledged_changes_survive_kill_9(cycles: int, path: Path) -> None:
    chance = random.Random(2)
    journal, broken_off = path.with_name("sessions.db-journal"), 0
    acknowledged: list[tuple[str, int]] = []
    for _ in range(cycles):
        acknowledged += _killed_at_work(path, chance)
        broken_off += journal.exists() and journal.stat().st_size > 0
    # If no change was ever interrupted, this proves nothing. (A write-ahead log is always left behind.)
    assert broken_off > 0 or path.with_name("sessions.db-wal").exists()
    async with opened(path) as store:
        for session_id, changes in acknowledged:
            await _assert_there(store, session_id, changes)
    assert_whole(path)


async def _assert_there(store: SessionBackend, session_id: str, changes: int) -> None:
    """Assert that all acknowledged changes are there, and the unfinished one entirely or not at all."""
    session = await store.get_session(session_id)
    assert _made(session) in (_steps(changes), _steps(changes + 1))
    appended, _, _ = _made(session)
    messages = (await store.get_session_history(session_id, HistoryQuery(roles=["assistant"]), limit=200)).messages
    assert len(messages) == min(appended * MESSAGES, 200)
    for step in range(1, appended + 1):
        hits = (await store.search_sessions(f"step{step} {session_id}")).hits
        assert [hit.message_id for hit in hits] == [f"m{(step - 1) * MESSAGES + 1}"]


def _steps(changes: int) -> tuple[int, int, int]:
    """Return how often a session with this many changes was appended to, counted and renamed."""
    return (changes + 2) // 3, (changes + 1) // 3, changes // 3


def _made(session: SessionDetail) -> tuple[int, int, int]:
    appended, rest = divmod(session.message_count or 0, MESSAGES)
    assert rest == 0
    assert len(session.state) == 1 + session.state["step"]
    return appended, session.state["step"], int(session.name.removeprefix("step "))
