"""Searches by an index over systems that answer slowly, and over files that are read slowly."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.deadline import remaining
from mcp_sessions.backends.layers.index import Indexed, IndexStore
from mcp_sessions.backends.options import BackendOptions
from mcp_sessions.errors import Timeout
from mcp_sessions.models import Message, SessionFilter, SessionPage

from .faulty import LONG
from .listed_backend import ListedBackend
from .transcript_indexes import open_index, transcript_of

_NOT_LISTED = "The system did not list all sessions in time, so new messages may be missing. Repeat the call."


class SlowBackend(ListedBackend):
    """Sessions with a message each. `is_late` names what is not answered before the deadline of a call."""

    is_late: str = ""

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        await self._wait("list")
        return await super().list_sessions(filter, limit=limit, cursor=cursor)

    async def read_messages(self, session_id: str) -> Sequence[Message]:
        await self._wait("history")
        return [Message(id="1", role="user", text=f"an apple for {session_id}")]

    async def _wait(self, call: str) -> None:
        if call == self.is_late:
            await anyio.sleep(remaining(LONG))
            raise Timeout("it did not answer in time. Try again.")


@pytest.mark.parametrize(("is_late", "seconds", "finds"), [("list", 5, ["a"]), ("history", 1, [])])
async def test_a_search_of_a_slow_system_ends_in_time_and_says_what_is_missing(
    is_late: str, seconds: float, finds: Sequence[str], tmp_path: Path
) -> None:
    inner = SlowBackend()
    inner.add("a")
    async with Indexed(inner, IndexStore(tmp_path / "index.db"), source="tests") as backend:
        assert (await backend.search_sessions("apple")).complete
        inner.add("b", second=1)
        inner.is_late, backend.options = is_late, BackendOptions(timeout=seconds)
        with anyio.fail_after(LONG):
            page = await backend.search_sessions("apple")
        assert ([hit.session_id for hit in page.hits], page.complete) == (finds, False)
        if is_late == "list":
            assert page.note == _NOT_LISTED
        else:
            assert page.note.startswith("1 session is not indexed yet")
            assert "took too long" in page.note
        inner.is_late, backend.options = "", BackendOptions(timeout=LONG)
        page = await backend.search_sessions("apple")
    assert ([hit.session_id for hit in page.hits], page.complete, page.note) == (["b", "a"], True, "")


async def test_a_search_of_slow_files_ends_in_time_and_says_what_is_missing(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for number in range(20):
        transcript_of(f"apple {number}").write(tmp_path)
    read, clock, seconds = os.read, time.monotonic, [0.0]

    def read_slowly(descriptor: int, length: int) -> bytes:
        seconds[0] += 1
        return read(descriptor, length)

    async with open_index(tmp_path) as backend:
        with monkeypatch.context() as patch:
            patch.setattr(time, "monotonic", lambda: clock() + seconds[0])
            patch.setattr(os, "read", read_slowly)
            begin = time.monotonic()
            page = await backend.search_sessions("apple")
            assert time.monotonic() - begin < backend.options.timeout + 2  # the last read ends after the deadline
        assert not page.complete
        assert "not indexed yet" in page.note
        page = await backend.search_sessions("apple", limit=50)
    assert (len(page.hits), page.complete, page.note) == (20, True, "")
