"""How long lists and histories of Codex's threads take, compared with looking at the files only.

python -m tests.benchmarks.bench_codex [--sessions 2000]
"""

import argparse
import os
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from mcp_sessions.backends.registry import open_backend
from tests.benchmarks.bench_claude_code import list_once, peak_of, seconds_of
from tests.benchmarks.measuring import Figure, in_turns, print_table, ratios
from tests.support.codex_rollouts import Rollout, record_all

PAGE = 20
SESSIONS = 2_000
KILOBYTES = 90
LONG_MEGABYTES = 100
ROUNDS = 15
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def write_threads(home: Path, count: int, kilobytes: int = KILOBYTES, *, for_codex: bool = False) -> None:
    """Write `count` threads over a quarter of a year, and the database with them.

    `for_codex`: without the database, which Codex makes itself, and of the legacy kind, since Codex takes the first
    prompt of others from its database only, and lists no thread without one.
    """
    rows: list[tuple[Rollout, Path, dict[str, object]]] = []
    for number in range(count):
        moment = _BEGIN + timedelta(hours=number)
        rollout = Rollout(legacy=for_codex, moment=moment)
        rollout.turn(f"question {number}", f"answer {number}", moment)
        rollout.add("compacted", {"message": "x" * (kilobytes * 1000 - 4000), "replacement_history": []}, moment)
        rollout.turn(f"second question {number}", f"second answer {number}", moment)
        rows.append((rollout, rollout.write(home), {"name": f"thread {number}"}))
    if not for_codex:
        record_all(home, rows)


def write_long_thread(home: Path, megabytes: float, *, legacy: bool = False) -> str:
    """Write a thread of so many megabytes, and return its id."""
    rollout = Rollout(legacy=legacy, moment=_BEGIN)
    path = rollout.write(home)
    size, number = 0, 0
    with path.open("wb") as file:
        while size < megabytes * 1_000_000:
            moment = _BEGIN + timedelta(seconds=number)
            rollout.start(moment)
            rollout.prompt(f"question {number}", moment)
            for _ in range(5):
                rollout.tool("shell", '{"command":"ls"}', "output " * 100, moment)
            rollout.answer(f"answer {number} " * 20, moment)
            rollout.end(moment)
            size += file.write(rollout.data)
            rollout.lines.clear()
            number += 1
    return rollout.id


def walk(home: Path) -> float:
    """Look at all files of all threads."""
    newest = 0.0
    for folder, _, names in os.walk(home / "sessions"):
        for name in names:
            newest = max(newest, os.stat(f"{folder}/{name}").st_mtime)  # noqa: PTH116 - as fast as it can be
    return newest


async def list_figures(home: Path, *, rounds: int = ROUNDS) -> list[Figure]:
    """Compare the first list of a process, and later ones, with a walk through the same files."""
    async with open_backend(f"codex://{home}") as known:

        def first_list() -> object:
            return anyio.from_thread.run(list_once, open_backend(f"codex://{home}"))

        def later_list() -> object:
            return anyio.from_thread.run(list_once, known)

        variants = {"walk": seconds_of(lambda: walk(home)), "first": seconds_of(first_list)}
        variants["later"] = seconds_of(later_list)
        taken = await anyio.to_thread.run_sync(lambda: in_turns(variants, rounds=rounds, calls=3))
    return [
        Figure(f"first list of {PAGE} ÷ a walk through the files", ratios(taken, "first", "walk"), 6),
        Figure(f"later list of {PAGE} ÷ a walk through the files", ratios(taken, "later", "walk"), 0.7),
    ]


async def history_figures(home: Path, *, megabytes: float = LONG_MEGABYTES, rounds: int = ROUNDS) -> list[Figure]:
    """Compare the newest page of a long thread with that of a short one, and the memory that reading them takes."""
    figures: list[Figure] = []
    for legacy in (False, True):
        kind = "legacy" if legacy else "paginated"
        short, long = (write_long_thread(home, size, legacy=legacy) for size in (0.2, megabytes))
        async with open_backend(f"codex://{home}") as backend:

            def page_of(session_id: str) -> Callable[[], object]:
                return lambda: anyio.from_thread.run(backend.get_session_history, session_id)

            variants: Mapping[str, Callable[[int], float]] = {
                "long": seconds_of(page_of(long)),
                "short": seconds_of(page_of(short)),
            }
            taken = await anyio.to_thread.run_sync(lambda: in_turns(variants, rounds=rounds, calls=3))  # noqa: B023
            memory = [await peak_of(backend, session_id) for session_id in (short, long)]
        figures += [
            Figure(f"newest page of {megabytes:g} MB ÷ of 0.2 MB, {kind}", ratios(taken, "long", "short"), 1.5),
            Figure(f"newest page of {megabytes:g} MB, {kind}, ms", [value * 1000 for value in taken["long"]], 30),
            Figure(f"peak memory to count {megabytes:g} MB ÷ 0.2 MB, {kind}", [memory[1] / memory[0]], 2),
        ]
    return figures


def measure(sessions: int) -> list[Figure]:
    with TemporaryDirectory() as lists, TemporaryDirectory() as histories:
        write_threads(Path(lists), sessions)
        return [*anyio.run(list_figures, Path(lists)), *anyio.run(history_figures, Path(histories))]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    asked = parser.parse_args()
    print_table(f"Codex, {asked.sessions:,} threads of {KILOBYTES} KB", measure(asked.sessions))


if __name__ == "__main__":
    main()
