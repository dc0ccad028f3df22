"""What a search finds in forks that refer to another file, also after that file's thread has changed."""

from collections.abc import AsyncGenerator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.backends.transcripts.lines import TranscriptFile

from ...support.codex_rollouts import Rollout
from .homes import NOW, after, thread

SEGMENT = "01a22000-c6df-7461-a923-a3ed361d88a0"
LATER_SEGMENT = "01a22000-c6df-7461-a923-a3ed361d88a1"
Found = Mapping[str, str]
"""The turns that are found in each session, by the sessions' ids, as `"abc"`."""


@pytest.fixture(params=["index", "files"])
async def backend(request: pytest.FixtureRequest, tmp_path: Path) -> AsyncGenerator[SessionBackend]:
    """Yield a backend on a home of Codex: one that searches an index, and one that reads the files."""
    async with _opened(tmp_path, with_index=request.param == "index") as backend:
        yield backend


@asynccontextmanager
async def _opened(folder: Path, *, with_index: bool) -> AsyncGenerator[SessionBackend]:
    (folder / "home").mkdir()
    inner = open_backend(f"codex://{folder / 'home'}")
    opened = Indexed(inner, IndexStore(folder / "index.db"), source="tests") if with_index else inner
    async with opened as backend:
        yield backend


async def found(backend: SessionBackend) -> Found:
    page = await backend.search_sessions("re", limit=50)
    assert (page.complete, page.next_cursor) == (True, "")
    turns: dict[str, str] = {}
    for hit in sorted(page.hits, key=lambda hit: hit.snippet):
        turns[hit.session_id] = turns.get(hit.session_id, "") + hit.snippet.removeprefix("re ")
    return turns


def revert(made: Rollout, turns: int, *texts: str, base: Rollout | None = None) -> Rollout:
    """Return a further file of a thread, which continues the thread or another base after a number of turns."""
    start = base or made
    return thread(*texts, thread_id=made.id, base=start.base(lines=after(start, turns)))


async def test_a_fork_has_what_its_base_no_longer_shows_after_a_revert(backend: SessionBackend, tmp_path: Path) -> None:
    home = tmp_path / "home"
    base = thread("a", "b", "c", "d")
    fork = thread("e", base=base.base(lines=after(base, 3)))
    for made in (base, fork):
        made.write(home)
    assert await found(backend) == {base.id: "abcd", fork.id: "e"}
    newer = revert(base, 1, "f")
    path = newer.write(home, segment=SEGMENT)
    assert await found(backend) == {base.id: "af", fork.id: "bce"}
    last = revert(base, 2, "g").write(home, segment=LATER_SEGMENT)
    assert await found(backend) == {base.id: "abg", fork.id: "ce"}
    last.unlink()
    path.unlink()
    assert await found(backend) == {base.id: "abcd", fork.id: "e"}


async def test_a_fork_of_a_reverted_thread_has_only_what_that_thread_does_not_show(
    backend: SessionBackend, tmp_path: Path
) -> None:
    home = tmp_path / "home"
    base = thread("a", "b")
    newer = revert(base, 1, "c", "d")
    fork = thread("e", base=newer.base(lines=after(newer, 1), segment=SEGMENT))
    base.write(home)
    newer.write(home, segment=SEGMENT)
    fork.write(home)
    assert await found(backend) == {base.id: "acd", fork.id: "e"}
    fork.turn("g", "re g", NOW)
    fork.write(home)
    assert await found(backend) == {base.id: "acd", fork.id: "eg"}


async def test_a_fork_of_a_fork_has_what_neither_of_their_bases_shows(backend: SessionBackend, tmp_path: Path) -> None:
    home = tmp_path / "home"
    first = thread("a", "b", "c")
    second = thread("d", "e", base=first.base(lines=after(first, 2)))
    third = thread("f", base=second.base())
    for made in (first, second, third):
        made.write(home)
    assert await found(backend) == {first.id: "abc", second.id: "de", third.id: "f"}
    revert(second, 1, "g", base=first).write(home, segment=SEGMENT)  # to before its own first turn
    assert await found(backend) == {first.id: "abc", second.id: "g", third.id: "def"}
    revert(first, 1, "h").write(home, segment=SEGMENT)
    assert await found(backend) == {first.id: "ah", second.id: "g", third.id: "bdef"}


async def test_a_fork_has_all_of_a_base_whose_newest_file_can_not_be_read(
    backend: SessionBackend, tmp_path: Path
) -> None:
    base = thread("a")
    fork = thread("b", base=base.base())
    for made in (base, fork):
        made.write(tmp_path / "home")
    damaged = revert(base, 1).write(tmp_path / "home", segment=SEGMENT)
    damaged.with_name(f"{damaged.name}.zst").write_bytes(b"not compressed")
    damaged.unlink()
    page = await backend.search_sessions("re")
    assert not page.complete
    assert [hit.session_id for hit in page.hits] == [fork.id, fork.id]


async def test_a_base_that_is_gone_comes_back_as_it_was(backend: SessionBackend, tmp_path: Path) -> None:
    home = tmp_path / "home"
    base = thread("a", "b")
    fork = thread("c", base=base.base())
    path = base.write(home)
    fork.write(home)
    assert await found(backend) == {base.id: "ab", fork.id: "c"}
    path.unlink()
    assert await found(backend) == {fork.id: "c"}
    base.write(home, archived=True)
    assert await found(backend) == {base.id: "ab", fork.id: "c"}


async def test_a_fork_whose_base_came_back_reverted_is_read_again(backend: SessionBackend, tmp_path: Path) -> None:
    home = tmp_path / "home"
    base = thread("a", "b")
    fork = thread("c", base=base.base())
    fork.write(home)
    assert await found(backend) == {fork.id: "c"}
    base.write(home)
    revert(base, 1, "d").write(home, segment=SEGMENT)
    assert await found(backend) == {base.id: "ad", fork.id: "bc"}


async def test_an_index_opens_no_file_of_a_fork_unless_something_changed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    base = thread("a", "b")
    fork = thread("c", base=base.base())
    fork_of_fork = thread("d", base=fork.base())
    without_base = thread("f", base={**base.base(), "thread_id": "no=1 id=2"})
    reads: list[str] = []
    original = TranscriptFile.read

    def counted(self: TranscriptFile, offset: int, length: int) -> bytes:
        reads.append("")
        return original(self, offset, length)

    async with _opened(tmp_path, with_index=True) as backend:
        for made in (base, fork, fork_of_fork, without_base):
            made.write(tmp_path / "home")
        revert(base, 1, "e").write(tmp_path / "home", segment=SEGMENT)
        await found(backend)
        monkeypatch.setattr(TranscriptFile, "read", counted)
        assert not (await backend.search_sessions("nowhere")).hits
        assert not reads
        assert (await found(backend))[fork.id] == "bc"
        assert reads


async def test_the_same_prompt_in_two_threads_at_the_same_time_is_found_in_both(
    backend: SessionBackend, tmp_path: Path
) -> None:
    threads = [Rollout(legacy=True, moment=NOW) for _ in range(2)]  # ids of messages are places in the file
    for made in threads:
        made.turn("a", "re a", NOW)
        made.write(tmp_path / "home")
    assert await found(backend) == {made.id: "a" for made in threads}
