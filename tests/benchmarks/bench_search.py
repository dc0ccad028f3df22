"""How fast `search_sessions` searches Claude Code's files by its index, beside other ways to search the same files.

python -m tests.benchmarks.bench_search [--megabytes 100] [--corpus FOLDER [--cold]]

The other ways: the same call without an index; a query of a table of SQLite's FTS5 with the texts of all messages,
which nothing keeps up to date; and ripgrep if it is installed, which only finds the files with a word.

With `--corpus`, only our side is measured, over the sessions in FOLDER: `mcp-sessions index --rebuild`, and calls by
the new index. If there are none, they are written first: 2,000 MB are 3,800 sessions, and 5,300 MB have 10⁶ messages.
Writing takes half a minute for a GB, and so does indexing. With `--cold`, the first search of each process finds
nothing in the caches of the system, which only root can empty.
"""

import argparse
import json
import os
import shutil
import sqlite3
import subprocess
import time
from collections.abc import Sequence
from contextlib import ExitStack, closing
from itertools import count, cycle, pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any

from tests.benchmarks.bench_alternatives import Ask, seconds_of
from tests.benchmarks.bench_index import MEGABYTES, Corpus, rebuild_index
from tests.benchmarks.clients import OURS, StdioServer, line
from tests.benchmarks.measuring import Figure, in_turns, print_table, processor_seconds, ratios
from tests.support.stdio_client import call

ROUNDS = 9
CALLS = 8
LIMIT = 10
FIRST_SEARCHES, SEARCHES, APPENDS = 9, 1_000, 100


def measure(root: Path, megabytes: float = MEGABYTES, rounds: int = ROUNDS) -> list[Figure]:
    """Compare whole calls of the tool over stdio with other ways to search the same files, by elapsed time."""
    corpus = Corpus()
    _, newest = corpus.write_sessions(root, megabytes)
    words = corpus.vocabulary[20:28]
    ours = [*OURS, "--backend", f"claude-code://{root}", "--index"]
    with ExitStack() as stack:
        indexed = stack.enter_context(StdioServer(root, [*ours, str(root / "index.db")]))
        scanning = stack.enter_context(StdioServer(root, [*ours, "off"]))
        by_hand = stack.enter_context(closing(index_by_hand(root)))
        peers: dict[str, Ask] = {
            "the same call with --index off": search_by(scanning, words),
            "a query of SQLite's FTS5 with texts, by hand": query_by_hand(by_hand, words),
        }
        if program := shutil.which("rg"):
            peers["ripgrep, only the names of files"] = run_ripgrep(program, root, words)
        while not _page(indexed, words[0])["complete"]:
            pass
        ours_after = append_and_search(indexed, newest)
        asked = {"ours": search_by(indexed, words), "after an append": ours_after, **peers}
        taken = in_turns({name: seconds_of(ask) for name, ask in asked.items()}, rounds=rounds, calls=CALLS)
    return [
        Figure("search_sessions over stdio, ms", [value * 1000 for value in taken["ours"]], 20),
        Figure("appending a message and finding it, ms", [value * 1000 for value in taken["after an append"]], 20),
        *(Figure(f"search_sessions ÷ {name}", ratios(taken, "ours", name)) for name in peers),
    ]


