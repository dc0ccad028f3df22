"""Codex's home: where the files of threads are.

`sessions/YYYY/MM/DD/rollout-TIME-THREAD.jsonl` is a thread, and `archived_sessions/rollout-….jsonl` an archived one.
After a revert, a thread has a further file, `rollout-TIME-THREAD_SEGMENT.jsonl`: the newest is the thread as it is now,
and refers to the older ones. Codex may compress a file to `.jsonl.zst`. Only files with such names are opened,
and no link that leads out of the home is followed.
"""

import os
import re
import time
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

from ... import cursors
from ...errors import NotFound, Unavailable
from ..transcript_feed import FileState
from ..transcripts.folder_memory import FolderMemory

_UUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_is_thread_id = re.compile(_UUID).fullmatch
_match_name = re.compile(rf"(rollout-[0-9T:-]{{1,40}}-({_UUID})(?:_({_UUID}))?)\.jsonl(\.zst)?").fullmatch
_DEPTH = 3
"""Year, month and day: how deep the folders of `sessions` are."""
_SETTLED = 2 * 10**9
"""In nanoseconds: only if a folder's last change is older than this does every further change get another time."""


class Rollout(NamedTuple):
    """A file of a thread.

    `path` is a string, since making a `Path` for each of thousands of files takes longer than finding them.
    """

    segment: str
    """The id of the segment, "" for the first file of a thread."""
    stem: str
    """The file's name without its extension."""
    is_plain: bool
    """Whether the file is not compressed."""
    path: str
    is_archived: bool
    thread_id: str


@dataclass(slots=True)
class Thread:
    """The files of a thread: usually one, one for each segment, or copies. `digest` identifies it in cursors."""

    id: str
    files: list[Rollout]
    digest: int

    def segments(self, recorded_path: str = "") -> list[Rollout]:
        """Return one file of each segment, oldest first. The last one is the thread as it is now.

        Of several copies, this is the one that the database names (`recorded_path`), else the newest by name. Of a
        plain and a compressed file of the same name, the plain one counts.
        """
        if len(self.files) == 1:
            return self.files

        def rank(file: Rollout) -> tuple[bool, str, bool, str]:
            return _ends_alike(file.path, recorded_path), file.stem, file.is_plain, file.path

        found = {file.segment: file for file in sorted(self.files, key=rank)}
        return [found[segment] for segment in sorted(found)]


@dataclass(frozen=True, slots=True)
class HomeContents:
    """The threads that were found, by id, and the number of files and folders that could not be read.

    `segments` has the threads by the ids of their further files.
    """

    threads: Mapping[str, Thread]
    segments: Mapping[str, Thread]
    unreadable: int


@dataclass(frozen=True, slots=True)
class _Folder:
    """The contents of a folder. `has_links`: they may change although the folder itself doesn't.

    `state` has the folder's inode and time of change, None if the folder must be read again.
    """

    files: Sequence[Rollout] = ()
    folders: Sequence[str] = ()
    unreadable: int = 0
    has_links: bool = False
    state: tuple[int, int] | None = None


_MISSING = _Folder()


def is_thread_id(text: str) -> bool:
    """Return whether a text has the form of a thread's id."""
    return bool(_is_thread_id(text))


