"""Threads whose messages are in several files: forks, forks of forks, and threads that were reverted."""

from pathlib import Path

import pytest

from mcp_sessions.errors import Invalid
from mcp_sessions.json_documents import JsonObject

from ...support.codex_rollouts import Rollout
from .homes import NOW, after, messages_of, note_of, opened, session_of, texts_of, thread

MISSING = "The beginning of this conversation is missing: it is in another file, which is gone or damaged."
SEGMENTS = tuple(f"01a22000-c6df-7461-a923-a3ed361d88a{digit}" for digit in range(4))


def said(*texts: str) -> list[str]:
    return [each for text in texts for each in (text, f"re {text}")]


@pytest.mark.parametrize("limit", [1, 3, 200])
async def test_a_fork_of_a_fork_begins_with_the_messages_before_each_fork(tmp_path: Path, limit: int) -> None:
    first = thread("a", "b", "c")
    second = thread("d", "e", base=first.base(lines=after(first, 2)), forked_from_id=first.id)
    third = thread("f", base=second.base(lines=after(second, 1)), forked_from_id=second.id)
    for made in (first, second, third):
        made.write(tmp_path, archived=made is first)
    async with opened(tmp_path) as backend:
        messages = await messages_of(backend, third.id, limit)
        runs = (await backend.get_session_runs(third.id)).runs
    assert [message.text for message in messages] == said("a", "b", "d", "f")
    assert len({message.id for message in messages}) == 8
    assert [run.input for run in reversed(runs)] == ["a", "b", "d", "f"]
    assert (await session_of(tmp_path, third.id)).parent_id == second.id
    assert (await session_of(tmp_path, third.id)).message_count == 8


@pytest.mark.parametrize("limit", [1, 200])
async def test_a_thread_that_was_reverted_twice_goes_on_in_its_newest_file(tmp_path: Path, limit: int) -> None:
    made = thread("a", "b", "c")
    again = thread("d", "e", thread_id=made.id, base=made.base(lines=after(made, 2)))
    last = thread("f", thread_id=made.id, base=again.base(lines=after(again, 1), segment=SEGMENTS[1]))
    fork = thread("g", base=again.base(segment=SEGMENTS[1]), forked_from_id=made.id)
    for file, segment in ((last, SEGMENTS[2]), (again, SEGMENTS[1]), (made, ""), (fork, "")):
        file.write(tmp_path, segment=segment)
    async with opened(tmp_path) as backend:
        assert [message.text for message in await messages_of(backend, made.id, limit)] == said("a", "b", "d", "f")
        assert [message.text for message in await messages_of(backend, fork.id, limit)] == said("a", "b", "d", "e", "g")
        found = await backend.search_sessions("re")
        # "c" was reverted for all, "e" only for the thread itself
        texts = {(hit.session_id, hit.snippet) for hit in found.hits}
    assert {text for id, text in texts if id == made.id} == {f"re {name}" for name in "abdf"}
    assert (fork.id, "re e") in texts


async def test_what_forks_have_in_common_is_found_once(tmp_path: Path) -> None:
    first = thread("common")
    forks = [thread(f"own {number}", base=first.base(), forked_from_id=first.id) for number in range(3)]
    for made in (first, *forks):
        made.write(tmp_path)
    async with opened(tmp_path) as backend:
        assert {hit.session_id for hit in (await backend.search_sessions("common")).hits} == {first.id}
        assert {hit.session_id for hit in (await backend.search_sessions("re own")).hits} == {one.id for one in forks}


