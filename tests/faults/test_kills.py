"""Servers and clients killed at every phase of a change: acknowledged changes are kept, and none is half done."""

import os
import random
import subprocess
import sys
from collections import Counter
from contextlib import suppress
from itertools import count
from multiprocessing.connection import Connection
from pathlib import Path
from signal import SIGKILL, SIGTERM, Signals
from time import perf_counter

import anyio
import pytest

from mcp_sessions.json_documents import JsonObject

from ..support.store_files import assert_whole
from ..support.store_processes import PATIENCE, context
from .forked_server import PipedServer, forked_server

KILLS = int(os.environ.get("KILLS", "50"))
MESSAGES = 12  # a change: enough that most of its time is inside a transaction
LIVES = 50  # of one session, whose state must stay small enough to be shown
pytestmark = pytest.mark.load


def send_change(server: PipedServer, session_id: str, number: int) -> None:
    """Send the next kind of change: append messages, count them in the state, or name the session."""
    step = number // 3 + 1
    match number % 3:
        case 0:
            texts = [{"role": "user", "text": f"step{step} " + "word " * 100} for _ in range(MESSAGES)]
            server.send("append_messages", session_id=session_id, messages=texts)
        case 1:
            changes = {"step": step, f"{step}": "x" * (step % 5 * 50)}
            server.send("update_session_state", session_id=session_id, changes=changes)
        case _:
            server.send("rename_session", session_id=session_id, name=f"step {step}")


def made(session: JsonObject) -> int:
    """Return how many changes a session has. Check that each was made completely."""
    appended, rest = divmod(session.get("message_count", 0), MESSAGES)
    state: JsonObject = session["state"]
    counted: int = state["step"]
    named = int(session["name"].removeprefix("step "))
    assert rest == 0
    assert len(state) == 1 + counted
    assert appended >= counted >= named >= appended - 1
    return appended + counted + named


def ended_at_work(
    path: Path, session_id: str, known: int, chance: random.Random, how: Signals = SIGKILL
) -> tuple[int, int, bool]:
    """Return how many changes were found, how many are acknowledged now, and whether the last one sent is among them.

    `known`: the number of changes that were acknowledged before.
    """
    with forked_server(path) as server:
        found = made(server.call("get_session", session_id=session_id))
        assert found in (known, known + 1)
        number, seconds = found, 0.0
        for _ in range(chance.randrange(1, 3)):
            began = perf_counter()
            send_change(server, session_id, number)
            assert server.receive() is not None
            number, seconds = number + 1, perf_counter() - began
        send_change(server, session_id, number)
        server.end_after(chance.uniform(0, 1.2 * seconds), how)
        is_answered = server.receive() is not None
        assert server.process.exitcode == (-SIGKILL if how == SIGKILL else 0)
    return found, number + is_answered, is_answered


def created(path: Path) -> str:
    with forked_server(path) as server:
        return server.call("create_session", name="step 0", state={"step": 0})["id"]


def test_acknowledged_changes_survive_a_kill_at_every_phase(tmp_path: Path) -> None:
    chance, path = random.Random(3), tmp_path / "sessions.db"
    phases: Counter[str] = Counter()
    session_id, known, was_answered = "", 0, True
    for number in range(KILLS):
        if number % LIVES == 0:
            session_id, known, was_answered = created(path), 0, True
        found, known_now, is_answered = ended_at_work(path, session_id, known, chance)
        assert not was_answered or found == known
        phases["answered" if was_answered else "made" if found > known else "not made"] += 1
        known, was_answered = known_now, is_answered
    assert_whole(path)
    print(phases)
    # Were it always killed at the same phase, this would prove little.
    assert phases.keys() == {"answered", "made", "not made"}


def test_a_server_that_is_stopped_makes_exactly_the_changes_it_acknowledges(tmp_path: Path) -> None:
    chance, path = random.Random(6), tmp_path / "sessions.db"
    session_id, known = created(path), 0
    for _ in range(KILLS // 4):
        found, told, _ = ended_at_work(path, session_id, known, chance, SIGTERM)
        assert found == known
        known = told


def test_messages_appended_one_by_one_can_be_found_incomplete(tmp_path: Path) -> None:
    """Show that the other test would notice incomplete changes."""
    path, message = tmp_path / "sessions.db", {"role": "user", "text": "step1"}
    session_id = created(path)
    with forked_server(path) as server:
        for _ in range(MESSAGES):
            server.send("append_messages", session_id=session_id, messages=[message])
        assert server.receive() is not None
        server.end_after(0)
    with forked_server(path) as server, pytest.raises(AssertionError):
        made(server.call("get_session", session_id=session_id))


def change_without_end(path: Path, telling: Connection) -> None:
    """Run a client in a process of its own: start a server, and report its process id and each acknowledged change."""
    pipe = subprocess.PIPE
    command = (sys.executable, "-m", "mcp_sessions", "serve", "--backend", f"sqlite:///{path}", "--toolsets", "all")
    process = subprocess.Popen(command, stdin=pipe, stdout=pipe)
    assert process.stdin is not None
    assert process.stdout is not None
    server = PipedServer(process.stdin.fileno(), process.stdout)
    session_id: str = server.call("create_session", name="step 0", state={"step": 0})["id"]
    telling.send((process.pid, session_id))
    for number in count():
        send_change(server, session_id, number)
        assert server.receive() is not None
        telling.send(number + 1)


def is_running(pid: int) -> bool:
    """Return whether a process runs. A zombie, whose exit status nobody has read yet, does not."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False


@pytest.mark.parametrize("changes", [1, 5, 9])
async def test_a_server_whose_client_was_killed_ends_and_keeps_acknowledged_changes(
    changes: int, tmp_path: Path
) -> None:
    path = tmp_path / "sessions.db"
    told, telling = context().Pipe(duplex=False)
    client = context().Process(target=change_without_end, args=(path, telling))
    client.start()
    telling.close()
    with told:
        pid, session_id = told.recv()
        last: int = 0
        while last < changes:
            last = told.recv()
        client.kill()
        with suppress(EOFError):
            while True:
                last = told.recv()
    with anyio.fail_after(PATIENCE):
        while is_running(pid):  # noqa: ASYNC110 - a process that is not ours
            await anyio.sleep(0.02)
    with forked_server(path) as server:
        assert made(server.call("get_session", session_id=session_id)) in (last, last + 1)
    assert_whole(path)
