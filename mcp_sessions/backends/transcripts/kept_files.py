"""Copies of the files of sessions, which stay when the program that wrote the files removes them.

The copies are in a folder with the same layout as the program's own, so that they are found and read in the same way.
They are hard links where the filesystem allows it, so what is appended to a file is in its copy at once. Elsewhere,
they have the bytes that a file had when `keep` was called last.
"""

import os
import stat
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from ...errors import Unsupported
from .file_copies import file_error, is_continued, is_unchanged, link_or_copy, newer_file_error
from .file_creation import unfinished_path

_MARKER = "renewed"
_TRANSCRIPT = ".jsonl"


@dataclass(frozen=True, slots=True)
class KeptFiles:
    """The copies in `folder` of files in `root`.

    In the methods, the first path is the file without which the others are no session. It is made or removed last, so
    after a kill, a session has all of its copies or can be kept or released again.
    """

    folder: Path
    root: Path

    def keep(self, paths: Sequence[Path]) -> None:
        """Make or renew the copies of a session's files.

        The copy of a transcript stays as it is if the transcript does not continue it: the program removed the file
        and began a new one. Raise `Unsupported` if the first file is a link, of which there is no copy, and
        `Unavailable` if a copy can't be written.
        """
        try:
            if not stat.S_ISREG(paths[0].lstat().st_mode):
                raise Unsupported("the transcript is a link or another special file, of which no copy is kept.")
            self.folder.mkdir(parents=True, exist_ok=True, mode=0o700)
            for path in reversed(paths):
                with suppress(FileNotFoundError):  # removed meanwhile
                    if stat.S_ISREG(path.lstat().st_mode):
                        self._renew(path)
        except OSError as error:
            raise file_error(error) from error

    def restore(self, copies: Sequence[Path]) -> None:
        """Put the files of a session back from these copies, where the files are missing.

        Raise `Conflict` if there is a transcript that doesn't continue its copy, and `Unavailable` if a file can't be
        written.
        """
        places = [(copy, self._moved(copy, self.folder, self.root)) for copy in copies]
        try:
            missing = [(copy, place) for copy, place in places if not _is_there(copy, place)]
            for copy, place in reversed(missing):
                place.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
                link_or_copy(copy, place)
        except FileExistsError as error:
            raise newer_file_error() from error
        except OSError as error:
            raise file_error(error) from error

    def release(self, copies: Sequence[Path]) -> None:
        """Remove copies. Raise `Unavailable` if one can't be removed."""
        try:
            for copy in reversed(copies):
                copy.unlink(missing_ok=True)
                for folder in copy.parents:
                    if folder == self.folder:
                        break
                    with suppress(OSError):  # it is not empty
                        folder.rmdir()
        except OSError as error:
            raise file_error(error) from error

    def renewed_at(self) -> int:
        """Return when all copies were looked at last, in nanoseconds since 1970, 0 if never."""
        try:
            return (self.folder / _MARKER).stat().st_mtime_ns
        except OSError:
            return 0

    def mark_renewed(self, moment: int) -> None:
        """Record when all copies were looked at. Without copies, nothing is recorded."""
        with suppress(OSError):
            if self.folder.is_dir():
                (self.folder / _MARKER).touch(mode=0o600)
                os.utime(self.folder / _MARKER, ns=(moment, moment))

    def is_continued(self, copies: Sequence[Path]) -> bool:
        """Return whether all of the transcripts continue their copies, and nothing is lost if these are removed."""
        try:
            return all(is_continued(copy, self._moved(copy, self.folder, self.root)) for copy in transcripts_in(copies))
        except FileNotFoundError:
            return False
        except OSError as error:
            raise file_error(error) from error

    def _renew(self, path: Path) -> None:
        copy = self._moved(path, self.root, self.folder)
        with suppress(FileNotFoundError):
            if is_unchanged(copy, path) or (path.suffix == _TRANSCRIPT and not is_continued(copy, path)):
                return
        new = unfinished_path(copy)
        try:
            copy.parent.mkdir(parents=True, exist_ok=True, mode=0o700)
            link_or_copy(path, new)
            new.replace(copy)
        finally:
            new.unlink(missing_ok=True)

    def _moved(self, path: Path, source: Path, target: Path) -> Path:
        return target / os.path.relpath(path, source)


def transcripts_in(paths: Sequence[Path]) -> list[Path]:
    """Return those of the files that are transcripts."""
    return [path for path in paths if path.suffix == _TRANSCRIPT]


def _is_there(copy: Path, place: Path) -> bool:
    """Return whether a file is in its place. Raise `Conflict` if a transcript that is another one is there."""
    try:
        place.stat()
        if place.suffix != _TRANSCRIPT or is_continued(copy, place):
            return True
    except FileNotFoundError:
        return False
    raise newer_file_error()