@pytest.mark.parametrize(
    "change",
    [
        {"thread_id": "ffffffff-ffff-4fff-8fff-ffffffffffff"},
        {"thread_id": "../../auth.json"},
        {"thread_id": 5},
        {"end_byte_offset": 100},
        {"end_byte_offset": 10**15},
        {"end_byte_offset": -1},
        {"end_byte_offset": 0},
        {"end_ordinal_exclusive": 3},
        {"end_ordinal_exclusive": "x"},
    ],
    ids=repr,
)
async def test_a_base_that_is_missing_is_said_in_the_note_of_the_page_that_reaches_it(
    tmp_path: Path, change: JsonObject
) -> None:
    first = thread("a")
    fork = thread("b", base=first.base())
    damaged = Rollout(fork.id, moment=NOW, ordinal=first.ordinal, history_base={**first.base(), **change})
    fork.lines[0] = damaged.lines[0]
    for made in (first, fork):
        made.write(tmp_path)
    assert await texts_of(tmp_path, fork.id) == said("b")
    assert await note_of(tmp_path, fork.id) == MISSING
    async with opened(tmp_path) as backend:
        assert (await backend.get_session_history(fork.id, limit=1)).note == ""


async def test_files_that_name_each_other_or_themselves_as_their_base_end_somewhere(tmp_path: Path) -> None:
    one, other = thread("a"), thread("b")
    bases = one.base(), other.base()
    made = [
        thread(text, thread_id=file.id, base=base)
        for text, file, base in (("a", one, bases[1]), ("b", other, bases[0]), ("c", thread(), bases[0]))
    ]
    made.append(thread("d", base={**bases[0], "thread_id": made[2].id}, thread_id=made[2].id))
    for file in made:
        file.write(tmp_path)
    for file in made:
        assert await note_of(tmp_path, file.id) == MISSING


async def test_a_file_that_is_its_own_base_is_read_once(tmp_path: Path) -> None:
    def loop(end: int) -> Rollout:
        made = Rollout("11111111-2222-4333-8444-555555555555", moment=NOW)
        base = {"thread_id": made.id, "end_ordinal_exclusive": made.ordinal + 6, "end_byte_offset": end}
        made = Rollout(made.id, moment=NOW, history_base=base)
        made.turn("a", "re a", NOW)
        made.turn("b", "re b", NOW)
        return made

    made = loop(sum(map(len, loop(1234).lines[:7])))
    assert made.base(lines=7)["end_byte_offset"] in range(1000, 10_000)
    made.write(tmp_path)
    assert await texts_of(tmp_path, made.id) == said("a", "b")
    assert await note_of(tmp_path, made.id) == MISSING


async def test_the_base_may_not_be_a_legacy_thread_whose_offsets_mean_nothing(tmp_path: Path) -> None:
    first = Rollout(legacy=True, moment=NOW)
    first.turn("a", "re a", NOW)
    fork = thread("b", base=first.base())
    for made in (first, fork):
        made.write(tmp_path)
    assert await note_of(tmp_path, fork.id) == MISSING


async def test_a_very_long_chain_of_forks_ends_with_a_note(tmp_path: Path) -> None:
    made = thread("0")
    made.write(tmp_path)
    for number in range(1, 230):
        made = thread(str(number), base=made.base())
        made.write(tmp_path)
    async with opened(tmp_path) as backend:
        page = await backend.get_session_history(made.id, limit=1000)
    assert (len(page.messages), page.next_cursor) == (400, "")
    assert "in too many files" in page.note


async def test_a_cursor_stays_valid_as_long_as_its_message_is_not_reverted(tmp_path: Path) -> None:
    made = thread("a", "b", "c")
    made.write(tmp_path)
    async with opened(tmp_path) as backend:
        before_c, before_b = [(await backend.get_session_history(made.id, limit=n)).next_cursor for n in (2, 4)]
        thread("d", thread_id=made.id, base=made.base(lines=after(made, 2))).write(tmp_path, segment=SEGMENTS[0])
        page = await backend.get_session_history(made.id, limit=4, cursor=before_b)
        assert [message.text for message in page.messages] == said("a")
        with pytest.raises(Invalid, match="no longer exists"):
            await backend.get_session_history(made.id, limit=2, cursor=before_c)
