"""Messages, made from the chain of lines in a transcript.

The lines of one answer of the model are one message, whose id is the uuid of its first line. Where the model called
several tools at once, each result is a child of its own call, so the chain contains only one of the results. The other
results are added after the answer.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import takewhile

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
    """A message and the results of the tool calls in it, or only results.

    `links` are the lines of the message and the results, the newest first. The oldest is a line of the message, unless
    there are only results. `off_chain` are lines of the message and results of its calls that the chain does not
    contain, the oldest first. `start` is where reading this turn again begins.
    """

    start: ChainStart
    links: list[ChainLink]
    off_chain: Sequence[Record] = ()
    _next: ChainStart | None = None

    @property
    def answer_id(self) -> str:
        return self.links[-1].record.answer_id

    @property
    def next(self) -> ChainStart:
        """Where reading continues after this turn, of which all lines must be known."""
        if self._next is None:
            oldest = self.links[-1]
            mode = StartMode.PREVIOUS if oldest.is_in_file_order else StartMode.PARENT
            self._next = ChainStart.at(oldest.record, mode)
        return self._next

    @property
    def answer_lines(self) -> list[Record]:
        """All lines of the message, oldest first; none if the turn has only results."""
        records = [link.record for link in self.links[::-1]]
        return [record for record in (*records, *self.off_chain) if not record.is_result]

    @property
    def all_results(self) -> list[Record]:
        """All results, oldest first: those between the lines of the message, those off the chain, those after them."""
        records = [link.record for link in self.links]
        after = list(takewhile(lambda record: record.is_result, records))
        inside = (record for record in reversed(records[len(after) :]) if record.is_result)
        return [*inside, *(record for record in self.off_chain if record.is_result), *reversed(after)]

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
        is_first = True
        for turn in self._turns(start, with_results=False):
            lines = turn.answer_lines
            # At `NEWEST`, the first message is found as a whole even after lines were added to it.
            yield MessageAtPosition(_text_of(lines), start if is_first else turn.start, lines[0].origin)
            is_first = False

    def end_of(self, message_id: str) -> int | None:
        """Return where the last line of a message ends, None if there is no such message."""
        for turn in self._turns(ChainStart()):
            records = turn.records_of(message_id)
            if records:
                return max(record.end for record in records)
        return None

    def _shown(self, start: ChainStart, *, with_results: bool) -> Iterator[ChainLink]:
        """Yield the lines of the chain that are messages or compactions."""
        skipped: list[LineSpan] = []
        for record, passed, is_in_file_order in Chain(self.file, self.of_subagent, self.notes).links(start):
            is_message = record.is_shown(of_subagent=self.of_subagent) or record.is_compaction
            if is_message and (with_results or not record.is_result):
                yield ChainLink(record, [*skipped, *passed], is_in_file_order)
                skipped = []
            else:
                skipped += passed

    def _turns(self, start: ChainStart, *, with_results: bool = True) -> Iterator[_Turn]:
        """Yield the turns, newest first. Only the line before a result tells whether the result is inside an answer."""
        turn: _Turn | None = None
        results: list[ChainLink] = []
        for link in self._shown(start, with_results=with_results):
            if start.mode == StartMode.NEWEST:
                start = ChainStart.at(link.record, StartMode.LINE)
            if link.record.is_result:
                results.append(link)
                continue
            answer_id = link.record.answer_id
            if turn is not None and answer_id and answer_id == turn.answer_id:
                turn.links += [*results, link]
                results = []
                continue
            if turn is not None:
                yield self._completed(turn, [*results, link])
                start = turn.next
            if results and not answer_id:
                turn = _Turn(start, results)
                yield turn
                start, results = turn.next, []
            turn = _Turn(start, [*results, link])
            results = []
        if turn is not None:
            yield self._completed(turn, results)
        if results:
            yield _Turn(turn.next if turn else start, results)

    def _completed(self, turn: _Turn, older: Sequence[ChainLink]) -> _Turn:
        """Return the turn with those lines of its answer, and results of its calls, that are not on the chain. These
        lines are in the file between the turn and the next older links of the chain, `older`.
        """
        passed = [span for link in (*turn.links, *older) for span in link.passed]
        if not turn.answer_id or not passed:
            return turn
        records = [link.record for link in turn.links]
        on_chain = {record.uuid for record in records}
        uuids = {record.uuid for record in records if not record.is_result}
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
    text = "\n".join(filter(None, [line.text for line in lines]))
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
