"""Copies and compares the files of sessions: hard links where the filesystem allows it, else copies."""

import os
import shutil
from pathlib import Path

from ...errors import Conflict, Unavailable
from .file_creation import created_file

_CHUNK = 1024 * 1024


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file at another path, with the same bytes and time. Raise `FileExistsError` if there is one."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        with source.open("rb") as found, created_file(target, like=source) as copy:
            shutil.copyfileobj(found, copy)


def has_same_bytes(path: Path, other: Path) -> bool:
    """Return whether two files have the same contents. Raise `OSError`."""
    if path.stat().st_size != other.stat().st_size:
        return False
    with path.open("rb") as file, other.open("rb") as another:
        while data := file.read(_CHUNK):
            if data != another.read(_CHUNK):
                return False
    return True


def is_continued(copy: Path, place: Path) -> bool:
    """Return whether a file has the copied contents, perhaps with more appended since. Raise `OSError`."""
    if is_unchanged(copy, place):
        return True
    if place.stat().st_size < copy.stat().st_size:
        return False
    with copy.open("rb") as file, place.open("rb") as other:
        while data := file.read(_CHUNK):
            if data != other.read(len(data)):
                return False
    return True


def is_unchanged(copy: Path, place: Path) -> bool:
    """Return whether a file is as it was when it was copied, by its size and time. Raise `OSError`."""
    copied, found = copy.stat(), place.stat()
    return (copied.st_size, copied.st_mtime_ns) == (found.st_size, found.st_mtime_ns) or place.samefile(copy)


def newer_file_error() -> Conflict:
    """Return the error for a file that can't be restored, since another file is in its place."""
    return Conflict(
        "there is a newer file in the place of this session. Delete or rename that file, then restore the session."
    )


def file_error(error: OSError) -> Unavailable:
    """Return the error for files that can't be moved or copied."""
    return Unavailable(
        f"the session's files can't be moved or copied ({error.strerror}). Check permissions and the disk."
    )
