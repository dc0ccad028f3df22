"""A trash for the files of deleted sessions, from which they can be restored byte for byte for some days.

An entry is a folder with all files of one session and a list of them. It has its final name only when it is complete,
and no file is removed from its place before. So after a kill, either all files are in their places, or all of them are
in the trash. The files are hard links where the filesystem allows it: what another program appends meanwhile is in the
trash too. Otherwise, they are copies.
"""

import json
import os
import shutil
import stat
import time
from collections.abc import Iterator, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple
from uuid import uuid4

from ...errors import Conflict, NotFound, Unavailable, Unsupported
from ...json_documents import is_array
from .file_memory import FileState
from .lines import parse

_LIST = "files.json"
_INCOMPLETE = "."
_ABANDONED_AFTER = 60 * 60
"""The seconds after which an incomplete entry belongs to a process that was killed."""
_DAY = 24 * 60 * 60


class Entry(NamedTuple):
    """A deleted session: its folder in the trash, and the paths of its files in the system's folder."""

    folder: Path
    paths: Sequence[str]


@dataclass(frozen=True, slots=True)
class Trash:
    """The trash in `folder` for the files in `root`, which are kept for `days`."""

    folder: Path
    root: Path
    days: int

    def put(self, session_id: str, paths: Sequence[Path]) -> None:
        """Move the files of a session to the trash. The first path is the file without which it is not a session.

        Raise `Unsupported` if one is no regular file, `Conflict` if one is changed meanwhile, and `Unavailable` if the
        trash can't be written.
        """
        try:
            states = [_state_of(path) for path in paths]
            folder = self._add(session_id, paths)
            entry = Entry(folder, [os.path.relpath(path, self.root) for path in paths])
            is_moved = False
            try:
                is_moved = self._remove_originals(entry, states)
            finally:
                if not is_moved and paths[0].exists():
                    _remove_tree(folder)
            if not is_moved:
                raise Conflict("the session was changed while it was deleted. Read it again, then repeat the deletion.")
        except FileNotFoundError as error:
            raise Conflict("the session's files were changed while it was deleted. Try again.") from error
        except OSError as error:
            raise unavailable(error) from error

    def _add(self, session_id: str, paths: Sequence[Path]) -> Path:
        self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
        incomplete = self.folder / f"{_INCOMPLETE}{uuid4()}"
        incomplete.mkdir(mode=0o700)
        relative = [os.path.relpath(path, self.root) for path in paths]
        try:
            for number, path in enumerate(paths):
                link_or_copy(path, incomplete / str(number))
            with (incomplete / _LIST).open("x", encoding="utf-8", errors="surrogatepass") as file:
                json.dump({"session_id": session_id, "paths": relative}, file)
                file.flush()
                os.fsync(file.fileno())
            return incomplete.rename(self.folder / f"{session_id}.{time.time_ns()}")
        except BaseException:
            shutil.rmtree(incomplete, ignore_errors=True)
            raise

    def find(self, session_id: str) -> Entry | None:
        """Return what was deleted last of a session, None if nothing of it is in the trash."""
        return max(self._entries(f"{session_id}."), key=lambda entry: _deleted_at(entry.folder), default=None)

    def restore(self, entry: Entry) -> None:
        """Move the files of an entry back to their places. The file that makes them a session comes last.

        Raise `Conflict` if another file is in the place of one, and `Unavailable` if one can't be written.
        """
        places = [(entry.folder / str(number), self.root / path) for number, path in enumerate(entry.paths)]
        try:
            missing = [(stored, place) for stored, place in places if not _is_there(stored, place)]
            for stored, place in reversed(missing):
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                link_or_copy(stored, place)
            _remove_tree(entry.folder)
        except FileExistsError as error:
            raise taken() from error
        except FileNotFoundError as error:
            raise NotFound("the deleted session is no longer in the trash.") from error
        except OSError as error:
            raise unavailable(error) from error

    def remove(self, entry: Entry) -> None:
        """Remove an entry, so that it can't be restored any more."""
        _remove_tree(entry.folder)

    def remove_old(self) -> None:
        """Remove entries that are too old, and incomplete ones of processes that were killed."""
        with suppress(OSError):
            for folder in self.folder.iterdir():
                is_incomplete = folder.name.startswith(_INCOMPLETE)
                since = folder.stat().st_mtime if is_incomplete else _deleted_at(folder) / 1e9
                if since < time.time() - (_ABANDONED_AFTER if is_incomplete else self.days * _DAY):
                    _remove_tree(folder)

    def interrupted(self) -> list[str]:
        """Return the sessions of which some files may be in their places, after a process was killed."""
        return [
            entry.folder.name.partition(".")[0]
            for entry in self._entries("")
            if any((self.root / path).exists() for path in entry.paths[1:])
            and not (self.root / entry.paths[0]).exists()
        ]

    def finish(self, session_id: str) -> None:
        """Remove what is in the trash of a session from its place, unless the session is there again.

        Nothing else may change the session meanwhile: one that is just being restored looks like one whose deletion was
        interrupted.
        """
        entry = self.find(session_id)
        if entry is not None and not (self.root / entry.paths[0]).exists():
            with suppress(OSError):
                self._remove_originals(entry, [])

    def _entries(self, prefix: str) -> Iterator[Entry]:
        with suppress(OSError):
            for folder in self.folder.iterdir():
                if folder.name.startswith(prefix) and not folder.name.startswith(_INCOMPLETE):
                    with suppress(OSError):
                        fields = parse((folder / _LIST).read_bytes()) or {}
                        paths = fields.get("paths")
                        if is_array(paths) and paths:
                            yield Entry(folder, [str(path) for path in paths])

    def _remove_originals(self, entry: Entry, states: Sequence[FileState]) -> bool:
        """Remove the files that are in the trash from their places. Return whether the first one could be removed.

        A file that is another one than in the trash stays. `states` are those of the files before they were copied.
        """
        for number, path in enumerate(entry.paths):
            stored, place = entry.folder / str(number), self.root / path
            try:
                is_copy = not place.samefile(stored)
                is_same = not is_copy or (
                    _state_of(place) == states[number] if states else _has_same_bytes(place, stored)
                )
                if is_same:
                    place.unlink()
            except (OSError, Unsupported) as error:  # what stays of the others is removed at the next start
                if number == 0 and not isinstance(error, FileNotFoundError):
                    raise
                is_same = False
            if number == 0 and states and not is_same:
                return False
        first, *others = (self.root / path for path in entry.paths)
        for folder in sorted({parent for path in others for parent in path.parents} - {*first.parents}, reverse=True):
            with suppress(OSError):  # it is not empty
                folder.rmdir()
        return True


