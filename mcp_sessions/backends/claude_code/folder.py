"""Claude Code's folder: where the transcripts of sessions and of their subagents are.

`projects/KEY/UUID.jsonl` is a session. KEY can't be converted back to a path, and different paths have the same key,
so nothing is derived from it. Subagents are in `projects/KEY/UUID/subagents`, and before version 2.1 beside the
sessions as `agent-….jsonl`. Only names of these forms are ever joined to a path.
"""

import operator
import os
import re
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import NamedTuple

from ...errors import NotFound, Unavailable, quoted
from ..transcript_feed import FileState
from ..transcripts.folder_memory import FolderMemory

_UUID = "[0-9a-f]{8}-(?:[0-9a-f]{4}-){3}[0-9a-f]{12}"
_is_session_file = re.compile(rf"{_UUID}\.jsonl").fullmatch
_SESSION_ID = re.compile(_UUID)
_AGENT_FILE = re.compile(r"(agent-[0-9A-Za-z_-]{1,64})\.jsonl")


class SessionFile(NamedTuple):
    """The transcript of a session or of a subagent, and its state when it was found.

    `mtime` is in nanoseconds. It comes first, so that files are ordered by it. `path` is a string, since making a
    `Path` for each of thousands of files takes longer than finding them.
    """

    mtime: int
    id: str
    path: str
    state: FileState
    is_kept: bool = False
    """Whether this is our copy of a transcript that Claude Code has removed."""


_FoundFile = tuple[FileState, str]
"""The state of a transcript, and the folder of its project. A search looks at thousands of transcripts and opens ten,
so a `SessionFile` is made only when it is asked for.
"""
_FoundFiles = Mapping[str, _FoundFile]
_NO_FILES: _FoundFiles = {}


@dataclass(frozen=True)
class FolderContents:
    """The transcripts that were found, and copies of those that are missing, by the ids of the sessions.

    `unreadable`: how many could not be looked at. `read`: what was read of each project, from which this was made.
    """

    found_files: _FoundFiles = field(default_factory=dict[str, _FoundFile])
    found_copies: _FoundFiles = field(default_factory=dict[str, _FoundFile])
    unreadable: int = 0
    read: Sequence[_FoundFiles] = ()

    @cached_property
    def files(self) -> Mapping[str, SessionFile]:
        return {id: _session_file(id, *file) for id, file in self.found_files.items()}

    @cached_property
    def kept(self) -> Mapping[str, SessionFile]:
        return {id: _session_file(id, *file, is_kept=True) for id, file in self.found_copies.items()}

    @cached_property
    def all(self) -> Mapping[str, SessionFile]:
        return {**self.files, **self.kept}

    @cached_property
    def states(self) -> Mapping[str, FileState]:
        return {id: state for id, (state, _) in {**self.found_files, **self.found_copies}.items()}

    def newest_first(self, *, is_kept: bool | None = None) -> Iterator[SessionFile]:
        """Yield the transcripts, the one that was written to last first. `is_kept`: see `Catalogue.newest_first`."""
        files = _NO_FILES if is_kept is True else self.found_files
        copies = _NO_FILES if is_kept is False else self.found_copies
        states = {id: state for id, (state, _) in {**files, **copies}.items()}
        for _, id in sorted([(state.mtime, id) for id, state in states.items()], reverse=True):
            yield self.file(id)

    def file(self, session_id: str) -> SessionFile:
        """Return the transcript of a session. Raise `KeyError` if the session was not found."""
        file = self.found_files.get(session_id)
        if file is not None:
            return _session_file(session_id, *file)
        return _session_file(session_id, *self.found_copies[session_id], is_kept=True)


def is_session_id(text: str) -> bool:
    """Return whether a text has the form of a session's id."""
    return bool(_SESSION_ID.fullmatch(text))


