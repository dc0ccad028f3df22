"""Codex's home: where the files of threads are.

`sessions/YYYY/MM/DD/rollout-TIME-THREAD.jsonl` is a thread, and `archived_sessions/rollout-….jsonl` an archived one.
After a revert, a thread has a further file, `rollout-TIME-THREAD_SEGMENT.jsonl`: the newest is the thread as it is now,
and refers to the older ones. Codex may pack a file as `.jsonl.zst`. Only files with names of these forms are opened,
and no link that leads out of the home is followed.
"""

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import NamedTuple

from ...errors import NotFound, Unavailable
from ..transcripts.file_memory import FileState

_UUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_is_thread_id = re.compile(_UUID).fullmatch
_match_name = re.compile(rf"(rollout-[0-9T:-]{{1,40}}-({_UUID})(?:_({_UUID}))?)\.jsonl(\.zst)?").fullmatch
_DEPTH = 3
"""Year, month and day: how deep the folders of `sessions` are."""


class Rollout(NamedTuple):
    """A file of a thread.

    `path` is a text, since making a `Path` for each of thousands of files takes longer than finding them.
    """

    segment: str
    """The id of the segment, "" for the first file of a thread."""
    stem: str
    """The file's name without its extension."""
    is_plain: bool
    """Whether the file is not packed."""
    path: str
    is_archived: bool


@dataclass(slots=True)
class Thread:
    """The files of a thread: usually one, one for each segment, or copies."""

    id: str
    files: list[Rollout]

    def segments(self, recorded_path: str = "") -> list[Rollout]:
        """Return one file of each segment, oldest first. The last one is the thread as it is now.

        Of several copies, this is the one that the database names (`recorded_path`), else the newest by name. Of a
        plain and a packed file of the same name, the plain one counts.
        """
        if len(self.files) == 1:
            return self.files

        def rank(file: Rollout) -> tuple[bool, str, bool, str]:
            return _ends_alike(file.path, recorded_path), file.stem, file.is_plain, file.path

        found = {file.segment: file for file in sorted(self.files, key=rank)}
        return [found[segment] for segment in sorted(found)]


@dataclass(slots=True)
class Walk:
    """The threads that were found by their ids, and the number of files and folders that could not be read."""

    threads: dict[str, Thread] = field(default_factory=dict[str, Thread])
    unreadable: int = 0


def is_thread_id(text: str) -> bool:
    """Return whether a text has the form of a thread's id."""
    return bool(_is_thread_id(text))


@dataclass(frozen=True, slots=True)
class CodexHome:
    """The folder with Codex's configuration and threads."""

    root: Path

    def check(self) -> None:
        """Raise `Unavailable` unless the folder exists and can be read."""
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise Unavailable(
                f"Codex's home can't be read ({error.strerror}). Name it in the backend's URL, codex:///PATH, or in "
                "CODEX_HOME."
            ) from error

    def walk(self) -> Walk:
        """Return all threads. No file is opened."""
        walk = Walk()
        for folder, depth in (("sessions", _DEPTH), ("archived_sessions", 0)):
            place = self.root / folder
            if place.is_symlink() and not self._contains(place):
                walk.unreadable += 1
                continue
            for name, path in self._files(str(place), depth, walk):
                match = _match_name(name)
                if match is not None:
                    file = Rollout(match[3] or "", match[1], match[4] is None, path, is_archived=depth == 0)
                    thread = walk.threads.get(match[2])
                    if thread is None:
                        thread = walk.threads[match[2]] = Thread(match[2], [])
                    thread.files.append(file)
        return walk

    def _files(self, folder: str, depth: int, walk: Walk) -> Iterator[tuple[str, str]]:
        """Yield name and path of the files in a folder, and in its folders as deep as `depth`."""
        folders: list[str] = []
        try:
            with os.scandir(folder) as entries:
                for entry in entries:
                    if entry.is_symlink() and not self._contains(entry.path):
                        walk.unreadable += 1
                    elif entry.name.startswith("rollout-"):
                        if entry.is_file():
                            yield entry.name, entry.path
                    elif depth and entry.is_dir():
                        folders.append(entry.path)
        except (FileNotFoundError, NotADirectoryError):
            return
        except OSError:
            self.check()
            walk.unreadable += 1
        for inner in folders:
            yield from self._files(inner, depth - 1, walk)

    def _contains(self, path: str | Path) -> bool:
        """Return whether a path leads to a place in the home."""
        try:
            return Path(path).resolve().is_relative_to(self.root.resolve())
        except (OSError, RuntimeError):
            return False


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

    The begin of a recorded path may be that of another home, or `\\\\?\\`.
    """
    parts, others = (text.replace("\\", "/").removesuffix(".zst").split("/")[-4:] for text in (path, recorded))
    return parts == others
