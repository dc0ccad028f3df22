"""How fast the search index is made and searched, beside doing the same by hand and reading the files for each search.

By hand: each line is parsed with `json`, and the texts of messages are inserted into a table of SQLite's FTS5, with
nothing else that an index needs: no redaction, no places of the texts, and no search for the newest branch.

python -m tests.benchmarks.bench_index [--megabytes 100]
"""

import argparse
import json
import random
import resource
import sqlite3
import subprocess
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import accumulate, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import NamedTuple

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.json_documents import Json, JsonObject
from tests.benchmarks.clients import OURS, environment
from tests.benchmarks.measuring import Figure, print_table
from tests.support.claude_transcripts import Transcript
from tests.support.codex_rollouts import Rollout
from tests.support.memory import peak_kilobytes

MEGABYTES = 100
WORDS = 60_000
SEARCHES = 200
_INDEXED, _PARSED = 60, 467
"""How many MB are to be indexed in a second on a machine where `json` parses how many MB of Claude Code's files."""
_BEGIN = datetime(2026, 1, 1, tzinfo=UTC)


class Turn(NamedTuple):
    """A prompt, the steps to its answer, and the answer. A step is a text of the model and the result of a tool."""

    prompt: str
    steps: Sequence[tuple[str, str]]
    answer: str


class Corpus:
    """Conversations of random words, some more frequent than others, with long results of tools."""

    def __init__(self) -> None:
        self._chance = random.Random(1)
        letters = "etaoinshrdlucmfwypvbgkqjxz"
        self.vocabulary = ["".join(self._chance.choices(letters, k=self._chance.randint(2, 10))) for _ in range(WORDS)]
        self._weights = list(accumulate(1 / (rank + 10) for rank in range(WORDS)))
        self._outputs = [self._text(4_000) for _ in range(20)]

    def write_sessions(self, root: Path, megabytes: float) -> tuple[int, Path]:
        """Write sessions of Claude Code. Return the number of their bytes, and the newest file."""
        size, number, path = 0, 0, root
        while size < megabytes * 1_000_000:
            transcript, moment = Transcript(), _BEGIN + timedelta(minutes=20 * number)
            for turn in self._turns():
                moment += timedelta(seconds=7)
                transcript.prompt(turn.prompt, moment)
                for place, (text, result) in enumerate(turn.steps):
                    call: JsonObject = {"type": "tool_use", "id": f"{place}", "name": "Bash", "input": {"c": "ls -l"}}
                    transcript.answer([{"type": "text", "text": text}, call], moment)
                    transcript.result(f"{place}", result, moment)
                transcript.answer([{"type": "text", "text": turn.answer}], moment)
            transcript.title(f"session {number}")
            path = transcript.write(root, moment, key=f"-home-user-project-{number % 20}")
            size, number = size + path.stat().st_size, number + 1
        return size, path

    def write_threads(self, home: Path, megabytes: float, *, legacy: bool) -> int:
        """Write threads of Codex. Return the number of their bytes."""
        size, number = 0, 0
        while size < megabytes * 1_000_000:
            moment = _BEGIN + timedelta(minutes=20 * number)
            rollout = Rollout(legacy=legacy, moment=moment)
            for turn in self._turns():
                moment += timedelta(seconds=7)
                rollout.start(moment)
                rollout.prompt(turn.prompt, moment)
                for text, result in turn.steps:
                    rollout.answer(text, moment)
                    rollout.tool("shell", '{"command":"ls -l"}', result, moment)
                rollout.answer(turn.answer, moment)
                rollout.end(moment)
            size, number = size + rollout.write(home).stat().st_size, number + 1
        return size

    def _turns(self) -> Iterator[Turn]:
        """Yield the turns of a conversation."""
        chance = self._chance
        for _ in range(chance.randint(3, 40)):
            results = [chance.choice(self._outputs)[: chance.choice((200, 1_500, 4_000))]] * chance.randint(1, 5)
            steps = [(self._text(20), result) for result in results]
            yield Turn(self._text(chance.randint(5, 80)), steps, self._text(chance.randint(50, 250)))

    def _text(self, count: int) -> str:
        return " ".join(self._chance.choices(self.vocabulary, cum_weights=self._weights, k=count))


def _indexed(url: str, root: Path) -> Indexed:
    inner = open_backend(f"{url}://{root}", data_folder=str(root / "data"))
    return Indexed(inner, IndexStore(root / "cache" / "index.db"), source="benchmark")


class IndexRun(NamedTuple):
    """How long a run of `mcp-sessions index` took, and its peak memory in MB."""

    seconds: float
    peak_memory: float


