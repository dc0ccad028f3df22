"""Locks between processes: one holder at a time, released when a process ends, with a limit on waiting."""

import errno
import stat
from multiprocessing.connection import Connection
from pathlib import Path

import anyio
import anyio.lowlevel
import pytest

from mcp_sessions.backends.file_locks import FileLocks
from mcp_sessions.errors import Busy

from ..support.store_processes import PATIENCE, context

SECONDS = "mcp_sessions.backends.file_locks._PATIENCE"


@pytest.fixture
def locks(tmp_path: Path) -> FileLocks:
    made = FileLocks(tmp_path / "new" / "data" / "locks")
    made.open()
    return made


def hold_for_ever(locks: FileLocks, name: str, told: Connection) -> None:
    """Run in another process: report when the lock is held, then wait to be killed."""

    async def main() -> None:
        async with locks.lock(name):
            told.send("held")
            await anyio.sleep_forever()

    anyio.run(main)


async def test_a_name_is_locked_by_one_holder_at_a_time_within_a_process(locks: FileLocks) -> None:
    inside: list[int] = []
    most = 0

    async def hold(number: int) -> None:
        nonlocal most
        async with locks.lock("name"):
            inside.append(number)
            most = max(most, len(inside))
            for _ in range(5):
                await anyio.lowlevel.checkpoint()
            inside.remove(number)

    with anyio.fail_after(10):
        async with anyio.create_task_group() as tasks:
            for number in range(10):
                tasks.start_soon(hold, number)
    assert most == 1


async def test_locks_with_other_names_do_not_wait(locks: FileLocks) -> None:
    with anyio.fail_after(5):
        async with locks.lock("one"), locks.lock("other"):
            pass


async def test_a_lock_of_another_process_is_free_after_that_process_is_killed(
    locks: FileLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    receiver, sender = context().Pipe(duplex=False)
    other = context().Process(target=hold_for_ever, args=(locks, "name", sender))
    other.start()
    try:
        assert receiver.poll(PATIENCE)
        with monkeypatch.context() as shortened:
            shortened.setattr(SECONDS, 0.05)
            with pytest.raises(Busy, match="Try again"):
                async with locks.lock("name"):
                    pass
        async with anyio.create_task_group() as tasks:
            tasks.start_soon(anyio.to_thread.run_sync, other.kill)
            with anyio.fail_after(10):
                async with locks.lock("name"):
                    pass
    finally:
        other.kill()
        other.join(PATIENCE)
        receiver.close()
        sender.close()


async def test_a_lock_can_be_acquired_after_an_earlier_timeout(
    locks: FileLocks, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(SECONDS, 0.01)
    async with locks.lock("name"):
        for _ in range(3):
            with pytest.raises(Busy):
                async with locks.lock("name"):
                    pass
    with anyio.fail_after(5):
        async with locks.lock("name"):
            pass


async def test_a_lock_is_released_after_an_error_and_after_cancellation(locks: FileLocks) -> None:
    with pytest.raises(ZeroDivisionError):
        async with locks.lock("name"):
            raise ZeroDivisionError
    with anyio.move_on_after(0) as scope:
        async with locks.lock("name"):
            await anyio.sleep_forever()
    assert scope.cancelled_caught
    with anyio.fail_after(5):
        async with locks.lock("name"):
            pass


async def test_work_that_begins_after_its_call_was_cancelled_is_not_done_without_the_lock(locks: FileLocks) -> None:
    done: list[str] = []
    async with locks.lock("name") as lock:
        work = lock.until_done(done.append)
        work("in time")
    with pytest.raises(Busy, match="cancelled"):
        work("too late")
    assert done == ["in time"]


async def test_lock_files_are_readable_only_by_this_user(locks: FileLocks, tmp_path: Path) -> None:
    async with locks.lock("half \ud800 of a pair"):
        pass
    folder = tmp_path / "new" / "data" / "locks"
    (file,) = folder.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, file)] == [0o700, 0o700, 0o600]


def test_a_lock_folder_that_cannot_be_created_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileLocks(tmp_path / "file" / "locks").open()


async def test_a_lock_folder_that_was_deleted_is_created_again(locks: FileLocks, tmp_path: Path) -> None:
    (tmp_path / "new" / "data" / "locks").rmdir()
    entered = False
    async with locks.lock("name"):
        entered = True
    assert entered


async def test_a_filesystem_without_locks_is_used_without_locking(
    locks: FileLocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("mcp_sessions.backends.file_locks._try_lock", refuse)
    with anyio.fail_after(5):
        async with locks.lock("name"):
            assert "can't be locked" in caplog.text
