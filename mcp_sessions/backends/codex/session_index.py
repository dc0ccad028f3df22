"""Codex's index of names: a line for each time a thread was renamed. The last line of a thread counts."""

import stat
from collections.abc import Mapping
from pathlib import Path

from ...errors import SessionsError, Timeout
from ..transcript_feed import FileState
from ..transcripts.lines import open_transcript, parse
from ..transcripts.values import text_in

_NAME = "session_index.jsonl"
_DAMAGED = "Codex's index of names can't be read, so names of sessions may be missing."
_NO_NAMES: Mapping[str, str] = {}


class SessionIndex:
    """The names of threads by their ids. The index is read again only after it has changed."""

    def __init__(self, home: Path) -> None:
        self.path = home / _NAME
        self._known: tuple[FileState, Mapping[str, str]] | None = None

    def read(self, stops_at: float) -> tuple[Mapping[str, str], str]:
        """Return the names, and a note if the index can't be read."""
        try:
            found = self.path.lstat()
        except OSError:
            return _NO_NAMES, ""
        if not stat.S_ISREG(found.st_mode):
            return _NO_NAMES, ""
        state = FileState(found.st_ino, found.st_size, found.st_mtime_ns)
        if self._known is None or self._known[0] != state:
            try:
                self._known = state, self._read(stops_at)
            except Timeout:
                raise
            except SessionsError:
                return _NO_NAMES, _DAMAGED
        return self._known[1], ""

    def _read(self, stops_at: float) -> Mapping[str, str]:
        names: dict[str, str] = {}
        with open_transcript(self.path, stops_at) as opened:
            for line in opened.forward():
                record = parse(line.data) or {}
                name = text_in(record, "thread_name")
                if name:
                    names[text_in(record, "id")] = name
        return names
