"""Creates files that appear only when they are complete, and removes unfinished files of killed processes."""

import os
import shutil
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO
from uuid import uuid4

_UNFINISHED = ".mcp-sessions-unfinished"
_ABANDONED_AFTER = 60 * 60
"""The seconds after which an unfinished file belongs to a process that was killed."""


def unfinished_path(path: Path) -> Path:
    """Return a path beside a file, for its contents until they are complete."""
    return path.with_name(f".{uuid4()}{_UNFINISHED}")


@contextmanager
def created_file(path: Path, *, like: Path | None = None) -> Generator[BinaryIO]:
    """Yield a file, only for this user, that appears at `path` at the end of the block, unless the block raises an
    error.

    It gets the times and permissions of the file `like`. Raise `OSError` if the file can't be written, such as
    `FileExistsError` if there is one at `path`.
    """
    unfinished = unfinished_path(path)
    descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            yield file
            file.flush()
            os.fsync(file.fileno())
        if like is not None:
            shutil.copystat(like, unfinished)
        if path.exists():
            raise FileExistsError(path)
        unfinished.rename(path)
    except BaseException:
        with suppress(OSError):
            unfinished.unlink()
        raise


def remove_abandoned(folder: Path) -> None:
    """Remove the unfinished files of killed processes from a folder and the folders in it.

    A file whose process still writes it was changed in the last hour. Its modification time doesn't show that, since it
    may be the modification time of the file that it copies.
    """
    for parent, _, names in os.walk(folder):
        for name in names:
            if name.startswith(".") and name.endswith(_UNFINISHED):
                with suppress(OSError):
                    if Path(parent, name).lstat().st_ctime < time.time() - _ABANDONED_AFTER:
                        Path(parent, name).unlink()
