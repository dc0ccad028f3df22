"""Facts about a session that a list shows, read from the head and the tail of its transcript.

The title is the last one that was given, anywhere in the file. If none was given, it is what Claude Code shows instead:
its own title, the last prompt, its own summary or the first prompt. Only lines of certain types have titles: a field of
the same name may also be an argument of a tool.
"""

import re
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta

from ...json_documents import object_in
from ..transcript_feed import FileState
from ..transcripts.lines import Line, TranscriptFile, parse
from ..transcripts.runs import microseconds
from ..transcripts.values import text_in, time_in
from .folder import is_session_id
from .records import Record, read_record

_EDGE = 64 * 1024
_NEAR_END = _EDGE // 2
_TITLE_LENGTH = 200
_PREVIEW_LENGTH = 2 * _TITLE_LENGTH
"""A title is made of so many characters of a text, which leaves room for repeated spaces, since a title has none."""
_TITLES = {"custom-title": "customTitle", "ai-title": "aiTitle", "tag": "tag"}
"""type of a line → its field. The last line of a type counts, anywhere in the file."""
_TAIL_TITLES = {**_TITLES, "last-prompt": "lastPrompt", "summary": "summary"}
"""The same with types that count only near the end of the file."""
_QUOTED_TYPES = {type: f'"{type}"'.encode() for type in _TAIL_TITLES}
"""type of a line → the bytes of it that each such line contains"""
_TITLE_MARKERS = (b'-title"', b'"tag"')
"""Each line of a type in `_TITLES` contains one of these. Looking for two is faster than for the three types."""
_NO_TITLE = re.compile(r"\s*(?:<ide_[a-z_]+>.*</ide_[a-z_]+>\s*)+", re.DOTALL)
_COMMAND = re.compile(r"<command-name>(.*?)</command-name>", re.DOTALL)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class TranscriptHead:
    """What the first lines of a transcript say. `is_side` means that it is a subagent's."""

    is_side: bool = False
    first_prompt: str = ""
    command: str = ""
    project: str = ""
    branch: str = ""
    version: str = ""
    session_id: str = ""
    parent_id: str = ""
    created_at: datetime | None = None


@dataclass(frozen=True, slots=True)
class SessionFacts:
    """What a list shows of a session, and what its last lines say.

    Of the first prompt, `head` has only the beginning. `searched_to`: the lines before this offset were searched for
    titles, and have `earlier_titles`.
    """

    head: TranscriptHead
    title: str = ""
    tag: str = ""
    branch: str = ""
    version: str = ""
    updated: int = 0
    """The time of the last line in microseconds since 1970, but not later than that of the last change of the file."""
    searched_to: int = 0
    earlier_titles: dict[str, str] = field(default_factory=dict[str, str])

    @property
    def is_session(self) -> bool:
        return not self.head.is_side and bool(self.head.created_at or self.title)

    @property
    def updated_at(self) -> datetime:
        return _EPOCH + timedelta(microseconds=self.updated)


@dataclass(slots=True)
class _Tail:
    """What the last lines of a transcript say. They begin at `start`."""

    start: int = 0
    titles: dict[str, str] = field(default_factory=dict[str, str])
    summary_leaf: str = ""
    last: Record | None = None


def read_facts(
    file: TranscriptFile, state: FileState, earlier: SessionFacts | None, *, of_subagent: bool = False
) -> SessionFacts:
    """Return the facts of a transcript. `earlier`: the facts of the file before lines were appended to it. Without
    `of_subagent`, the facts of a subagent's transcript only say that it is one.
    """
    is_known = earlier and (earlier.head.first_prompt or earlier.head.is_side)
    head = earlier.head if earlier and is_known else _shortened(read_head(file))
    if head.is_side and not of_subagent:
        return SessionFacts(head)
    tail = _read_tail(file)
    known = earlier or SessionFacts(head)
    is_complete = {"custom-title", "tag"} <= tail.titles.keys()
    more = {} if is_complete else _search_titles(file, known.searched_to, tail.start)
    searched_to = known.searched_to if is_complete else tail.start
    earlier_titles = known.earlier_titles | more
    titles = {**earlier_titles, **tail.titles}
    changed = state.mtime // 1000
    last = tail.last.fields if tail.last else {}
    time = time_in(last)
    return SessionFacts(
        head,
        title=_title(file, titles, tail.summary_leaf, head),
        tag=titles.get("tag", ""),
        branch=text_in(last, "gitBranch") or head.branch,
        version=text_in(last, "version") or head.version,
        updated=max(min(microseconds(time), changed) if time else changed, 0),
        searched_to=searched_to,
        earlier_titles=earlier_titles,
    )


