"""Changes that a run overwrites are made again, by the next process too, and only as often as they should be."""

import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from ...support.faked_agentos import (
    MINUTE,
    SEEDS,
    Clock,
    faked,
    name_of,
    on,
    on_each_fake,
    run_of,
    settled,
    state_of,
    stored,
    until,
    writes,
)
from ...support.fakes.agentos import FakeAgentOs, Version

FILE = "agentos.db"


@on_each_fake
async def test_a_new_process_repeats_a_write_that_a_run_has_overwritten(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path / "another", *SEEDS) as (fake, _):
        run = fake.begin_run("s")
        async with on(fake, tmp_path) as backend:
            await backend.rename_session("s", "new")
            await backend.update_session_state("s", {"ours": 2})
            await backend.archive_session("s")
        fake.end_run(run, "Go on", "Done", {"theirs": 3})
        assert name_of(fake, "s") == "old"
        clock.now += MINUTE
        async with on(fake, tmp_path):
            await until(lambda: name_of(fake, "s") == "new")
        assert state_of(fake, "s") == {"kept": 1, "ours": 2, "theirs": 3}
        assert stored(fake, "s")["metadata"]["archived_at"]
        assert len(stored(fake, "s")["runs"]) == 2


@on_each_fake
async def test_a_value_that_somebody_else_set_since_is_kept(version: Version, tmp_path: Path, clock: Clock) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        async with on(fake, tmp_path / "another") as other:
            await other.rename_session("s", "theirs")
            await settled(fake, clock, backend)
        assert name_of(fake, "s") == "theirs"


