"""Homes that were moved, copied, damaged or made by somebody else are still listed, as far as they can be."""

import fcntl
import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import BadResponse, NotFound
from mcp_sessions.models import SessionFilter

from ...support.codex_rollouts import Rollout, record
from ...support.file_states import watched
from ...support.memory import kept_after
from .homes import (
    NOW,
    SECOND,
    copy_fixtures,
    file_of,
    labelled,
    listed,
    names_in,
    opened,
    rollout,
    session_of,
    texts_of,
)


async def test_a_home_that_was_moved_has_all_its_threads_with_their_names(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)  # its database has the paths of another home
    async with opened(home) as backend:
        assert len(await listed(backend)) == 11
    assert (await session_of(home, labelled("paginated"))).name == "Plan of the meadow"
    assert len(await texts_of(home, labelled("fork_of_fork"))) == 15


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\0" * 5000,
        b"{}\n",
        b'{"type":"event_msg","payload":{}}\n',
        b'{"timestamp":"","type":"session_meta","payload":{}}\n',
        os.urandom(9000),
    ],
    ids=["empty", "NUL", "object", "event", "no id", "random"],
)
async def test_a_file_that_does_not_begin_as_a_thread_is_not_listed_and_refused_by_id(
    tmp_path: Path, data: bytes
) -> None:
    good, bad = rollout("good"), rollout("bad")
    good.write(tmp_path)
    bad.write(tmp_path).write_bytes(data)
    assert await names_in(tmp_path) == ["good"]
    async with opened(tmp_path) as backend:
        for call in (backend.get_session, backend.get_session_history, backend.get_session_runs):
            with pytest.raises(BadResponse) as refused:
                await call(bad.id)
            assert "/" not in refused.value.text


async def test_of_two_copies_the_one_that_the_database_names_counts_else_the_newest_by_name(tmp_path: Path) -> None:
    old, new = rollout("old"), rollout("new", moment=NOW + timedelta(days=1))
    new.id = old.id
    older, newer = old.write(tmp_path), new.write(tmp_path)
    os.utime(newer, (0, 0))
    assert await names_in(tmp_path) == ["new"]
    assert await texts_of(tmp_path, old.id) == ["new", "answer"]
    recorded = Path("\\\\?\\C:\\Users\\ada\\.codex").joinpath(*older.parts[-5:])  # as on Windows, in another home
    record(tmp_path, old, recorded)
    assert await names_in(tmp_path) == ["old"]
    assert await texts_of(tmp_path, old.id) == ["old", "answer"]


