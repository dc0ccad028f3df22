"""Locks between processes: one holder at a time, released when a process ends, and waited for with a limit."""

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


async def test_one_at_a_time_holds_a_name_within_a_process(locks: FileLocks) -> None:
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


async def test_another_name_is_not_waited_for(locks: FileLocks) -> None:
    with anyio.fail_after(5):
        async with locks.lock("one"), locks.lock("other"):
            pass


async def test_a_lock_of_another_process_is_waited_for_until_that_is_killed(
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


async def test_a_lock_that_was_waited_for_in_vain_can_be_had_later(
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


async def test_a_lock_is_given_up_by_what_fails_and_by_what_is_cancelled(locks: FileLocks) -> None:
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


async def test_what_is_made_for_locks_is_readable_by_this_user_alone(locks: FileLocks, tmp_path: Path) -> None:
    async with locks.lock("half \ud800 of a pair"):
        pass
    folder = tmp_path / "new" / "data" / "locks"
    (file,) = folder.iterdir()
    assert [stat.S_IMODE(path.stat().st_mode) for path in (folder.parent, folder, file)] == [0o700, 0o700, 0o600]


def test_a_folder_that_cannot_be_made_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match="file"):
        FileLocks(tmp_path / "file" / "locks").open()


async def test_a_folder_that_is_gone_stops_nobody(locks: FileLocks, tmp_path: Path) -> None:
    (tmp_path / "new" / "data" / "locks").rmdir()
    entered = False
    async with locks.lock("name"):
        entered = True
    assert entered


async def test_where_files_have_no_locks_nobody_is_waited_for(
    locks: FileLocks, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    def refuse(file: int) -> None:
        raise OSError(errno.ENOLCK, "No locks available")

    monkeypatch.setattr("mcp_sessions.backends.file_locks._try_lock", refuse)
    with anyio.fail_after(5):
        async with locks.lock("name"):
            assert "can't be locked" in caplog.text
