"""How fast the search index is made from Claude Code's files and searched, beside reading the files for each search.

python -m tests.benchmarks.bench_index [--megabytes 100]
"""

import argparse
import random
import resource
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import JsonObject
from tests.benchmarks.measuring import Figure, print_table
from tests.support.claude_transcripts import Transcript

MEGABYTES = 100
WORDS = 60_000
SEARCHES = 200
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


def write_corpus(root: Path, megabytes: float) -> tuple[int, Path, list[str]]:
    """Write sessions. Return the number of their bytes, the newest file, and frequent words."""
    chance = random.Random(1)
    vocabulary = ["".join(chance.choices("etaoinshrdlucmfwypvbgkqjxz", k=chance.randint(2, 10))) for _ in range(WORDS)]
    weights = list(accumulate(1 / (rank + 10) for rank in range(WORDS)))

    def text(count: int) -> str:
        return " ".join(chance.choices(vocabulary, cum_weights=weights, k=count))

    outputs = [text(4_000) for _ in range(20)]
    size, number, path = 0, 0, root
    while size < megabytes * 1_000_000:
        transcript, moment = Transcript(), _BEGIN + timedelta(minutes=20 * number)
        for turn in range(chance.randint(3, 40)):
            moment += timedelta(seconds=7)
            transcript.prompt(text(chance.randint(5, 80)), moment)
            for step in range(chance.randint(1, 5)):
                call: JsonObject = {"type": "tool_use", "id": f"{turn}-{step}", "name": "Bash", "input": {"c": text(8)}}
                transcript.answer([{"type": "text", "text": text(20)}, call], moment)
                transcript.result(
                    f"{turn}-{step}", chance.choice(outputs)[: chance.choice((200, 1_500, 4_000))], moment
                )
            transcript.answer([{"type": "text", "text": text(chance.randint(50, 250))}], moment)
        transcript.title(f"session {number}")
        path = transcript.write(root, moment, key=f"-home-user-project-{number % 20}")
        size, number = size + path.stat().st_size, number + 1
    return size, path, vocabulary[20:28]


def _indexed(root: Path) -> Indexed:
    inner = open_backend(f"claude-code://{root}", data_folder=str(root / "data"))
    return Indexed(inner, IndexStore(root / "cache" / "index.db"), source="benchmark")


async def _ignore(done: int, total: int) -> None: ...


async def _seconds(backend: SessionBackend, query: str, clock: Callable[[], float]) -> float:
    begin = clock()
    await backend.search_sessions(query)
    return clock() - begin


async def figures(root: Path, megabytes: float) -> list[Figure]:
    """Times are of the processor, so that a busy machine changes them little, except where it says otherwise."""
    size, newest, words = write_corpus(root, megabytes)
    queries = [" ".join(pair) for pair in pairwise(words)]
    async with _indexed(root) as backend:
        begin = time.process_time()
        assert not await backend.update_index(_ignore)
        built = time.process_time() - begin
    async with _indexed(root) as backend, open_backend(f"claude-code://{root}") as plain:
        first = await _seconds(backend, queries[0], time.process_time)
        warm = sorted([await _seconds(backend, queries[n % len(queries)], time.process_time) for n in range(SEARCHES)])
        scan = [await _seconds(plain, query, time.process_time) for query in queries]
        with newest.open("a") as file:
            line = newest.read_text().splitlines()[-3]
            file.write(line.replace('"uuid":"', '"uuid":"f') + "\n")
        appended = await _seconds(backend, queries[0], time.process_time)
    stored = sum(path.stat().st_size for path in (root / "cache").glob("index.db*"))
    memory = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    return [
        Figure("MB of files indexed in a second", [size / 1e6 / built], 60, at_least=True),
        Figure("index ÷ files", [stored / size], 1 / 3),
        Figure("first search of a process, ms", [first * 1000], 50),
        Figure("99 of 100 searches, at most ms", [warm[len(warm) * 99 // 100] * 1000], 20),
        Figure("search after a message was appended, ms", [appended * 1000], 20),
        Figure("search ÷ search without an index", [sum(warm) / len(warm) / (sum(scan) / len(scan))], 0.1),
        Figure("peak memory of the process, MB", [memory]),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        print_table("The search index", anyio.run(figures, Path(folder), given.megabytes))


if __name__ == "__main__":
    main()
