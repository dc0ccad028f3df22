"""The messages of a thread, newest first, read from the ends of its files."""

import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import islice
from pathlib import Path

from ...errors import Invalid
from ...json_documents import JsonObject, object_in
from ...models import Message
from ..transcript_feed import MessageAtPosition
from ..transcripts.history import HistoryItem, Position
from ..transcripts.lines import Line, TranscriptFile, parse
from ..transcripts.values import count_in, text_in
from .home import state_of
from .line_types import CALLS, LineType, has_no_text, line_payload, line_type
from .lineage import Lineage, RolloutPart
from .messages import LineMessages, call_name, read_messages, read_text
from .open_threads import is_open
from .rollout import open_rollout

POSITION_LENGTH = 3
NEWEST: Position = (0,) * POSITION_LENGTH
"""A position has a digest of the file, the offset of a line, and how many messages of the line come after it."""
_UNKNOWN_MODE = "A newer version of Codex wrote this session, so messages may be missing."
_UNREADABLE = "Lines of the file that can't be read were left out."
_GROWING = 60
"""For so many seconds after a file's last change, Codex may still be writing to the file."""
_END = 32 * 1024 * 1024
_LOOK_BACK = 500
"""How many lines before the result of a tool are searched for its call."""
_MESSAGES = (LineType.MESSAGE, LineType.TOOL)


@dataclass(slots=True)
class _OpenTurn:
    """The turn that is being read, from its end to its beginning.

    `removed`: how many turns are still to be left out, since they were rolled back. `tokens`: those that a paginated
    rollout gives for the turn. A legacy one counts the tokens of the thread: `total` is the count at the end, `before`
    the one at the beginning, and `before_request` the one before the earliest request that was read.
    """

    removed: int = 0
    status: str = ""
    tokens: int = 0
    are_tokens_known: bool = False
    total: int = 0
    before: int = 0
    before_request: int = 0

    def add(self, type: LineType, line: Line) -> None:
        """Add a line that is not a message."""
        if type is LineType.ROLLBACK:
            self.removed += count_in(line_payload(line.data), "num_turns")
            self.status, self.tokens = "", 0
        elif self.removed:
            return
        elif type is LineType.TURN_END:
            aborted = text_in(line_payload(line.data), "type") == "turn_aborted"
            self._begin("cancelled" if aborted else "completed")
        elif type is LineType.TURN_START:
            self._begin("")
        elif type is LineType.TURN_TOKENS and not self.are_tokens_known:
            usage = object_in(line_payload(line.data), "turn_token_usage")
            self.tokens, self.are_tokens_known = count_in(usage, "total_tokens"), True
        elif type is LineType.TOKEN_COUNT:
            self._add_count(object_in(line_payload(line.data), "info"))

    def _begin(self, status: str) -> None:
        self.status, self.tokens, self.are_tokens_known = status, 0, False
        self.total, self.before, self.before_request = 0, 0, 0

    def _add_count(self, info: JsonObject) -> None:
        """Add a count of the thread's tokens. Codex also repeats the last count at the beginning of a turn."""
        count = count_in(object_in(info, "total_token_usage"), "total_tokens")
        self.total = self.total or count
        self.before = count
        self.before_request = count - count_in(object_in(info, "last_token_usage"), "total_tokens")

    def take(self, item: HistoryItem) -> HistoryItem:
        """Return the item with the facts about its turn, which older items of the turn then don't repeat.

        A compaction may be a turn of its own, which is no run.
        """
        if item.message.role == "system":
            return item
        tokens = self.tokens
        if not item.starts_run:
            self.before = self.before_request  # the model answered before the count, so the count is no repetition
        elif not self.are_tokens_known:
            tokens, self.total = max(self.total - self.before, 0), self.before
        item = item._replace(status=self.status, tokens=tokens)
        self.status, self.tokens = "", 0
        return item


