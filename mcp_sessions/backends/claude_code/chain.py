"""The conversation in a transcript: the chain of lines from its last message back to its first.

A transcript is a tree, since a user can go back and continue differently. Each line names its parent, and the
conversation is the chain of parents of the last message. A parent stands before its children, so the chain is read from
the end of the file, and only as far as the caller needs.
"""

from collections.abc import Generator, Iterator
from dataclasses import dataclass, field
from typing import NamedTuple

from ... import cursors
from ...errors import Invalid
from ..transcripts.lines import Line, TranscriptFile
from .records import Record, belongs_to_no_conversation, is_torn, may_belong_to_answer, parse_record, read_record

_BROKEN = (
    "Older messages are in the order of the file, since the link to them is missing. Claude Code may not show them."
)
_CUT = "The beginning of this conversation is missing in its file."


class StartMode:
    """Where a chain begins: at the last message, at a line, at the parent of a line, or with the line before it.

    The modes are numbers of a cursor. Python 3.11 is slow to look up the members of an `Enum`.
    """

    NEWEST = 0
    LINE = 1
    PARENT = 2
    PREVIOUS = 3


class ChainStart(NamedTuple):
    """The line where a chain begins, by its offset and a digest of its uuid, and how it begins there."""

    offset: int = 0
    mode: int = StartMode.NEWEST
    digest: int = 0

    @classmethod
    def at(cls, record: Record, mode: int) -> "ChainStart":
        return cls(record.offset, mode, cursors.digest(record.uuid, 5))


class LineSpan(NamedTuple):
    """Where a line begins and ends."""

    offset: int
    end: int


class ChainLink(NamedTuple):
    """A line of the chain, and the lines between it and the next newer one that may belong to an answer.

    `is_in_file_order`: the line was found by its place in the file, since a parent is missing.
    """

    record: Record
    passed: list[LineSpan]
    is_in_file_order: bool = False


@dataclass(slots=True)
class Chain:
    """The chain of a transcript. Reading it adds to `notes` what readers should know about it."""

    file: TranscriptFile
    of_subagent: bool = False
    notes: list[str] = field(default_factory=list[str])

    def links(self, start: ChainStart) -> Iterator[ChainLink]:
        """Yield the lines of the chain, the last one first. Raise `Invalid` if the line of `start` no longer exists."""
        if start.mode == StartMode.NEWEST:
            lines = self._lines(None)
            last = self._find_leaf(lines)
        else:
            last = self._record_at(start)
            lines = self._lines(last.offset)
        if last is None:
            return
        if start.mode in (StartMode.NEWEST, StartMode.LINE):
            yield ChainLink(last, [])
        if start.mode != StartMode.PREVIOUS:
            last = yield from self._parents(last, lines)
            if not last.parent:
                return
        yield from self._in_file_order(last.offset, is_resumed=start.mode == StartMode.PREVIOUS)

    def _record_at(self, start: ChainStart) -> Record:
        line = self.file.line_at(start.offset) if start.mode <= StartMode.PREVIOUS else None
        record = read_record(line) if line else None
        if record is None or cursors.digest(record.uuid, 5) != start.digest:
            raise Invalid('"cursor" points to a message that no longer exists. Leave it out to start from the newest.')
        return record

    def leaf(self) -> Record | None:
        """Return the last message of the conversation, None if it has none."""
        return self._find_leaf(self._lines(None))

    def _find_leaf(self, lines: Iterator[Line]) -> Record | None:
        """Return the last message of the conversation: the last one in the file that ends a branch of the tree.

        Lines after it in its branch, such as attachments, are not shown.
        """
        parents, in_branch = set[str](), set[str]()
        for line in lines:
            record = parse_record(line)
            if record is None:
                continue
            is_end = record.uuid in in_branch or record.uuid not in parents
            if is_end and record.is_shown(of_subagent=self.of_subagent):
                return record
            parents.add(record.parent)
            if is_end:
                in_branch.add(record.parent)
        return None

    def _parents(self, child: Record, lines: Iterator[Line]) -> Generator[ChainLink, None, Record]:
        """Yield the ancestors of a line, nearest first. Return the last one: its parent is missing, or it has none."""
        passed: list[LineSpan] = []
        sought = child.parent
        pattern = sought.encode()
        for line in lines if sought else ():
            record = parse_record(line) if pattern in line.data else None
            if record is not None and record.uuid == sought:
                yield ChainLink(record, passed)
                child, passed, sought = record, [], record.parent
                if not sought:
                    break
                pattern = sought.encode()
            elif may_belong_to_answer(line):
                passed.append(LineSpan(line.offset, line.end))
        return child

    def _in_file_order(self, end: int, *, is_resumed: bool) -> Iterator[ChainLink]:
        """Yield all messages before an offset, the last one first. Of lines with the same uuid, the last one counts."""
        is_first = True
        seen: set[str] | None = None
        for line in self._lines(end):
            record = parse_record(line)
            if record is None or not (record.is_compaction or record.is_shown(of_subagent=self.of_subagent)):
                continue
            if seen is None:
                later = map(read_record, self.file.forward(end))
                seen = {record.uuid for record in later if record is not None}
            if record.uuid not in seen:
                self._add_note(_BROKEN)
                seen.add(record.uuid)
                is_first = False
                yield ChainLink(record, [], is_in_file_order=True)
        if is_first and not is_resumed:
            self._add_note(_CUT)

    def _lines(self, end: int | None) -> Iterator[Line]:
        """Yield the lines before an offset, the last one first. Leave out incomplete lines."""
        for line in self.file.backward(end, ignored=belongs_to_no_conversation):
            if not is_torn(line):
                yield line
            elif line.end < self.file.size:  # else it is being written right now
                self._add_note("Lines of the file that can't be read were left out.")

    def _add_note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)