def rebuild_index(root: Path, options: Sequence[str]) -> IndexRun:
    """Build an index anew by `mcp-sessions index --rebuild`."""
    begin = time.perf_counter()
    command = [*OURS[:-1], "index", "--rebuild", *options]
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, env=environment(root)) as process:
        memory = peak_kilobytes(process) / 1024
    assert process.returncode == 0
    return IndexRun(time.perf_counter() - begin, memory)


def index_by_hand(root: Path) -> None:
    """Index the texts of all messages in the files of a folder, which is the least that an index costs."""
    with closing(sqlite3.connect(root / "by_hand.db")) as connection, connection:
        connection.execute("CREATE VIRTUAL TABLE words USING fts5 (text, content = '')")
        for path in root.rglob("*.jsonl"):
            with path.open("rb") as file:
                texts = [(text,) for line in file if (text := "\n".join(_texts_in(json.loads(line))))]
            connection.executemany("INSERT INTO words (text) VALUES (?)", texts)


def _seconds_to_parse(root: Path) -> float:
    """Return how long `json` takes to parse the lines of all files, without reading them."""
    seconds = 0.0
    for path in root.rglob("*.jsonl"):
        lines = path.read_bytes().splitlines()
        begin = time.perf_counter()
        for line in lines:
            json.loads(line)
        seconds += time.perf_counter() - begin
    return seconds


def _texts_in(record: JsonObject) -> list[str]:
    """Return the texts of a message of Claude Code, or of an event or item of Codex."""
    message: JsonObject = record.get("payload") or record.get("message") or {}
    content: Json = message.get("message") or (message.get("item") or message).get("content")
    if record["type"] not in ("user", "assistant", "event_msg") or not content:
        return []
    return [content] if isinstance(content, str) else [block["text"] for block in content if "text" in block]


async def _build(url: str, root: Path, size: int) -> list[Figure]:
    """Index a folder, and compare that with an index by hand."""
    begin = time.process_time()
    index_by_hand(root)
    by_hand = time.process_time() - begin
    parsing = _seconds_to_parse(root)
    async with _indexed(url, root) as backend:
        begin, started_at = time.process_time(), time.perf_counter()
        assert not await backend.update_index(_ignore)
        built, elapsed = time.process_time() - begin, time.perf_counter() - started_at
    return [
        Figure("MB of files indexed in a second", [size / 1e6 / elapsed], _INDEXED, at_least=True),
        Figure(
            "seconds to parse the files with json ÷ to index them",
            [parsing / elapsed],
            _INDEXED / _PARSED,
            at_least=True,
        ),
        Figure("MB of files indexed in a second of the processor", [size / 1e6 / built]),
        Figure("index ÷ an index by hand", [built / by_hand], 2),
    ]


async def _ignore(done: int, total: int) -> None: ...


async def _seconds(backend: SessionBackend, query: str, clock: Callable[[], float]) -> float:
    begin = clock()
    await backend.search_sessions(query)
    return clock() - begin


async def figures(root: Path, megabytes: float) -> list[Figure]:
    """Return the figures. Most times are processor times, since a busy machine changes these little."""
    corpus = Corpus()
    size, newest = corpus.write_sessions(root, megabytes)
    queries = [" ".join(pair) for pair in pairwise(corpus.vocabulary[20:28])]
    build = await _build("claude-code", root, size)
    async with _indexed("claude-code", root) as backend, open_backend(f"claude-code://{root}") as plain:
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
        *build,
        Figure("index ÷ files", [stored / size], 1 / 3),
        Figure("first search of a process, ms", [first * 1000], 50),
        Figure("99 of 100 searches, at most ms", [warm[len(warm) * 99 // 100] * 1000], 20),
        Figure("search after a message was appended, ms", [appended * 1000], 20),
        Figure("search ÷ search without an index", [sum(warm) / len(warm) / (sum(scan) / len(scan))], 0.1),
        Figure("peak memory of the process, MB", [memory]),
    ]


async def codex_figures(root: Path, megabytes: float) -> list[Figure]:
    """Compare the index of each kind of Codex's threads with one by hand."""
    found: list[Figure] = []
    for legacy in (False, True):
        home = root / ("legacy" if legacy else "paginated")
        size = Corpus().write_threads(home, megabytes, legacy=legacy)
        found += [replace(figure, name=f"{figure.name}, {home.name}") for figure in await _build("codex", home, size)]
    return found


def measure(folder: Path, megabytes: float = MEGABYTES) -> list[Figure]:
    claude_code = anyio.run(figures, folder / "claude-code", megabytes)
    return [*claude_code, *anyio.run(codex_figures, folder / "codex", megabytes)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    given = parser.parse_args()
    with TemporaryDirectory() as folder:
        print_table("The search index", measure(Path(folder), given.megabytes))


if __name__ == "__main__":
    main()