async def test_where_a_file_is_decides_whether_its_thread_is_archived(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    active, archived = file_of(home, labelled("paginated")), file_of(home, labelled("archived"))
    moved = home / "archived_sessions" / active.name
    active.rename(moved)
    archived.rename(active.with_name(archived.name))
    session = await session_of(home, labelled("paginated"))
    changed = datetime.fromtimestamp(moved.stat().st_mtime, UTC)
    assert session.archived_at is not None
    assert abs(session.archived_at - changed) < SECOND
    assert (await session_of(home, labelled("archived"))).archived_at is None
    assert len(await texts_of(home, labelled("fork_of_fork"))) == 15  # the base of forks may be archived


async def test_a_thread_whose_file_is_gone_is_gone_whatever_the_database_says(tmp_path: Path) -> None:
    home = copy_fixtures(tmp_path)
    thread_id = labelled("injected")
    async with opened(home) as backend:
        assert len(await listed(backend)) == 11
        file_of(home, thread_id).unlink()
        assert thread_id not in {session.id for session in await listed(backend)}
        with pytest.raises(NotFound, match=thread_id):
            await backend.get_session(thread_id)


async def test_threads_are_in_the_order_of_the_database_else_of_their_last_lines_and_never_of_their_files(
    tmp_path: Path,
) -> None:
    for place, name in enumerate(("oldest", "middle", "newest")):
        path = rollout(name, moment=NOW + place * SECOND).write(tmp_path)
        os.utime(path, (1e9 - place, 1e9 - place))
    assert await names_in(tmp_path) == ["newest", "middle", "oldest"]
    renamed = rollout("renamed", moment=NOW - SECOND)
    later = round((NOW + timedelta(days=1)).timestamp() * 1000)
    record(tmp_path, renamed, renamed.write(tmp_path), updated_at_ms=later)
    assert await names_in(tmp_path) == ["renamed", "newest", "middle", "oldest"]


async def test_a_thread_without_a_prompt_is_listed_without_a_name(tmp_path: Path) -> None:
    made = Rollout(moment=NOW)
    made.write(tmp_path)
    assert await names_in(tmp_path) == [""]


async def test_a_first_prompt_far_from_the_begin_is_the_name(tmp_path: Path) -> None:
    made = Rollout(legacy=True, moment=NOW)
    made.add("response_item", {"type": "message", "role": "user", "content": "x" * 3_000_000}, NOW)
    made.turn("question", "answer", NOW)
    made.write(tmp_path)
    assert await names_in(tmp_path) == ["question"]


async def test_links_out_of_the_home_are_not_followed_and_counted(tmp_path: Path) -> None:
    home, outside = tmp_path / "home", tmp_path / "outside"
    made, hidden = rollout("inside"), rollout("outside")
    path = made.write(home)
    target = hidden.write(outside)
    path.with_name(target.name).symlink_to(target)
    (home / "archived_sessions").symlink_to(outside / "sessions")
    (home / "sessions/2027").symlink_to(outside / "sessions/2026")
    inner = path.with_name(path.name.replace(made.id, hidden.id))
    async with opened(home) as backend:
        page = await backend.list_sessions(SessionFilter())
        assert [session.name for session in page.sessions] == ["inside"]
        assert page.note == "3 sessions could not be read."
        path.with_name(target.name).unlink()
        inner.symlink_to(path)
        assert len(await listed(backend)) == 2


async def test_only_files_with_the_names_of_threads_are_opened(tmp_path: Path) -> None:
    path = rollout("thread").write(tmp_path)
    for name in ("notes.jsonl", f"{path.name}.bak", f"x{path.name}", path.name.replace(".jsonl", ".json"), "rollout-x"):
        path.with_name(name).write_bytes(path.read_bytes())
    os.mkfifo(path.with_name(path.name.replace("T12-", "T13-")))  # newer by name
    path.with_name(path.name.replace("T12-", "T14-")).mkdir()
    assert await names_in(tmp_path) == ["thread"]


async def test_a_lock_counts_as_long_as_a_process_holds_it(tmp_path: Path) -> None:
    made = rollout()
    made.write(tmp_path)
    lock = tmp_path / "thread-writer-locks" / f"{made.id}.lock"
    assert (await session_of(tmp_path, made.id)).is_live is False
    lock.parent.mkdir()
    with lock.open("w") as file:
        assert (await session_of(tmp_path, made.id)).is_live is False
        fcntl.flock(file, fcntl.LOCK_EX)
        assert (await session_of(tmp_path, made.id)).is_live is True
        async with opened(tmp_path) as backend:
            assert [session.is_live for session in await listed(backend)] == [True]
    assert (await session_of(tmp_path, made.id)).is_live is False


async def test_a_folder_is_read_again_only_after_it_has_changed_or_if_it_changed_just_now(tmp_path: Path) -> None:
    folder = rollout("first").write(tmp_path).parent
    second, third = rollout("second", moment=NOW - SECOND), rollout("third", moment=NOW - 2 * SECOND)

    async def names(backend: SessionBackend) -> tuple[list[str], int]:
        with watched() as events:
            found = [session.name for session in await listed(backend)]
        return found, [event for event, _ in events].count("os.scandir")

    async with opened(tmp_path) as backend:
        now = folder.stat().st_mtime_ns
        assert await names(backend) == (["first"], 4)
        second.write(tmp_path)
        os.utime(folder, ns=(now, now))  # as if the second file had been written in the same tick of the clock
        assert (await names(backend))[0] == ["first", "second"]
        for path in (folder, *folder.parents[:3]):
            os.utime(path, (1e9, 1e9))
        assert await names(backend) == (["first", "second"], 4)
        assert await names(backend) == (["first", "second"], 0)
        third.write(tmp_path)
        assert await names(backend) == (["first", "second", "third"], 1)


@pytest.mark.parametrize("legacy", [False, True])
async def test_only_the_beginning_of_a_long_first_prompt_is_kept_in_memory(tmp_path: Path, *, legacy: bool) -> None:
    for _ in range(10):
        thread = Rollout(legacy=legacy, moment=NOW)
        thread.start(NOW)
        thread.prompt("long " * 100_000, NOW)
        thread.write(tmp_path)
    async with opened(tmp_path) as backend:
        assert await kept_after(lambda: listed(backend)) < 1_000_000
        assert {len(row.name) for row in await listed(backend)} == {200}