def link_or_copy(source: Path, target: Path) -> None:
    """Make a file at another path, with the same bytes and time. Raise `FileExistsError` if there is one."""
    try:
        os.link(source, target)
    except FileExistsError:
        raise
    except OSError:
        unfinished = target.with_name(f".{target.name}.{uuid4()}")
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | getattr(os, "O_BINARY", 0)
            with source.open("rb") as found, os.fdopen(os.open(unfinished, flags, 0o600), "wb") as copy:
                shutil.copyfileobj(found, copy)
                copy.flush()
                os.fsync(copy.fileno())
            shutil.copystat(source, unfinished)
            if target.exists():
                raise FileExistsError(target) from None
            unfinished.rename(target)
        finally:
            unfinished.unlink(missing_ok=True)


def _state_of(path: Path) -> FileState:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise Unsupported("a file of this session is a link or another special file, which the trash can't hold.")
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns)


def _is_there(stored: Path, place: Path) -> bool:
    """Return whether a file is in its place already. Raise `Conflict` if another one is."""
    try:
        if place.samefile(stored) or _has_same_bytes(place, stored):
            return True
    except FileNotFoundError:
        stored.stat()
        return False
    raise taken()


def _has_same_bytes(path: Path, other: Path) -> bool:
    if path.stat().st_size != other.stat().st_size:
        return False
    with path.open("rb") as file, other.open("rb") as another:
        while data := file.read(1024 * 1024):
            if data != another.read(1024 * 1024):
                return False
    return True


def _deleted_at(folder: Path) -> int:
    """Return when an entry was made, in nanoseconds since 1970."""
    digits = folder.name.rpartition(".")[2]
    return int(digits) if digits.isdecimal() else 0


def _remove_tree(folder: Path) -> None:
    """Remove an entry. It is incomplete from the first step on."""
    removed = folder if folder.name.startswith(_INCOMPLETE) else folder.with_name(f"{_INCOMPLETE}{uuid4()}")
    if removed != folder:
        folder.rename(removed)
    shutil.rmtree(removed, ignore_errors=True)


def taken() -> Conflict:
    """Return the error for a file that can't be restored, since there is another one."""
    return Conflict(
        "there is something newer in the place of this session. Delete or rename that first, then restore it."
    )


def unavailable(error: OSError) -> Unavailable:
    """Return the error for files that can't be moved or copied."""
    return Unavailable(
        f"the session's files can't be moved or copied ({error.strerror}). Check permissions and the disk."
    )
