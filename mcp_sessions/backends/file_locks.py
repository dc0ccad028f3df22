"""Locks between the processes of one user, since each client window starts its own server."""

import errno
import logging
import os
import sys
import threading
from collections.abc import AsyncGenerator, Callable, Generator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from hashlib import blake2b
from pathlib import Path
from typing import ParamSpec, TypeVar

import anyio

from ..errors import Busy

P = ParamSpec("P")
T = TypeVar("T")
logger = logging.getLogger(__name__)

_FILES = 256  # names may share a file; a lock is held only for the time of one change
_PATIENCE = 20.0  # seconds
_LOCKED_ELSEWHERE = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_PAUSES = (0.002, 0.05)  # seconds between two attempts: the first and the longest

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class LockFile:
    """The open file of a lock, which is held until its block and all work in threads have ended.

    That work may take longer than the block, if the call was cancelled.
    """

    def __init__(self, file: int | None) -> None:
        self._file = file
        self._holders = 1
        self._counting = threading.Lock()

    def until_done(self, work: Callable[P, T]) -> Callable[P, T]:
        """Return a function for a thread that does the work, and holds the lock until it has ended.

        If it is called after the end of the lock's block, it raises `Busy`, and the work is not done.
        """

        def run(*args: P.args, **kwargs: P.kwargs) -> T:
            with self._counting:
                if not self._holders:
                    raise Busy("the call was cancelled before it began.")
                self._holders += 1
            try:
                return work(*args, **kwargs)
            finally:
                self.release()

        return run

    def release(self) -> None:
        """Release the lock, unless another thread still holds it."""
        with self._counting:
            self._holders -= 1
            if not self._holders and self._file is not None:
                os.close(self._file)


class FileLocks:
    """Named locks, kept as files in a folder of this user.

    The operating system releases a process's locks when the process ends.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder

    def open(self) -> None:
        """Create the folder. Raise `OSError` if that fails."""
        for folder in (self.folder.parent, self.folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @asynccontextmanager
    async def lock(self, name: str) -> AsyncGenerator["LockFile"]:
        """Hold the lock of this name. Raise `Busy` if another process holds it for too long.

        If the file can't be locked, log a warning and go on without a lock.
        """
        file = _open(self._path(name))
        held = LockFile(file)
        try:
            if file is not None:
                await _lock(file)
            yield held
        finally:
            held.release()

    @contextmanager
    def try_lock(self, name: str) -> Generator[bool]:
        """Hold the lock of this name, and yield True. Yield False, without waiting, if it is held elsewhere."""
        with _hold(self._path(name)) as is_held:
            yield is_held

    @contextmanager
    def try_all(self) -> Generator[bool]:
        """Hold all locks that were ever used, and yield True. Yield False if one of them is held elsewhere."""
        with ExitStack() as stack:
            yield all(stack.enter_context(_hold(path)) for path in sorted(self.folder.glob("*.lock")))

    def _path(self, name: str) -> Path:
        digest = blake2b(name.encode(errors="backslashreplace"), digest_size=1).digest()
        return self.folder / f"{int.from_bytes(digest) % _FILES:02x}.lock"


@contextmanager
def _hold(path: Path) -> Generator[bool]:
    """Hold the lock that is this file, and yield True. Yield False, without waiting, if it is held elsewhere."""
    file = _open(path)
    if file is None:
        yield True
        return
    try:
        is_held = True
        try:
            _try_lock(file)
        except OSError as error:
            is_held = error.errno not in _LOCKED_ELSEWHERE
            if is_held:
                _warn(error)
        yield is_held
    finally:
        os.close(file)


def _open(path: Path) -> int | None:
    """Open the file of a lock. If that fails, log a warning and return None."""
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    except OSError as error:
        _warn(error)
        return None


async def _lock(file: int) -> None:
    pause, longest = _PAUSES
    with anyio.move_on_after(_PATIENCE):
        while True:
            try:
                _try_lock(file)
                return
            except OSError as error:
                if error.errno not in _LOCKED_ELSEWHERE:  # a filesystem without locks
                    _warn(error)
                    return
                await anyio.sleep(pause)
                pause = min(2 * pause, longest)
    raise Busy("another program on this machine is changing this session. Try again in a few seconds.")


def _warn(error: OSError) -> None:
    logger.warning("Sessions can't be locked against changes by other processes: %s", error)
