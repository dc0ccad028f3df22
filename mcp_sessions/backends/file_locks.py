"""Locks that several processes of one user share: each client window starts a server of its own."""

import errno
import logging
import os
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from hashlib import blake2b
from pathlib import Path

import anyio

from ..errors import Busy

logger = logging.getLogger(__name__)

_FILES = 256  # names share them; who waits for another name's lock waits for one change
_SECONDS = 20.0
_TAKEN = {errno.EWOULDBLOCK, errno.EAGAIN, errno.EACCES, errno.EDEADLK}
_PAUSES = (0.002, 0.05)  # seconds between two tries: at first, and at most

if sys.platform == "win32":
    import msvcrt

    def _try_lock(file: int) -> None:
        msvcrt.locking(file, msvcrt.LK_NBLCK, 1)

else:
    import fcntl

    def _try_lock(file: int) -> None:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)


class FileLocks:
    """Locks by name, as files in a folder that is this user's. A process that ends gives up what it held."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def open(self) -> None:
        """Raises `OSError` where there can't be such a folder."""
        for folder in (self._folder.parent, self._folder):
            folder.mkdir(parents=True, exist_ok=True, mode=0o700)

    @asynccontextmanager
    async def held(self, name: str) -> AsyncGenerator[None]:
        """Raises `Busy` if another process holds it for long. Where there is no file to lock, nobody is waited for."""
        digest = blake2b(name.encode(errors="backslashreplace"), digest_size=1).digest()
        path = self._folder / f"{int.from_bytes(digest) % _FILES:02x}.lock"
        try:
            file = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        except OSError as error:
            logger.warning("Changes by other processes can't be waited for: %s", error)
            yield
            return
        try:
            await _locked(file)
            yield
        finally:
            os.close(file)


async def _locked(file: int) -> None:
    pause, most = _PAUSES
    with anyio.move_on_after(_SECONDS):
        while True:
            try:
                _try_lock(file)
                return
            except OSError as error:
                if error.errno not in _TAKEN:  # a filesystem without locks
                    logger.warning("Changes by other processes can't be waited for: %s", error)
                    return
                await anyio.sleep(pause)
                pause = min(2 * pause, most)
    raise Busy("another program on this machine is changing this session. Try again in a few seconds.")
