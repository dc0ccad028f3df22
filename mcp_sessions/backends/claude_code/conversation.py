"""Messages, made from the chain of lines in a transcript.

The lines of one answer of the model are one message, whose id is the uuid of its first line. Where the model called
several tools at once, each result is a child of its own call, so the chain contains only one of the results. The other
results are added after the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from ...models import Message
from ..transcript_feed import MessageAtPosition, ShownText
from ..transcripts.history import HistoryItem, Position
from ..transcripts.lines import Line, TranscriptFile
from ..transcripts.values import text_in, time_in
from .chain import Chain, ChainLink, ChainStart, LineSpan, StartMode
from .records import Record, answer_tokens, read_record

_COMPACTED = "The conversation was compacted here. The model no longer sees the messages before this one."
_ALL = 10**6
POSITION_LENGTH = 4
NEWEST: Position = (0,) * POSITION_LENGTH


@dataclass(slots=True)
class _Turn:
    """A message and the results of the tool calls in it, or only results. Its lines are in order, the newest first.

    `inner_results` stand between the lines of the answer. `off_chain` are lines of the answer and results of its calls
    that the chain does not contain, the oldest first; they are among the lines in `passed`. `start` is where reading
    this turn again begins.
    """

    start: ChainStart
    lines: list[Record] = field(default_factory=list[Record])
    inner_results: list[Record] = field(default_factory=list[Record])
    results: list[Record] = field(default_factory=list[Record])
    off_chain: list[Record] = field(default_factory=list[Record])
    passed: list[LineSpan] = field(default_factory=list[LineSpan])
    is_in_file_order: bool = False
    _next: ChainStart | None = None

    @classmethod
    def of(cls, start: ChainStart, links: Sequence[ChainLink]) -> "_Turn":
        turn = cls(ChainStart.at(links[0].record, StartMode.LINE) if start.mode == StartMode.NEWEST else start)
        turn.add(links)
        return turn

    def add(self, links: Sequence[ChainLink]) -> None:
        """Add older lines, the newest first."""
        for record, passed, self.is_in_file_order in links:
            results = self.inner_results if self.lines else self.results
            (results if record.is_result else self.lines).append(record)
            self.passed += passed

    def continues_with(self, record: Record) -> bool:
        """Return whether an older line is part of the same answer."""
        return bool(record.answer_id) and record.answer_id == self.answer_id

    @property
    def answer_id(self) -> str:
        return self.lines[0].answer_id if self.lines else ""

    @property
    def oldest(self) -> Record:
        return (self.lines or self.results)[-1]

    @property
    def next(self) -> ChainStart:
        """Where reading continues after this turn, of which all lines must be known."""
        if self._next is None:
            self._next = ChainStart.at(self.oldest, StartMode.PREVIOUS if self.is_in_file_order else StartMode.PARENT)
        return self._next

    @property
    def answer_lines(self) -> list[Record]:
        """All lines of the message, oldest first; none if the turn has only results."""
        return [*self.lines[::-1], *[record for record in self.off_chain if not record.is_result]]

    @property
    def all_results(self) -> list[Record]:
        """All results, oldest first."""
        put_back = (record for record in self.off_chain if record.is_result)
        return [*reversed(self.inner_results), *put_back, *reversed(self.results)]

    def items(self) -> list[HistoryItem]:
        """Return the messages of this turn, oldest first, without their positions."""
        answer = self.answer_lines
        blocks = (block for record in answer for block in record.content.call_blocks)
        names = {text_in(block, "id"): text_in(block, "name") for block in blocks}
        return [*([_message(answer)] if answer else []), *(_result(record, names) for record in self.all_results)]

    def records_of(self, message_id: str) -> list[Record]:
        """Return the lines of a message of this turn, none if it has no such message."""
        answer = self.answer_lines
        if answer and answer[0].uuid == message_id:
            return answer
        return [record for record in self.all_results if record.uuid == message_id]


@dataclass(slots=True)
class Conversation:
    """The messages of a session or of a subagent. Reading them adds to `notes` what readers should know."""

    file: TranscriptFile
    of_subagent: bool = False
    notes: list[str] = field(default_factory=list[str])

    def items(self, position: Position = NEWEST) -> Iterator[HistoryItem]:
        """Yield the messages that come after a position, newest first. Raise `Invalid` if it no longer exists."""
        offset, mode, index, digest = position
        limit = index if mode else _ALL
        for turn in self._turns(ChainStart(offset, mode, digest)):
            items = turn.items()
            for place in range(min(len(items), limit) - 1, -1, -1):
                start, above = (turn.start, place) if place else (turn.next, _ALL)
                yield items[place]._replace(position=(start.offset, start.mode, above, start.digest))
            limit = _ALL

    def texts(self, start: ChainStart) -> Iterator[MessageAtPosition]:
        """Yield the messages that come after `start`, newest first. Leave out the results of tools."""
        for turn in self._turns(start, with_results=False):
            lines = turn.answer_lines
            yield MessageAtPosition(_text_of(lines), start, lines[0].origin)
            start = turn.next

    def end_of(self, message_id: str) -> int | None:
        """Return where the last line of a message ends, None if there is no such message."""
        for turn in self._turns(ChainStart()):
            records = turn.records_of(message_id)
            if records:
                return max(record.end for record in records)
        return None

    def _shown(self, start: ChainStart, *, with_results: bool) -> Iterator[ChainLink]:
        """Yield the lines of the chain that are messages or compactions."""
        before: list[LineSpan] = []
        for record, passed, is_in_file_order in Chain(self.file, self.of_subagent, self.notes).links(start):
            passed = [*before, *passed] if before else passed
            is_yielded = record.is_compaction or record.is_shown(of_subagent=self.of_subagent)
            is_yielded = is_yielded and (with_results or not record.is_result)
            if is_yielded:
                yield ChainLink(record, passed, is_in_file_order)
            before = [] if is_yielded else passed

    def _turns(self, start: ChainStart, *, with_results: bool = True) -> Iterator[_Turn]:
        """Yield the turns, newest first. Only the line before a result tells whether the result is inside an answer."""
        turn: _Turn | None = None
        results: list[ChainLink] = []
        for link in self._shown(start, with_results=with_results):
            if link.record.is_result:
                results.append(link)
                continue
            if turn is not None and turn.continues_with(link.record):
                turn.add([*results, link])
                results = []
                continue
            if turn is not None:
                yield self._completed(turn, [*results, link])
                start = turn.next
            if results and not link.record.answer_id:
                turn = _Turn.of(start, results)
                yield turn
                start, results = turn.next, []
            turn = _Turn.of(start, [*results, link])
            results = []
        if turn is not None:
            yield self._completed(turn, results)
        if results:
            yield _Turn.of(turn.next if turn else start, results)

    def _completed(self, turn: _Turn, older: Sequence[ChainLink]) -> _Turn:
        """Return the turn with those lines of its answer, and results of its calls, that are not on the chain. These
        lines are in the file between the turn and the next older links of the chain, `older`.
        """
        passed = [*turn.passed, *(span for link in older for span in link.passed)]
        if not turn.answer_id or not passed:
            return turn
        uuids = {record.uuid for record in turn.lines}
        on_chain = uuids | {record.uuid for record in (*turn.inner_results, *turn.results)}
        lines = [record for record in self._read(passed, {turn.answer_id}) if record.answer_id == turn.answer_id]
        uuids |= {record.uuid for record in lines}
        results = [record for record in self._read(passed, uuids) if record.is_result and record.parent in uuids]
        found = {record.uuid: record for record in (*lines, *results) if record.uuid not in on_chain}
        turn.off_chain = sorted(found.values(), key=lambda record: (text_in(record.fields, "timestamp"), record.offset))
        return turn

    def _read(self, spans: Sequence[LineSpan], texts: set[str]) -> Iterator[Record]:
        """Yield the shown lines that contain any of these texts."""
        patterns = [text.encode() for text in texts]
        for span in spans:
            data = self.file.read(span.offset, span.end - span.offset)
            if any(pattern in data for pattern in patterns):
                record = read_record(Line(span.offset, data))
                if record is not None and record.is_shown(of_subagent=self.of_subagent):
                    yield record


def _text_of(lines: Sequence[Record]) -> ShownText:
    """Return the text of a line, or of the lines of an answer."""
    first = lines[0]
    if first.is_compaction:
        return ShownText(first.uuid, "system", _COMPACTED, time_in(first.fields))
    text = "\n".join(filter(None, [line.content.text for line in lines]))
    return ShownText(first.uuid, "assistant" if first.type == "assistant" else "user", text, time_in(first.fields))


def _message(lines: Sequence[Record]) -> HistoryItem:
    """Return the message of a line, or of the lines of an answer, without its position."""
    first = lines[0]
    contents = [record.content for record in lines]
    id, role, text, created_at = _text_of(lines)
    message = Message(
        id=id,
        role=role,
        text=text,
        created_at=created_at,
        tool_calls=tuple(call for content in contents for call in content.calls),
        attachments=tuple(item for content in contents for item in content.attachments),
    )
    status = next(filter(None, (record.status for record in lines)), "")
    return HistoryItem(message, NEWEST, first.is_prompt, answer_tokens(lines), status, first.origin)


def _result(record: Record, names: Mapping[str, str]) -> HistoryItem:
    """Return the message of a tool's result. `names` has the tools by the ids of their calls."""
    message = Message(
        id=record.uuid,
        role="tool",
        text=record.content.text,
        created_at=time_in(record.fields),
        tool_name=next((names[id] for id in record.content.result_of if id in names), ""),
        attachments=tuple(record.content.attachments),
    )
    return HistoryItem(message, NEWEST)
