"""A trash for the files of deleted sessions, from which they can be restored byte for byte for some days.

An entry is a folder with all files of one session and a list of them. It has its final name only when it is complete,
and no file is removed from its place before. So after a kill, either all files are in their places, or all of them are
in the trash. The files are hard links where the filesystem allows it: what another program appends in the meantime is
in the trash too. Otherwise, they are copies.
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

from ...errors import Conflict, NotFound, Unsupported
from ...json_documents import is_array
from ..transcript_feed import FileState
from .file_copies import file_error, has_same_bytes, is_continued, link_or_copy, newer_file_error
from .lines import parse

_LIST = "files.json"
_INCOMPLETE = "."
_ABANDONED_AFTER = 60 * 60
"""The seconds after which an incomplete entry belongs to a process that was killed."""
_DAY = 24 * 60 * 60


class TrashEntry(NamedTuple):
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
            entry = self._add(session_id, paths)
            is_moved = False
            try:
                is_moved = self._remove_originals(entry, states)
            finally:
                if not is_moved and paths[0].exists():
                    _remove_tree(entry.folder)
            if not is_moved:
                raise Conflict("the session was changed while it was deleted. Read it again, then repeat the deletion.")
        except FileNotFoundError as error:
            raise Conflict("the session's files were changed while it was deleted. Try again.") from error
        except OSError as error:
            raise file_error(error) from error

    def add(self, session_id: str, paths: Sequence[Path]) -> TrashEntry:
        """Put the files of a session into the trash, and leave them in their places. Raise `Unavailable`."""
        try:
            return self._add(session_id, paths)
        except OSError as error:
            raise file_error(error) from error

    def remove(self, entry: TrashEntry) -> None:
        """Remove an entry permanently."""
        with suppress(OSError):
            _remove_tree(entry.folder)

    def _add(self, session_id: str, paths: Sequence[Path]) -> TrashEntry:
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
            return TrashEntry(incomplete.rename(self.folder / f"{session_id}.{time.time_ns()}"), relative)
        except BaseException:
            shutil.rmtree(incomplete, ignore_errors=True)
            raise

    def find(self, session_id: str) -> TrashEntry | None:
        """Return the newest entry of a session, None if there is none."""
        return max(self._entries(f"{session_id}."), key=lambda entry: _deleted_at(entry.folder), default=None)

    def restore(self, entry: TrashEntry) -> None:
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
            raise newer_file_error() from error
        except FileNotFoundError as error:
            raise NotFound("the deleted session is no longer in the trash.") from error
        except OSError as error:
            raise file_error(error) from error

    def remove_old(self) -> None:
        """Remove entries that are too old, and incomplete ones of processes that were killed."""
        with suppress(OSError):
            for folder in self.folder.iterdir():
                is_incomplete = folder.name.startswith(_INCOMPLETE)
                since = folder.stat().st_mtime if is_incomplete else _deleted_at(folder) / 1e9
                if since < time.time() - (_ABANDONED_AFTER if is_incomplete else self.days * _DAY):
                    _remove_tree(folder)

    def session_ids(self) -> set[str]:
        """Return the sessions of which something is in the trash."""
        return {entry.folder.name.partition(".")[0] for entry in self._entries("")}

    def interrupted_sessions(self) -> set[str]:
        """Return the sessions in the trash of which some files are in their places, after a process was killed."""
        return {
            entry.folder.name.partition(".")[0]
            for entry in self._entries("")
            if any((self.root / path).exists() for path in entry.paths)
        }

    def finish(self, session_id: str) -> None:
        """Remove the files of a session that are in the trash from their original places, unless the session is there
        again. Nothing else may change the session at the same time: a session that is being restored looks like one
        whose deletion was interrupted.
        """
        entry = self.find(session_id)
        if entry is not None and not (self.root / entry.paths[0]).exists():
            with suppress(OSError):
                self._remove_originals(entry, [])

    def remove_restored(self, session_id: str) -> None:
        """Remove the entries of which all files are in their places, as a killed process leaves them."""
        for entry in list(self._entries(f"{session_id}.")):
            places = [self.root / path for path in entry.paths]
            with suppress(OSError):
                if all(place.exists() for place in places) and is_continued(entry.folder / "0", places[0]):
                    _remove_tree(entry.folder)

    def contains(self, session_id: str, path: Path) -> bool:
        """Return whether the file, perhaps with more lines, is in the trash. Raise `OSError` if it can't be read."""
        relative = os.path.relpath(path, self.root)
        return any(
            is_continued(path, entry.folder / str(entry.paths.index(relative)))
            for entry in self._entries(f"{session_id}.")
            if relative in entry.paths
        )

    def _entries(self, prefix: str) -> Iterator[TrashEntry]:
        with suppress(OSError):
            for folder in self.folder.iterdir():
                if folder.name.startswith(prefix) and not folder.name.startswith(_INCOMPLETE):
                    with suppress(OSError):
                        fields = parse((folder / _LIST).read_bytes()) or {}
                        paths = fields.get("paths")
                        if is_array(paths) and paths:
                            yield TrashEntry(folder, [str(path) for path in paths])

    def _remove_originals(self, entry: TrashEntry, states: Sequence[FileState]) -> bool:
        """Remove the files that are in the trash from their places. Return whether the first one could be removed.

        A file that differs from the one in the trash stays. `states` are those of the files before they were copied.
        """
        for number, path in enumerate(entry.paths):
            stored, place = entry.folder / str(number), self.root / path
            try:
                is_copy = not place.samefile(stored)
                is_same = not is_copy or (
                    _state_of(place) == states[number] if states else has_same_bytes(place, stored)
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


def _state_of(path: Path) -> FileState:
    found = path.lstat()
    if not stat.S_ISREG(found.st_mode):
        raise Unsupported("a file of this session is a link or another special file, which the trash can't hold.")
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns)


def _is_there(stored: Path, place: Path) -> bool:
    """Return whether a file is in its place already. Raise `Conflict` if another one is."""
    try:
        if place.samefile(stored) or has_same_bytes(place, stored):
            return True
    except FileNotFoundError:
        stored.stat()
        return False
    raise newer_file_error()


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