@on_each_fake
async def test_the_last_name_is_kept_even_if_it_equals_the_first(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        await backend.rename_session("s", "old")
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


@on_each_fake
async def test_a_change_can_be_undone_after_a_run_has_overwritten_it(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        async with run_of(fake):
            await backend.rename_session("s", "new")
            await backend.archive_session("s")
        back = await backend.rename_session("s", "old")
        restored = await backend.restore_session("s")
        assert (back.previous, restored.changed) == ({"name": "new"}, {"archived_at": ""})
        await settled(fake, clock, backend)
        found = await backend.get_session("s")
        assert (found.name, found.archived_at, found.note) == ("old", None, "")


@on_each_fake
async def test_the_next_change_repeats_writes_that_a_run_has_overwritten(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        async with run_of(fake):
            await backend.update_session_state("s", {"first": 1})
        change = await backend.update_session_state("s", {"second": 2})
        assert change.changed["state"] == {"kept": 1, "first": 1, "second": 2} == state_of(fake, "s")
        assert change.previous["state"] == {"kept": 1, "first": 1}


@on_each_fake
async def test_a_session_names_the_values_that_a_run_has_overwritten(
    version: Version, tmp_path: Path, clock: Clock
) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        async with run_of(fake):
            await backend.rename_session("s", "new")
        assert "a change of name" in (await backend.get_session("s")).note
        await settled(fake, clock, backend)
        assert (await backend.get_session("s")).note == ""


@on_each_fake
async def test_a_deleted_session_is_not_created_again(version: Version, tmp_path: Path, clock: Clock) -> None:
    async with faked(version, tmp_path, *SEEDS) as (fake, backend):
        async with run_of(fake, "y"):
            await backend.rename_session("s", "new")
        await backend.delete_session("s")
        await settled(fake, clock, backend)
        assert fake.stored("s") is None


async def test_a_value_is_written_again_at_most_five_times(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        run = fake.begin_run("s")
        await backend.rename_session("s", "new")
        for _ in range(5):
            fake.end_run(run, "Go on", "Done")
            assert name_of(fake, "s") == "old"
            await settled(fake, clock, backend)
            assert name_of(fake, "s") == "new"
        fake.end_run(run, "Go on", "Done")
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


async def test_a_change_is_pending_for_a_limited_time(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        run = fake.begin_run("s")
        await backend.rename_session("s", "new")
        clock.now += 11 * MINUTE
        await settled(fake, clock, backend)
        fake.end_run(run, "Go on", "Done")
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


async def test_changes_of_one_field_do_not_prolong_the_pending_time_of_another(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        for number in range(5):
            clock.now += 6 * MINUTE
            await backend.update_session_state("s", {"count": number})
        async with on(fake, tmp_path / "another") as other:
            await other.rename_session("s", "old")
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "old"


async def test_an_unchecked_change_is_checked_within_an_hour_and_not_later(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path / "another", *SEEDS) as (fake, _):
        for minutes, name in ((50, "new"), (80, "old")):
            async with on(fake, tmp_path) as backend, run_of(fake):
                await backend.rename_session("s", "new")
            clock.now += minutes * MINUTE
            async with on(fake, tmp_path) as backend:
                await settled(fake, clock, backend)
            assert name_of(fake, "s") == name
            async with on(fake, tmp_path) as backend:
                await backend.rename_session("s", "old")


async def test_two_processes_with_one_journal_repeat_a_write_once(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, one), on(fake, tmp_path) as other:
        async with run_of(fake):
            await one.rename_session("s", "new")
            await other.update_session_state("s", {"ours": 1})
        clock.now += MINUTE
        for backend in (one, other):
            await backend.rename_session("y", f"news {id(backend)}")
        await until(lambda: name_of(fake, "s") == "new")
        before = len(fake.requests)
        await settled(fake, clock, one)
        await settled(fake, clock, other)
        assert state_of(fake, "s") == {"kept": 1, "ours": 1}
        assert not [request for request in writes(fake.requests[before:]) if request.path.startswith("/sessions/s")]


async def test_two_servers_have_separate_journals(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend), FakeAgentOs() as elsewhere:
        elsewhere.seed(*SEEDS)
        await backend.rename_session("s", "new")
        async with on(elsewhere, tmp_path) as other:
            clock.now += MINUTE
            await settled(elsewhere, clock, other)
        assert name_of(elsewhere, "s") == "old"
        assert name_of(fake, "s") == "new"


async def test_without_rechecks_there_is_no_file_and_the_note_says_so(tmp_path: Path, clock: Clock) -> None:
    async with FakeAgentOs() as fake:
        fake.seed(*SEEDS)
        async with on(fake, tmp_path, recheck=False) as backend, run_of(fake):
            change = await backend.rename_session("s", "new")
        assert "AgentOS overwrites this" in change.note
        assert name_of(fake, "s") == "old"
    assert [file.name for file in _files(tmp_path)] == ["locks"]


async def test_the_journal_is_readable_by_this_user_alone(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path / "made", *SEEDS) as (_, backend):
        await backend.rename_session("s", "new")
    assert {(tmp_path / "made" / FILE).stat().st_mode & 0o777, (tmp_path / "made").stat().st_mode & 0o777} == {
        0o600,
        0o700,
    }


def _files(folder: Path) -> list[Path]:
    return list(folder.iterdir())


def _garbage(folder: Path) -> None:
    (folder / FILE).write_bytes(b"no database" * 1000)


def _folder(folder: Path) -> None:
    (folder / FILE).mkdir()


def _file_in_its_place(folder: Path) -> None:
    folder.rmdir()
    folder.write_text("a file")


def _other_tables(folder: Path) -> None:
    with closing(sqlite3.connect(folder / FILE)) as connection:
        connection.execute("CREATE TABLE held (something TEXT)")


@pytest.mark.parametrize("damage", [_garbage, _folder, _file_in_its_place, _other_tables])
async def test_a_file_that_is_not_a_journal_prevents_no_start_and_no_change(
    damage: Callable[[Path], None], tmp_path: Path, clock: Clock
) -> None:
    folder = tmp_path / "data"
    folder.mkdir()
    damage(folder)
    async with faked("3.1.10", folder, *SEEDS) as (fake, backend):
        async with run_of(fake):
            await backend.rename_session("s", "new")
        assert (await backend.get_session("s")).id == "s"
        await settled(fake, clock, backend)
        assert name_of(fake, "s") == "new"
        await backend.delete_session("s")


@pytest.mark.usefixtures("impatient_journal")
async def test_a_locked_journal_prevents_no_change(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, backend):
        await backend.rename_session("s", "new")
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            change = await backend.rename_session("s", "newer")
            assert "AgentOS overwrites this" in change.note
            assert (await backend.get_session("s")).name == "newer"
            await backend.delete_session("y")
        assert name_of(fake, "s") == "newer"


@pytest.mark.usefixtures("impatient_journal")
async def test_a_locked_journal_does_not_prevent_the_start(tmp_path: Path, clock: Clock) -> None:
    async with faked("3.1.10", tmp_path, *SEEDS) as (fake, _):
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
            connection.execute("BEGIN EXCLUSIVE")
            async with on(fake, tmp_path) as backend:
                await backend.rename_session("s", "new")
                await settled(fake, clock, backend)


@pytest.mark.parametrize("damaged", ['{"no": [1]', "[" * 100_000, "[[[{}], [1], [], 0]]", "[[[], [1], [], 0]]", "[5]"])
async def test_a_damaged_journal_entry_is_dropped_and_the_others_are_checked(
    damaged: str, tmp_path: Path, clock: Clock
) -> None:
    async with faked("3.1.10", tmp_path / "another", *SEEDS) as (fake, _):
        async with on(fake, tmp_path) as backend, run_of(fake), run_of(fake, "y"):
            await backend.rename_session("s", "new")
            await backend.rename_session("y", "new")
        with closing(sqlite3.connect(tmp_path / FILE, isolation_level=None)) as connection:
            connection.execute("UPDATE held SET values_held = ? WHERE session_id = 's'", (damaged,))
        clock.now += MINUTE
        async with on(fake, tmp_path) as backend:
            await until(lambda: name_of(fake, "y") == "new")
            assert (await backend.get_session("s")).name == "old"
            await backend.rename_session("s", "newer")
        assert name_of(fake, "s") == "newer"