@dataclass(slots=True)
class Conversation:
    """The messages of a thread.

    `names_tools`: look up the names of tools for their results, which a legacy rollout only has in the call. `status`
    is that of a turn which has no end yet.
    """

    lineage: Lineage
    names_tools: bool = True
    status: str = ""
    _modes: dict[int, bool] = field(default_factory=dict[int, bool])

    @property
    def notes(self) -> list[str]:
        """What readers should know. Reading messages adds to it."""
        return self.lineage.notes

    def items(self, position: Position = NEWEST) -> Iterator[HistoryItem]:
        """Yield the messages that come after a position, newest first. Raise `Invalid` if it no longer exists."""
        digest, offset, count = position
        is_found = not any(position)
        turn = _OpenTurn(status=self.status if is_found else "")
        for part in self.lineage.parts():
            end = part.end
            if not is_found and part.digest == digest:
                line = part.opened.line_at(offset) if offset < end else None
                if line is None:
                    break
                yield from self._of_line(part, line, turn, count)
                is_found, end = True, offset
            if is_found:
                yield from self._of_part(part, end, turn)
        if not is_found:
            raise Invalid('"cursor" points to a message that no longer exists. Leave it out to start from the newest.')

    def texts(self, offset: int | None = None, digest: int = 0) -> Iterator[MessageAtPosition]:
        """Yield the messages that begin with the line at an offset in the file with this digest, newest first.

        The thread's newest file has the digest 0, which keeps the index small. Leave out the messages that another
        thread has too, and tools. Raise `Invalid` if there is no such line.
        """
        removed = 0  # how many turns are still to be left out, since they were rolled back
        for part, line in self._lines_with_text(offset, digest):
            type, is_paginated = line_type(line.data), self._is_paginated(part)
            if type is LineType.ROLLBACK and not is_paginated:
                removed += count_in(line_payload(line.data), "num_turns")
            text = read_text(line, is_paginated=is_paginated) if type is LineType.MESSAGE else None
            if text is not None and removed:
                removed -= text.role == "user"
            elif text is not None:
                in_file = self._digest(part)
                yield MessageAtPosition(text, (line.offset, in_file) if in_file else (line.offset,))

    def _digest(self, part: RolloutPart) -> int:
        return 0 if part.file is self.lineage.file else part.digest

    def _lines_with_text(self, offset: int | None, digest: int) -> Iterator[tuple[RolloutPart, Line]]:
        """Yield the lines for `texts`, the last one first."""
        is_found = offset is None
        for part in self.lineage.parts():
            begin, end = self.lineage.end_of_shared(part), part.end
            if offset is not None and not is_found and digest == self._digest(part):
                line = part.opened.line_at(offset) if begin <= offset < end else None
                if line is None:
                    break
                is_found, end = True, line.end
            for line in part.opened.backward(end, ignored=has_no_text) if is_found else ():
                if line.offset < begin:
                    break
                yield part, line
            if begin:
                break  # what is older is also shared
        if not is_found:
            raise Invalid("There is no such message any more.")

    def _of_part(self, part: RolloutPart, end: int, turn: _OpenTurn) -> Iterator[HistoryItem]:
        for line in part.opened.backward(end):
            if not (line.data.startswith(b"{") and line.data.endswith((b"}", b"}\r"))):
                self._add_torn(part, line)
                continue
            type = line_type(line.data)
            if type in _MESSAGES:
                yield from self._of_line(part, line, turn, None)
            elif type is LineType.ROLLBACK and self._is_paginated(part):
                continue  # Codex ignores it there
            elif type is not LineType.OTHER:
                turn.add(type, line)
        if part.opened.oversized_lines:
            self._add_note(_UNREADABLE)

    def _of_line(self, part: RolloutPart, line: Line, turn: _OpenTurn, count: int | None) -> Iterator[HistoryItem]:
        """Yield the messages of a line, or the first `count` of them, newest first."""
        found = read_messages(line, is_paginated=self._is_paginated(part))
        if found is None:
            if parse(line.data) is None:
                self._add_torn(part, line)
            return
        if turn.removed:
            turn.removed -= found.starts_run
            return
        messages = self._named(part, line, found)[:count]
        for place in reversed(range(len(messages))):
            yield turn.take(HistoryItem(messages[place], (part.digest, line.offset, place), found.starts_run))

    def _is_paginated(self, part: RolloutPart) -> bool:
        if part.meta.mode in ("legacy", "paginated"):
            return part.meta.mode == "paginated"
        self._add_note(_UNKNOWN_MODE)
        if part.digest not in self._modes:
            lines = (line for line in part.opened.forward() if line_type(line.data) is LineType.MESSAGE)
            types = (text_in(line_payload(line.data), "type") for line in islice(lines, _LOOK_BACK))
            self._modes[part.digest] = "item_completed" in types
        return self._modes[part.digest]

    def _named(self, part: RolloutPart, line: Line, found: LineMessages) -> tuple[Message, ...]:
        """Return the messages of a line. The result of a tool has the tool's name, which is in the line of the call."""
        if not (found.result_of and self.names_tools):
            return found.messages
        pattern = found.result_of.encode(errors="replace")
        for earlier in islice(part.opened.backward(line.offset), _LOOK_BACK):
            if pattern in earlier.data and line_type(earlier.data) is LineType.TOOL:
                payload = line_payload(earlier.data)
                if payload.get("type") in CALLS and text_in(payload, "call_id") == found.result_of:
                    name = call_name(payload)
                    return tuple(message.model_copy(update={"tool_name": name}) for message in found.messages)
        return found.messages

    def _add_torn(self, part: RolloutPart, line: Line) -> None:
        """Add a note on an incomplete line, unless Codex may be writing that line at this moment."""
        if line.end < part.opened.size:
            self._add_note(_UNREADABLE)

    def _add_note(self, note: str) -> None:
        if note not in self.notes:
            self.notes.append(note)


def status_of_open_turn(lineage: Lineage, home: Path) -> str:
    """Return the status of the last turn if it has no end, else "". Only the end of a long rollout is looked at.

    Codex writes no end if it is killed. Versions before 0.147 don't lock the threads that they have open.
    """
    with open_rollout(lineage.file, lineage.stops_at) as opened:
        if not _has_open_turn(opened):
            return ""
    is_growing = time.time() - state_of(lineage.file).mtime / 10**9 < _GROWING
    return "running" if is_growing or is_open(home, lineage.thread.id) else "cancelled"


def _has_open_turn(opened: TranscriptFile) -> bool:
    for line in opened.backward():
        type = line_type(line.data)
        if type in (LineType.TURN_START, LineType.TURN_END):
            return type is LineType.TURN_START
        if line.offset < opened.size - _END:
            break
    return False