def measure_corpus(root: Path, megabytes: float, *, is_cold: bool) -> list[Figure]:
    """Measure first, later and all following searches of many sessions, and those for messages that were appended."""
    corpus = Corpus()
    command = ["--backend", f"claude-code://{root}", "--index", str(root / "index.db")]
    if not (root / "projects").is_dir():
        corpus.write_sessions(root, megabytes)
    indexing = rebuild_index(root, command)
    words = corpus.vocabulary[20:60]
    queries = [
        *words,
        *map(" ".join, pairwise(words)),
        *(f"{word[:4]}*" for word in words if len(word) > 4),
        *corpus.vocabulary[-40:],
    ]
    newest = max((root / "projects").rglob("*.jsonl"), key=lambda path: path.stat().st_mtime_ns)
    taken: dict[str, list[tuple[float, float]]] = {}
    for _ in range(FIRST_SEARCHES):
        with StdioServer(root, [*OURS, *command]) as server:
            server.ask(line(call(1, "get_session", session_id="unknown")))  # answered when all modules are loaded
            if is_cold:
                os.sync()
                Path("/proc/sys/vm/drop_caches").write_text("3")
            taken.setdefault("first search of a process", []).append(_times(server, search_by(server, words)))
    with StdioServer(root, [*OURS, *command]) as server:
        search = search_by(server, queries, finds_all=False)
        for _ in queries:
            search()
        taken["search"] = [_times(server, search) for _ in range(SEARCHES)]
        append = append_and_search(server, newest)
        taken["appending a message and finding it"] = [_times(server, append) for _ in range(APPENDS)]
    limits = {"first search of a process": 50}
    return [
        Figure("mcp-sessions index, s", [indexing.seconds]),
        Figure("mcp-sessions index, peak memory, MB", [indexing.peak_memory], 80),
        *(
            Figure(f"{name}, {percent} of 100 at most ms{kind}", [values[len(values) * percent // 100]], limit)
            for name, times in taken.items()
            for kind, values in (("", sorted(t[0] for t in times)), (" of the processor", sorted(t[1] for t in times)))
            for percent, limit in ((50, None), (99, limits.get(name, 20)))
        ),
    ]


def _times(server: StdioServer, ask: Ask) -> tuple[float, float]:
    """Return how many milliseconds a call took, and how many of these the server's processor."""
    used, begin = processor_seconds(server.process.pid), perf_counter()
    ask()
    elapsed = perf_counter() - begin
    return elapsed * 1000, (processor_seconds(server.process.pid) - used) * 1000


def search_by(server: StdioServer, words: Sequence[str], *, finds_all: bool = True) -> Ask:
    queries = cycle(words)

    def ask() -> None:
        page = _page(server, next(queries))
        assert page["complete"]
        assert page["hits"] or not finds_all

    return ask


def _page(server: StdioServer, query: str) -> dict[str, Any]:
    answer = server.ask(line(call(1, "search_sessions", query=query, limit=LIMIT)))
    return json.loads(answer)["result"]["structuredContent"]


def append_and_search(server: StdioServer, path: Path) -> Ask:
    """Return a function that appends a message with a new word to a session, and searches for it."""
    last = next(fields for text in reversed(path.read_text().splitlines()) if "uuid" in (fields := json.loads(text)))
    numbers = count(time.time_ns() // 1_000_000 % 10**12)  # words that no earlier run has appended

    def ask() -> None:
        word = f"appended{next(numbers)}"
        message = {"id": word, "role": "assistant", "content": [{"type": "text", "text": word}]}
        last.update(parentUuid=last["uuid"], uuid=f"00000000-0000-4000-8000-{word[8:]:>012}", message=message)
        with path.open("a") as file:
            file.write(json.dumps(last) + "\n")
        assert len(_page(server, word)["hits"]) == 1

    return ask


def index_by_hand(root: Path) -> sqlite3.Connection:
    """Index the texts of all messages with their sessions, and nothing else: no redaction, no forks, no changes."""
    connection = sqlite3.connect(root / "by_hand.db")
    connection.execute("CREATE VIRTUAL TABLE texts USING fts5 (session UNINDEXED, message UNINDEXED, text)")
    for path in sorted((root / "projects").rglob("*.jsonl"), key=lambda path: path.stat().st_mtime):
        lines = [json.loads(text) for text in path.read_text().splitlines()]
        for fields in (fields for fields in lines if fields["type"] in ("user", "assistant")):
            content = fields["message"]["content"]
            blocks = [{"text": content}] if isinstance(content, str) else content
            text = "\n".join(block["text"] for block in blocks if "text" in block)
            row = (fields["sessionId"], fields["uuid"], text)
            connection.execute("INSERT INTO texts (session, message, text) VALUES (?, ?, ?)", row)
    connection.commit()
    return connection


def query_by_hand(connection: sqlite3.Connection, words: Sequence[str]) -> Ask:
    queries = cycle(words)
    statement = (
        "SELECT session, message, snippet(texts, 2, '', '', '…', 24) FROM texts"
        f" WHERE texts MATCH ? ORDER BY rowid DESC LIMIT {LIMIT}"
    )

    def ask() -> None:
        assert connection.execute(statement, [next(queries)]).fetchall()

    return ask


def run_ripgrep(program: str, root: Path, words: Sequence[str]) -> Ask:
    queries = cycle(words)

    def ask() -> None:
        command = [program, "--ignore-case", "--word-regexp", "--files-with-matches", next(queries), root / "projects"]
        assert subprocess.run(command, capture_output=True, check=True).stdout

    return ask


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--megabytes", type=float, default=MEGABYTES)
    parser.add_argument("--corpus", type=Path)
    parser.add_argument("--cold", action="store_true")
    given = parser.parse_args()
    if given.corpus:
        figures = measure_corpus(given.corpus.absolute(), given.megabytes, is_cold=given.cold)
        print_table(f"Searches of {given.corpus.name}{', cold' * given.cold}", figures)
        return
    with TemporaryDirectory() as folder:
        print_table("A search beside others", measure(Path(folder), given.megabytes))


if __name__ == "__main__":
    main()
