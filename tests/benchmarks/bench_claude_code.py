"""How long lists and histories of Claude Code's sessions take, compared with looking at the files only.

python -m tests.benchmarks.bench_claude_code [--sessions 2000]
"""

import argparse
import os
import time
import tracemalloc
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import SessionFilter
from tests.benchmarks.measuring import Figure, in_turns, print_table, ratios
from tests.support.claude_transcripts import Transcript

PAGE = 20
SESSIONS = 2_000
KILOBYTES = 100
LONG_MEGABYTES = 100
ROUNDS = 15
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def write_sessions(root: Path, count: int, kilobytes: int = KILOBYTES) -> None:
    """Write `count` sessions in 20 projects. Each was updated a minute after the one before."""
    for number in range(count):
        moment = _BEGIN + timedelta(minutes=number)
        transcript = Transcript(cwd=f"/home/user/project-{number % 20}")
        transcript.prompt(f"question {number}", moment)
        transcript.attach(moment)
        transcript.add("api-request-blob", hash="0" * 64, value={"content": "x" * (kilobytes * 1000 - 4000)})
        transcript.answer([{"type": "text", "text": f"answer {number}"}], moment)
        transcript.add("last-prompt", lastPrompt=f"question {number}", leafUuid=transcript.last)
        transcript.title(f"session {number}")
        transcript.write(root, moment, key=f"-home-user-project-{number % 20}")


def write_long_session(root: Path, megabytes: float) -> str:
    """Write a session of so many megabytes, and return its id."""
    transcript = Transcript()
    exchanges = Transcript(transcript.id)
    size, number, last = 0, 0, ""
    path = transcript.write(root, _BEGIN)
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            exchanges.lines, exchanges.last = [], last
            moment = _BEGIN + timedelta(seconds=number)
            exchanges.prompt(f"question {number}", moment)
            for step in range(5):
                call = {"type": "tool_use", "id": f"t{number}-{step}", "name": "Bash", "input": {"command": "ls"}}
                exchanges.answer([{"type": "text", "text": "I look."}, call], moment)
                exchanges.result(f"t{number}-{step}", "output " * 100, moment)
            exchanges.answer([{"type": "text", "text": f"answer {number} " * 20}], moment)
            size += file.write(exchanges.data)
            last, number = exchanges.last, number + 1
    return transcript.id


def walk(root: Path) -> int:
    """Look at all files of all projects, which is the least that a list has to do."""
    newest = 0
    with os.scandir(root / "projects") as projects:
        for project in projects:
            with os.scandir(project) as entries:
                for entry in entries:
                    newest = max(newest, entry.stat().st_mtime_ns)
    return newest


def seconds_of(call: Callable[[], object]) -> Callable[[int], float]:
    def block(calls: int) -> float:
        begin = time.perf_counter()
        for _ in range(calls):
            call()
        return (time.perf_counter() - begin) / calls

    return block


async def list_figures(root: Path, *, rounds: int = ROUNDS) -> list[Figure]:
    """Compare the first list of a process, and later ones, with a walk through the same files."""
    async with open_backend(f"claude-code://{root}") as known:

        def first_list() -> object:
            return anyio.from_thread.run(list_once, open_backend(f"claude-code://{root}"))

        def later_list() -> object:
            return anyio.from_thread.run(list_once, known)

        variants = {"walk": seconds_of(lambda: walk(root)), "first": seconds_of(first_list)}
        variants["later"] = seconds_of(later_list)
        taken = await anyio.to_thread.run_sync(lambda: in_turns(variants, rounds=rounds, calls=3))
    return [
        Figure(f"first list of {PAGE} ÷ a walk through the files", ratios(taken, "first", "walk"), 8),
        Figure(f"later list of {PAGE} ÷ a walk through the files", ratios(taken, "later", "walk"), 2),
    ]


async def list_once(backend: SessionBackend) -> None:
    page = await backend.list_sessions(SessionFilter(), limit=PAGE)
    assert len(page.sessions) == PAGE


async def history_figures(root: Path, *, megabytes: float = LONG_MEGABYTES, rounds: int = ROUNDS) -> list[Figure]:
    """Compare the newest page of a long session with that of a short one, and the memory that reading them takes."""
    short, long = write_long_session(root, 0.2), write_long_session(root, megabytes)
    async with open_backend(f"claude-code://{root}") as backend:

        def page_of(session_id: str) -> Callable[[], object]:
            return lambda: anyio.from_thread.run(backend.get_session_history, session_id)

        variants: Mapping[str, Callable[[int], float]] = {
            "long": seconds_of(page_of(long)),
            "short": seconds_of(page_of(short)),
        }
        taken = await anyio.to_thread.run_sync(lambda: in_turns(variants, rounds=rounds, calls=3))
        memory = [await peak_of(backend, session_id) for session_id in (short, long)]
    return [
        Figure(f"newest page of {megabytes:g} MB ÷ of 0.2 MB", ratios(taken, "long", "short"), 1.5),
        Figure(f"newest page of {megabytes:g} MB, ms", [value * 1000 for value in taken["long"]], 20),
        Figure(f"peak memory to count {megabytes:g} MB ÷ 0.2 MB", [memory[1] / memory[0]], 2),
    ]


async def peak_of(backend: SessionBackend, session_id: str) -> int:
    """Return the most bytes that were in use at once while the whole transcript was read."""
    tracemalloc.start()
    try:
        await backend.get_session(session_id)
        return tracemalloc.get_traced_memory()[1]
    finally:
        tracemalloc.stop()


def measure(sessions: int) -> list[Figure]:
    with TemporaryDirectory() as lists, TemporaryDirectory() as histories:
        write_sessions(Path(lists), sessions)
        return [*anyio.run(list_figures, Path(lists)), *anyio.run(history_figures, Path(histories))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    asked = parser.parse_args()
    print_table(f"Claude Code, {asked.sessions:,} sessions of {KILOBYTES} KB", measure(asked.sessions))


if __name__ == "__main__":
    main()
