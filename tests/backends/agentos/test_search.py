"""Search stays within its budget, and reports how much it has searched."""

from pathlib import Path

import anyio
import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import SessionsError
from mcp_sessions.json_documents import JsonObject
from mcp_sessions.models import (
    SearchHit,
    SearchPage,
)

from ...support.faked_agentos import COMPONENTS, faked, on_each_fake
from ...support.fakes.agentos import Fault, Version

SEARCH = "mcp_sessions.backends.scan_search"


def talk(number: int, *texts: str, **given: object) -> JsonObject:
    """Return a session with one run of these messages; the one with the highest number is the newest."""
    said = [{"role": "assistant" if place % 2 else "user", "text": text} for place, text in enumerate(texts)]
    made: JsonObject = {"session_id": f"s{number:03}", "component_id": "planner", "created_at": 1000 + number}
    return {**made, "name": "a talk", "runs": [said], **given}


async def walked(backend: SessionBackend, query: str, limit: int) -> list[SearchPage]:
    pages = [await backend.search_sessions(query, limit=limit)]
    while pages[-1].next_cursor:
        pages.append(await backend.search_sessions(query, limit=limit, cursor=pages[-1].next_cursor))
    return pages


def hits_of(pages: list[SearchPage]) -> list[SearchHit]:
    return [hit for page in pages for hit in page.hits]


@pytest.mark.parametrize(("version", "limit"), [("3.1.10", 1), ("3.1.10", 3), ("3.1.10", 50), ("2.5.6", 2)])
async def test_the_pages_of_a_search_have_each_hit_once_even_within_a_session(
    version: Version, limit: int, tmp_path: Path
) -> None:
    seeds = [
        talk(number, *(f"plum {place}" for place in range(number % 5)), name="plum" if number % 2 else "pear")
        for number in range(10)
        if number % 5
    ]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        pages = await walked(backend, "plum", limit)
        hits = hits_of(pages)
        expected = [
            (f"s{number:03}", snippet)
            for number in range(9, 0, -1)
            if number % 5
            for snippet in (
                *([""] if number % 2 else []),
                *(f"plum {place}" for place in range(number % 5 - 1, -1, -1)),
            )
        ]
        assert [(hit.session_id, hit.snippet) for hit in hits] == expected
        assert all(page.complete for page in pages)
        assert all(len(page.hits) <= limit for page in pages)
        assert all(page.note == "" for page in pages)


async def test_a_search_of_very_many_sessions_stops_and_continues_exactly_there(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{SEARCH}._MAX_SESSIONS", 40)
    seeds = [talk(number, "plum" if number in (5, 89) else "pear") for number in range(90)]
    async with faked("3.1.10", tmp_path, *seeds) as (_, backend):
        first, second, third = await walked(backend, "plum", 10)
        assert [hit.session_id for hit in first.hits] == ["s089"]
        assert (first.complete, first.searched_sessions, bool(first.note)) == (False, 40, True)
        assert (second.complete, second.hits) == (False, ())
        assert [hit.session_id for hit in third.hits] == ["s005"]
        assert (third.complete, third.next_cursor) == (True, "")
        searched = [page.searched_sessions or 0 for page in (first, second, third)]
        assert 90 <= sum(searched) <= 90 + 2  # the one that a cursor names is read again


@on_each_fake
async def test_large_transcripts_end_a_search_earlier(
    version: Version, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(f"{SEARCH}._MAX_BYTES", 200_000)
    seeds = [talk(number, "pear " * 5000, "plum" if number == 3 else "") for number in range(40)]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        pages = await walked(backend, "plum", 10)
        assert len(pages) > 1
        assert [hit.session_id for hit in hits_of(pages)] == ["s003"]
        assert [page.complete for page in pages] == [False] * (len(pages) - 1) + [True]


@on_each_fake
async def test_progress_grows_and_counts_sessions(version: Version, tmp_path: Path) -> None:
    told: list[float] = []

    async def progress(done: float, message: str) -> None:
        told.append(done)
        assert message == f"{done:g} sessions searched"

    async with faked(version, tmp_path, *(talk(number, "pear") for number in range(30))) as (_, backend):
        page = await backend.for_caller(Caller(progress=progress)).search_sessions("plum")
        assert told == sorted(set(told))
        assert told[-1] == page.searched_sessions == 30


@on_each_fake
async def test_a_session_that_cannot_be_read_is_counted_and_the_others_are_searched(
    version: Version, tmp_path: Path
) -> None:
    async with faked(version, tmp_path, *(talk(number, "plum") for number in range(12))) as (fake, backend):
        fake.fail_next(Fault("answer", status=500, path="/sessions/s007/runs"))
        fake.fail_next(Fault("answer", status=200, path="/sessions/s003/runs"))
        page = await backend.search_sessions("plum", limit=50)
        assert {hit.session_id for hit in page.hits} == {f"s{number:03}" for number in range(12)} - {"s007", "s003"}
        assert (page.complete, page.searched_sessions) == (False, 10)
        assert page.note == "2 sessions could not be read."


@on_each_fake
async def test_a_session_deleted_during_the_search_is_left_out(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *(talk(number, "plum") for number in range(3))) as (fake, backend):
        fake.fail_next(Fault("answer", status=404, path="/sessions/s001/runs"))
        page = await backend.search_sessions("plum")
        assert [hit.session_id for hit in page.hits] == ["s002", "s000"]
        assert (page.complete, page.searched_sessions, page.note) == (True, 2, "")


@on_each_fake
async def test_a_refused_credential_is_not_an_empty_result(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, talk(1, "plum")) as (fake, backend):
        fake.fail_next(Fault("answer", status=403, path="/runs"))
        with pytest.raises(SessionsError) as raised:
            await backend.search_sessions("plum")
        assert raised.value.code == "forbidden"


@on_each_fake
async def test_sessions_of_every_type_are_searched_including_archived_ones(version: Version, tmp_path: Path) -> None:
    seeds = [
        talk(number, f"a plum for the {type}", type=type, component_id=component, metadata=metadata)
        for number, (type, component, metadata) in enumerate(
            (type, component, metadata)
            for type, component in COMPONENTS.items()
            for metadata in ({}, {"archived_at": "2024-01-01T00:00:00Z"})
        )
    ]
    async with faked(version, tmp_path, *seeds) as (_, backend):
        page = await backend.search_sessions("plum", limit=50)
        assert {hit.session_id for hit in page.hits} == {seed["session_id"] for seed in seeds}
        assert page.searched_sessions == 6


@on_each_fake
async def test_a_search_does_not_find_what_the_caller_may_not_see(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, talk(1, "the plum", name="plum"), talk(2, "a pear")) as (_, backend):
        blinded = backend.for_caller(Caller(sanitize=lambda text: text.replace("plum", "[redacted]")))
        assert (await blinded.search_sessions("plum")).hits == ()
        assert len((await blinded.search_sessions("pear")).hits) >= 1


@on_each_fake
async def test_eight_sessions_are_read_concurrently(version: Version, tmp_path: Path) -> None:
    async with faked(version, tmp_path, *(talk(number, "pear") for number in range(30))) as (fake, backend):
        held = [fake.fail_next(Fault("hold", path="/runs")) for _ in range(8)]
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(backend.search_sessions, "plum")
            with anyio.fail_after(10):
                for fault in held:
                    await fault.entered.wait()
            for fault in held:
                fault.released.set()
        assert fake.most_at_once == 8
