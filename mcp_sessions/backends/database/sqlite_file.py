"""The store's file: made for this user alone, and watched for being deleted or replaced while it is open."""

import os
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

from ...errors import Unavailable, quoted

Identity = tuple[int, int]
NOWHERE: Identity = (0, 0)
"""The identity of no file."""


def identity_of(path: str) -> Identity | None:
    """Return the device and inode of the file that is at a path now, None if there is none.

    The file is never opened here: closing it would drop the locks that SQLite holds on it (POSIX).
    Raise `Unavailable` if the path can't be looked at.
    """
    try:
        found = os.stat(path)  # noqa: PTH116 - twice as fast as `Path.stat`, before every call
    except (FileNotFoundError, NotADirectoryError):
        return None
    except OSError as error:
        raise Unavailable(
            f"the store's file can't be looked at ({error.strerror}); nothing was changed. Check its permissions."
        ) from error
    return found.st_dev, found.st_ino


def refuse_logs(path: str, *, is_wal: bool) -> None:
    """Raise `Unavailable` if a log of the file that was here before could get into the one that is here now.

    `is_wal`: the file before has a write-ahead log, which belongs to every program that still has that file open.
    SQLite would write what a log holds into the new file (https://sqlite.org/howtocorrupt.html, "unlinked or renamed").
    """
    log = Path(f"{path}-wal" if is_wal else f"{path}-journal")
    if is_wal or (log.exists() and log.stat().st_size):
        raise Unavailable(
            "the store's file was replaced while it was in use, and its log may still be there; nothing was changed. "
            f"Stop every program that uses the store, put the file back without {quoted(log.name)}, then start again."
        )


@contextmanager
def private_to_this_user(path: str) -> Generator[None]:
    """Make the folder of a path, and let only this user open the files made meanwhile.

    Raise `Unavailable` if the folder can't be made.
    """
    # The file and its journals are SQLite's alone to open, so their mode can only be set by the umask.
    umask = os.umask(0o077)
    try:
        if path != ":memory:":
            Path(path).parent.mkdir(parents=True, exist_ok=True)
        yield
    except OSError as error:
        raise Unavailable(f"the store's folder can't be made ({error.strerror}). Name another in --backend.") from error
    finally:
        os.umask(umask)
