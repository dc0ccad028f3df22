"""The parts of files that a thread consists of, newest first.

A fork and a reverted thread are stored as the beginning of another file, their base, and a file with what followed. The
base may have a base itself.
"""

from collections.abc import Callable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, field
from typing import NamedTuple

from ... import cursors
from ...errors import SessionsError, Timeout, Unsupported
from ..transcripts.lines import TranscriptFile, parse
from ..transcripts.values import count_in
from .home import Rollout, Thread, is_thread_id
from .rollout import RolloutBase, SessionMeta, open_rollout, read_meta

_MISSING = "The beginning of this conversation is missing: it is in another file, which is gone or damaged."
_COMPRESSED = "The beginning of this conversation is in a compressed file. Install mcp-sessions[zstd] to read it."
_TOO_LONG = "The beginning of this conversation is not shown, since it is in too many files."
_MOST_PARTS = 200


class RolloutPart(NamedTuple):
    """The lines of a file before `end`. `digest` identifies the file in cursors."""

    thread_id: str
    file: Rollout
    opened: TranscriptFile
    meta: SessionMeta
    end: int
    digest: int

    @classmethod
    def of(cls, thread_id: str, file: Rollout, opened: TranscriptFile, meta: SessionMeta, end: int) -> "RolloutPart":
        return cls(thread_id, file, opened, meta, end, cursors.digest(file.stem, 5))


@dataclass(slots=True)
class Lineage:
    """The parts of a thread. A file is opened when reading first reaches it, and closed with `files`.

    `find` returns the thread that has a file with an id, None if there is none. Reading adds to `notes` what readers
    should know.
    """

    thread: Thread
    file: Rollout
    find: Callable[[str], Thread | None]
    stops_at: float
    files: ExitStack
    notes: list[str] = field(default_factory=list[str])
    _opened: list[RolloutPart] = field(default_factory=list[RolloutPart])

    def parts(self) -> Iterator[RolloutPart]:
        """Yield the parts, the one with the newest messages first."""
        if not self._opened:
            opened = self.files.enter_context(open_rollout(self.file, self.stops_at))
            meta = read_meta(opened) or SessionMeta()
            self._opened.append(RolloutPart.of(self.thread.id, self.file, opened, meta, opened.size))
        for part in self._opened:  # the loop goes on with what is appended
            yield part
            if part is self._opened[-1] and (older := self._older(part)):
                self._opened.append(older)

    def _older(self, part: RolloutPart) -> RolloutPart | None:
        """Open the base of the oldest part. Return None, and add a note, if there is one that can't be read."""
        if part.meta.base is None:
            return None
        older = self._part(part.meta.base) if len(self._opened) < _MOST_PARTS else None
        if older is None:
            self._add_note(_TOO_LONG if len(self._opened) == _MOST_PARTS else _MISSING)
        return older

    def end_of_shared(self, part: RolloutPart) -> int:
        """Return the end of those lines of a part that the thread of its file shows too, 0 if there are none.

        The thread that a fork was made from shows less of its older file after a revert.
        """
        thread = self.find(part.thread_id) if part.thread_id != self.thread.id else None
        if thread is None:
            return 0
        newest = thread.segments()[-1]
        if newest.stem == part.file.stem:
            return part.end
        try:
            with ExitStack() as files:
                shown = Lineage(thread, newest, self.find, self.stops_at, files).parts()
                return next((min(part.end, other.end) for other in shown if other.file.stem == part.file.stem), 0)
        except Timeout:
            raise
        except SessionsError:
            return 0  # nothing can be shown of it

    def bases(self) -> Sequence[str]:
        """Return the threads whose files decide which messages are shared, also those that are missing."""
        found: dict[str, None] = {}
        for part in self.parts():
            if self.end_of_shared(part):
                break
            if part.meta.base and is_thread_id(part.meta.base.file_id):
                thread = self.find(part.meta.base.file_id)
                found[thread.id if thread else part.meta.base.file_id] = None
        return [id for id in found if id != self.thread.id]

    def _part(self, base: RolloutBase) -> RolloutPart | None:
        """Return the beginning of the base's file, None if there is no such file."""
        used = {part.file.stem for part in self._opened}
        thread = self.find(base.file_id)
        files = thread.segments() if thread else []
        for file in reversed(files):
            part = self._open(base, file) if file.stem not in used else None
            if part is not None:
                return part
        return None

    def _open(self, base: RolloutBase, file: Rollout) -> RolloutPart | None:
        """Return the beginning of a file, None if the base ends elsewhere or the file can't be read."""
        files = ExitStack()
        try:
            opened = files.enter_context(open_rollout(file, self.stops_at))
            meta = read_meta(opened)
            if meta is not None and _ends_line(opened, base):
                self.files.push(files.pop_all())
                return RolloutPart.of(file.thread_id, file, opened, meta, base.end_offset)
        except Timeout:
            raise
        except Unsupported:
            self._add_note(_COMPRESSED)
        except SessionsError:
            pass  # another file may be the base
        finally:
            files.close()
        return None

    def _add_note(self, note: str) -> None:
        if note not in self.notes and not (note == _MISSING and _COMPRESSED in self.notes):
            self.notes.append(note)


def _ends_line(opened: TranscriptFile, base: RolloutBase) -> bool:
    """Return whether the last line of the base ends in this file at the offset that the fork names."""
    if base.end_offset > opened.size:
        return False
    line = next(opened.backward(base.end_offset), None)
    record = parse(line.data) if line is not None and line.end + 1 == base.end_offset else None
    return record is not None and count_in(record, "ordinal") == base.end_ordinal - 1