def read_head(file: TranscriptFile) -> TranscriptHead:
    """Return what the first lines of a transcript say. Stop when everything is known, or after too many lines."""
    head = TranscriptHead()
    for line in file.forward():
        if line.offset > _EDGE or (head.first_prompt and head.project and head.created_at):
            break
        record = read_record(line)
        if record is not None:
            head = _with_record(head, record)
    return head


def _shortened(head: TranscriptHead) -> TranscriptHead:
    """Return the head with only the beginning of its prompt and command, since the facts of thousands are kept."""
    return replace(head, first_prompt=head.first_prompt[:_PREVIEW_LENGTH], command=head.command[:_PREVIEW_LENGTH])


def _with_record(head: TranscriptHead, record: Record) -> TranscriptHead:
    """Return the head with what a further line says."""
    fields, is_first = record.fields, not (head.created_at or head.session_id)
    forked_from = text_in(object_in(fields, "forkedFrom"), "sessionId")
    prompt = record.content.text if record.is_shown(of_subagent=True) and record.is_prompt else ""
    command = _COMMAND.search(prompt)
    is_title = not command and not _NO_TITLE.fullmatch(prompt)
    return replace(
        head,
        is_side=head.is_side or (is_first and bool(fields.get("isSidechain"))),
        first_prompt=head.first_prompt or (prompt if is_title else ""),
        command=head.command or (command[1] if command else ""),
        project=head.project or text_in(fields, "cwd"),
        branch=head.branch or text_in(fields, "gitBranch"),
        version=head.version or text_in(fields, "version"),
        session_id=head.session_id or text_in(fields, "sessionId"),
        parent_id=head.parent_id or (forked_from if is_session_id(forked_from) else ""),
        created_at=head.created_at or time_in(fields),
    )


def _read_tail(file: TranscriptFile) -> _Tail:
    tail = _Tail(start=file.size)
    for line in file.backward():
        if line.offset < file.size - _EDGE and tail.last is not None:
            break
        tail.start = line.offset
        for kind, title in _titles_in(line, _TAIL_TITLES):
            if kind == "summary" and "summary" not in tail.titles:
                tail.summary_leaf = text_in(parse(line.data) or {}, "leafUuid")
            tail.titles.setdefault(kind, title)  # the last line of each type is read first
        if tail.last is None:
            record = read_record(line)
            tail.last = record if record is not None and time_in(record.fields) else None
    return tail


def _titles_in(line: Line, kinds: dict[str, str]) -> list[tuple[str, str]]:
    """Return the type and title of a line that has a title, by type; nothing for any other line."""
    if not any(_QUOTED_TYPES[kind] in line.data for kind in kinds):
        return []
    fields = parse(line.data) or {}
    kind = text_in(fields, "type")
    return [(kind, text_in(fields, kinds[kind]))] if kind in kinds else []


def has_title_near_end(file: TranscriptFile) -> bool:
    """Return whether the last given title is near enough to the end for Claude Code's own list to find it."""
    for line in file.backward():
        if line.offset < file.size - _NEAR_END:
            return False
        if any(kind == "custom-title" for kind, _ in _titles_in(line, _TITLES)):
            return True
    return False


def _search_titles(file: TranscriptFile, start: int, end: int) -> dict[str, str]:
    """Return the last title of each type among these lines."""
    lines = file.forward(start, end, containing=_TITLE_MARKERS)
    return {kind: title for line in lines for kind, title in _titles_in(line, _TITLES)}


def _title(file: TranscriptFile, titles: dict[str, str], summary_leaf: str, head: TranscriptHead) -> str:
    given = titles.get("custom-title")
    if given:
        return given
    title = titles.get("ai-title") or titles.get("last-prompt")
    if not title and titles.get("summary") and _has_line(file, summary_leaf):
        title = titles["summary"]
    return " ".join((title or head.first_prompt or head.command)[:_PREVIEW_LENGTH].split())[:_TITLE_LENGTH]


def _has_line(file: TranscriptFile, uuid: str) -> bool:
    """Return whether the transcript has this line. Claude Code 1.0 wrote summaries of other sessions into it too."""
    pattern = uuid.encode()
    lines = (line for line in file.forward() if pattern in line.data) if uuid else ()
    return any(record.uuid == uuid for line in lines if (record := read_record(line)) is not None)
