"""The search index over files: it finds what a search without it finds, and has no credential."""

import os
import re
import sqlite3
from collections.abc import Iterable
from contextlib import closing
from datetime import timedelta
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend

from ..text.test_sanitize import CREDENTIALS, LABELLED
from .transcript_indexes import NOW, open_index, transcript_of

EXAMPLES = int(os.environ.get("EXAMPLES", "8"))
QUERIES = ("apple", "ap*", '"red apple"', "C++", "a.b()", "apple C++", "苹", "\U0001f680")
TEXTS = st.lists(
    st.sampled_from(
        ("apple", "red apple", "Äpple", "apples", "C++", "C", "a.b()", "a b", "红苹果", "\U0001f680", "pear")
    ),
    min_size=1,
    max_size=4,
).map(" ".join)
STEPS = st.lists(st.tuples(st.integers(0, 2), st.integers(0, 9), TEXTS), min_size=1, max_size=6)


@settings(max_examples=EXAMPLES, deadline=None)
@given(st.lists(STEPS, min_size=1, max_size=3))
def test_the_index_finds_what_a_search_without_one_finds(rounds: list[list[tuple[int, int, str]]]) -> None:
    """Each step adds a message to one of three sessions, after its last message or after an earlier one."""

    async def places(backend: SessionBackend, query: str) -> list[tuple[str, str, str]]:
        page = await backend.search_sessions(query, limit=100)
        assert (page.complete, page.next_cursor) == (True, "")
        return sorted((hit.session_id, hit.message_id, hit.snippet) for hit in page.hits)

    async def main(folder: Path) -> None:
        transcripts = [transcript_of(id=f"00000000-0000-4000-8000-00000000000{number}") for number in range(3)]
        uuids: list[list[str]] = [[], [], []]
        count = 0
        async with (
            open_index(folder) as indexed,
            open_backend(f"claude-code://{folder}", data_folder=str(folder / "data")) as plain,
        ):
            for steps in rounds:
                for number, back, text in steps:
                    count += 1
                    known = uuids[number]
                    parent = known[-1 - back] if back < len(known) and back < 3 else (known[-1] if known else None)
                    message = {"role": "user", "content": text}
                    moment = NOW + timedelta(seconds=count)
                    known.append(transcripts[number].link("user", moment, parent=parent, message=message))
                    transcripts[number].write(folder)
                for query in QUERIES:
                    assert await places(indexed, query) == await places(plain, query)

    with TemporaryDirectory() as folder:
        anyio.run(main, Path(folder))


def _words(texts: Iterable[str]) -> set[str]:
    return {word.lower() for text in texts for word in re.findall("[A-Za-z0-9]+", text)}


async def test_no_credential_of_a_transcript_is_in_the_file_of_the_index(tmp_path: Path) -> None:
    shapes = [("", secret, "", kind) for kind, secret in CREDENTIALS] + LABELLED
    transcript = transcript_of(*(f"apple {before}{secret}{end} pear" for before, secret, end, _ in shapes))
    transcript.write(tmp_path)
    async with open_index(tmp_path) as backend:
        page = await backend.search_sessions("apple pear", limit=100)
        assert (len(page.hits), page.complete) == (len(shapes), True)
    cache = tmp_path / "cache"
    data = b"".join(path.read_bytes() for path in cache.glob("index.db*") if path.is_file()).lower()
    with closing(sqlite3.connect(cache / "index.db")) as connection:  # in the file, words have no common beginnings
        connection.execute("CREATE VIRTUAL TABLE temp.words USING fts5vocab (main, text_index, row)")
        words = {word for (word,) in connection.execute("SELECT term FROM words")}
    assert words >= {"apple", "pear", "redacted", "authorization", "bearer"}
    around = _words(f"{before} {end} {kind}" for before, _, end, kind in shapes) | {
        "end",
        "rsa",
    }  # of a key's last line
    parts = _words(secret for _, secret, _, _ in shapes) - around
    assert parts & words == set()
    assert [part for part in parts if len(part) > 8 and part[4:].encode() in data] == []