@dataclass(slots=True)
class ClaudeFolder:
    """The folder with Claude Code's configuration and sessions.

    `kept` has copies of transcripts in the same layout. Where a transcript is missing, its copy is found.
    """

    root: Path
    kept: "ClaudeFolder | None" = None
    memory: FolderMemory[_FoundFiles] = field(default_factory=FolderMemory[_FoundFiles])
    _last: FolderContents = field(default_factory=FolderContents)

    @property
    def projects(self) -> Path:
        return self.root / "projects"

    def check(self) -> None:
        """Raise `Unavailable` unless the folder exists and can be read."""
        try:
            os.scandir(self.root).close()
        except OSError as error:
            raise Unavailable(
                f"Claude Code's folder can't be read ({error.strerror}). Name it in the backend's URL, "
                "claude-code:///PATH, or in CLAUDE_CONFIG_DIR."
            ) from error

    def walk(self) -> FolderContents:
        """Return all sessions, each once; the same object as before if nothing has changed.

        Of two files with the same id, return the one that was written to last. Raise `Unavailable` if the folder itself
        is missing, also if there are copies: else these would look like all sessions.
        """
        errors: list[OSError] = []
        with self.memory.current():
            read = [self.memory.get(path) or self._sessions_in(path, errors) for path in self._project_folders(errors)]
        if self.kept is not None and not any(read):  # a folder of copies is made with the first copy
            self.check()
        copies = self.kept.walk().found_files if self.kept else _NO_FILES
        read.append(copies)
        last = self._last
        is_unchanged = len(read) == len(last.read) and all(map(operator.is_, read, last.read))
        if not is_unchanged or last.unreadable != len(errors):
            found = _merged(read[:-1])
            missing = {id: file for id, file in copies.items() if id not in found}
            last = self._last = FolderContents(found, missing, len(errors), read)
        return last

    def _project_folders(self, errors: list[OSError]) -> list[str]:
        try:
            with os.scandir(self.projects) as entries:
                return [entry.path for entry in entries]
        except FileNotFoundError:
            return []
        except OSError as error:
            self.check()
            errors.append(error)
            return []

    def _sessions_in(self, project: str, errors: list[OSError]) -> _FoundFiles:
        files: dict[str, _FoundFile] = {}
        is_remembered = True
        try:
            with os.scandir(project) as entries:
                for entry in entries:
                    if not _is_session_file(entry.name):
                        continue
                    try:
                        stat = entry.stat()
                    except FileNotFoundError:
                        continue  # removed meanwhile
                    except OSError as error:
                        errors.append(error)
                        is_remembered = False
                        continue
                    # A file may be changed by way of its other name, in another folder.
                    is_remembered = is_remembered and stat.st_nlink == 1 and not entry.is_symlink()
                    files[entry.name[:-6]] = _state_of(stat), project
        except (FileNotFoundError, NotADirectoryError):
            return _NO_FILES
        except OSError as error:
            errors.append(error)
            return files
        if is_remembered:
            self.memory.put(project, files)
        return files or _NO_FILES

    def find(self, session_id: str) -> SessionFile:
        """Return the transcript of a session; of several, the one that was written to last.

        Raise `NotFound`, or `Unavailable` if the folder itself is missing.
        """
        found = max(self._named(f"{session_id}.jsonl", session_id), default=None) if is_session_id(session_id) else None
        if found is not None:
            return found
        if self.kept is None:
            raise NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")
        try:
            return self.kept.find(session_id)._replace(is_kept=True)
        except NotFound:
            self.check()
            raise

    def _named(self, name: str, id: str) -> Iterator[SessionFile]:
        for project in self.project_folders():
            file = _find_file(id, os.path.join(project, name))  # noqa: PTH118 - see `SessionFile`
            if file is not None:
                yield file

    def project_folders(self) -> list[str]:
        """Return the folders of all projects."""
        return self._project_folders([])

    def copies(self, session_id: str) -> list[str]:
        """Return the paths of all transcripts with this id, which may be in several projects."""
        return [file.path for file in self._named(f"{session_id}.jsonl", session_id)]

    def agents(self, session_id: str) -> list[SessionFile]:
        """Return transcripts that may be of a session's subagents. Files of Claude Code 2.0 name the session only
        inside.
        """
        found: list[SessionFile] = []
        for project in map(Path, self.project_folders()):
            paths = [*project.glob("agent-*.jsonl"), *(project / session_id / "subagents").rglob("agent-*.jsonl")]
            for path in paths:
                match = _AGENT_FILE.fullmatch(path.name)
                file = _find_file(f"{session_id}/{match[1]}", str(path)) if match else None
                found += [file] if file else []
        ids = {file.id for file in found}
        kept = self.kept.agents(session_id) if self.kept else ()
        return found + [file._replace(is_kept=True) for file in kept if file.id not in ids]


def _merged(read: Iterable[_FoundFiles]) -> _FoundFiles:
    """Return the files of all folders: of those with the same id, the one that was written to last."""
    found: dict[str, _FoundFile] = {}
    for files in read:
        newest = {id: max(found[id], files[id], key=_order_of_find) for id in found.keys() & files.keys()}
        found |= files  # merging dicts takes a tenth of the time of a loop over thousands of files
        found |= newest
    return found


def _order_of_find(file: _FoundFile) -> tuple[int, str]:
    """Return what `find` too orders files of one name by: the time of the last change, then the path."""
    return file[0].mtime, file[1] + os.sep


def _find_file(id: str, path: str) -> SessionFile | None:
    try:
        state = _state_of(os.stat(path))  # noqa: PTH116 - see `SessionFile`
    except OSError:
        return None
    return SessionFile(state.mtime, id, path, state)


def _session_file(id: str, state: FileState, project: str, *, is_kept: bool = False) -> SessionFile:
    path = os.path.join(project, f"{id}.jsonl")  # noqa: PTH118 - see `SessionFile`
    return SessionFile(state.mtime, id, path, state, is_kept)


def _state_of(stat: os.stat_result) -> FileState:
    return FileState(stat.st_ino, stat.st_size, stat.st_mtime_ns)
