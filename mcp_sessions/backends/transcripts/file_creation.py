"""Creating a file that is seen only when it is complete."""

import os
import time
from collections.abc import Generator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

from ...errors import Unavailable

_UNFINISHED = ".mcp-sessions-unfinished"
_ABANDONED_AFTER = 60 * 60
"""The seconds after which an unfinished file belongs to a process that was killed."""


@contextmanager
def created_file(path: Path) -> Generator[BinaryIO]:
    """Yield a file, only for this user, that appears at `path` at the end of the block, unless that raises an error.

    There must be no other file at `path`. Raise `Unavailable` if the file can't be written.
    """
    unfinished = path.with_name(f".{path.name}{_UNFINISHED}")
    try:
        _remove_abandoned(path.parent)
        descriptor = os.open(unfinished, os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0), 0o600)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(file.fileno())
            unfinished.rename(path)
        except BaseException:
            with suppress(OSError):
                unfinished.unlink()
            raise
    except OSError as error:
        raise Unavailable(
            f"the file of the new session can't be written ({error.strerror}). Check permissions and the disk."
        ) from error


def _remove_abandoned(folder: Path) -> None:
    for path in folder.glob(f".*{_UNFINISHED}"):
        with suppress(OSError):
            if path.stat().st_mtime < time.time() - _ABANDONED_AFTER:
                path.unlink()