class CodexHome:
    """The folder with Codex's configuration and threads. A folder in it is read again only after it has changed."""

    def __init__(self, root: Path) -> None:
        self.root = root
        # one object, since threads share it
        self._last: tuple[Mapping[str, _Folder], HomeContents] = ({}, HomeContents({}, {}, 0))
        self._states: FolderMemory[Mapping[str, FileState]] = FolderMemory()

    def check(self) -> None:
        """Raise `Unavailable` unless the folder exists and can be read."""
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise Unavailable(
                f"Codex's home can't be read ({error.strerror}). Name it in the backend's URL, codex:///PATH, or in "
                "CODEX_HOME."
            ) from error

    def walk(self) -> HomeContents:
        """Return all threads, the same object as before if nothing has changed. No file is opened.

        Raise `Unavailable` if the home itself is missing.
        """
        known, last = self._last
        found: dict[str, _Folder] = {}
        pending = [(str(self.root / "sessions"), _DEPTH), (str(self.root / "archived_sessions"), 0)]
        while pending:
            path, depth = pending.pop()
            folder = self._folder(path, is_archived=path.endswith("archived_sessions"), known=known.get(path))
            found[path] = folder
            pending += [(inner, depth - 1) for inner in folder.folders] if depth else []
        if all(folder is _MISSING for folder in found.values()):
            self.check()
        if len(found) == len(known) and all(found[path] is known.get(path) for path in found):
            return last
        contents = _threads_in(found.values())
        self._last = found, contents
        return contents

    def states(self) -> Sequence[Mapping[str, FileState]]:
        """Return the states of the files that the last walk found, by their paths, for each folder.

        Where no file has changed, this is the same object as before. Files that can't be looked at are left out.
        """
        folders = self._last[0]
        with self._states.current():
            return [
                self._states.get(path) or self._states_in(path, folder)
                for path, folder in folders.items()
                if folder.files
            ]

    def _states_in(self, path: str, folder: _Folder) -> Mapping[str, FileState]:
        states: dict[str, FileState] = {}
        is_remembered = not folder.has_links
        for file in folder.files:
            try:
                found = os.stat(file.path)  # noqa: PTH116 - see `Rollout`
            except OSError:
                is_remembered = False
                continue
            # A file may be changed by way of its other name, in another folder.
            is_remembered = is_remembered and found.st_nlink == 1
            states[file.path] = FileState(found.st_ino, found.st_size, found.st_mtime_ns)
        if is_remembered:
            self._states.put(path, states)
        return states

    def _folder(self, path: str, *, is_archived: bool, known: _Folder | None) -> _Folder:
        """Return the contents of a folder; `known` if the folder is unchanged. A folder that was changed just now may
        be changed again without getting another time.
        """
        try:
            stat = os.stat(path)  # noqa: PTH116 - see `Rollout`
            state = (stat.st_ino, stat.st_mtime_ns)
            if known is not None and known.state == state:
                return known
            is_settled = stat.st_mtime_ns < time.time_ns() - _SETTLED
            folder = self._read(path, is_archived=is_archived)
            return replace(folder, state=state) if is_settled and not folder.has_links else folder
        except (FileNotFoundError, NotADirectoryError):
            return _MISSING
        except OSError:
            self.check()
            return _Folder(unreadable=1)

    def _read(self, path: str, *, is_archived: bool) -> _Folder:
        if os.path.islink(path) and not self._contains(path):  # noqa: PTH114 - see `Rollout`
            return _Folder(unreadable=1, has_links=True)
        files: list[Rollout] = []
        folders: list[str] = []
        unreadable, has_links = 0, False
        with os.scandir(path) as entries:
            for entry in entries:
                if entry.is_symlink():
                    has_links = True
                    if not self._contains(entry.path):
                        unreadable += 1
                        continue
                match = _match_name(entry.name)
                if match is not None and entry.is_file():
                    files.append(Rollout(match[3] or "", match[1], match[4] is None, entry.path, is_archived, match[2]))
                elif match is None and entry.is_dir():
                    folders.append(entry.path)
        return _Folder(files, folders, unreadable, has_links)

    def _contains(self, path: str) -> bool:
        """Return whether a path leads to a place in the home."""
        try:
            return Path(path).resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):
            return False


def _threads_in(folders: Iterable[_Folder]) -> HomeContents:
    threads: dict[str, Thread] = {}
    segments: dict[str, Thread] = {}
    unreadable = 0
    for folder in folders:
        unreadable += folder.unreadable
        for file in folder.files:
            thread = threads.get(file.thread_id)
            if thread is None:
                thread = threads[file.thread_id] = Thread(file.thread_id, [], cursors.digest(file.thread_id, 7))
            thread.files.append(file)
            if file.segment:
                segments[file.segment] = thread
    return HomeContents(threads, segments, unreadable)


def state_of(file: Rollout) -> FileState:
    """Return the state of a file. Raise `NotFound` if it is gone, `Unavailable` if it can't be looked at."""
    try:
        found = os.stat(file.path)  # noqa: PTH116 - see `Rollout`
    except FileNotFoundError as error:
        raise NotFound("the file of this session is gone. Call list_sessions for valid ids.") from error
    except OSError as error:
        raise Unavailable(
            f"the session's file can't be read ({error.strerror}). Check the file's permissions."
        ) from error
    return FileState(found.st_ino, found.st_size, found.st_mtime_ns)


def _ends_alike(path: str, recorded: str) -> bool:
    """Return whether both paths end with the same folder of a day and the same name.

    The beginning of a recorded path may be that of another home, or `\\\\?\\`.
    """
    parts, others = (text.replace("\\", "/").removesuffix(".zst").split("/")[-4:] for text in (path, recorded))
    return parts == others
