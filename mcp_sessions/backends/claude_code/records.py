"""The lines of a transcript: which ones belong to the conversation, and what they are.

docs/backends/claude-code.md describes the format.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from ...json_documents import JsonObject, object_in
from ..transcripts.blocks import Content, has_result, texts_of
from ..transcripts.lines import Line, parse
from ..transcripts.values import count_in, text_in

_TYPES = ("user", "assistant", "system", "attachment", "progress")
"""The types of lines that are linked to each other by `uuid` and `parentUuid`."""
belongs_to_no_conversation = re.compile(
    rb'\{"type":"(?:api-request|api-request-shape|api-request-blob|file-history-snapshot|queue-operation|mode|'
    rb"permission-mode|atis-latch|cost-state|tools-used|content-replacement|pr-link|last-prompt|custom-title|agent-name|"
    rb'ai-title|tag|summary)"'
).match
"""Tells from the beginning of a line whether it belongs to no conversation. Lines of requests are large, so they are
not parsed.
"""
_NO_PROMPT = re.compile(
    r"\s*(?:<local-command-(?:stdout|stderr|caveat)>|<bash-(?:stdout|stderr)>|<task-notification>|"
    r"\[Request interrupted by user)"
)
_INTERRUPTED = "[Request interrupted by user"


@dataclass(slots=True, eq=False)  # not frozen, which would make a search that reads all lines slower
class Record:
    """A line that is part of a conversation.

    `message` is empty if the line has none. `answer_id` is the id that all lines of one answer of the model have in
    common, "" for other lines.
    """

    offset: int
    end: int
    fields: JsonObject
    uuid: str
    type: str
    message: JsonObject
    answer_id: str
    is_result: bool
    _content: Content | None = None

    @property
    def parent(self) -> str:
        """The line before this one; for a compaction, the line before the compaction."""
        return text_in(self.fields, "parentUuid") or (
            text_in(self.fields, "logicalParentUuid") if self.is_compaction else ""
        )

    @property
    def content(self) -> Content:
        if self._content is None:
            self._content = Content()
            self._content.add(self.message.get("content"))
        return self._content

    @property
    def text(self) -> str:
        """The text of `content`. This is faster, since it leaves out calls and attachments."""
        return "\n".join(texts_of(self.message.get("content")))

    def is_shown(self, *, of_subagent: bool) -> bool:
        """Return whether Claude Code shows this line as a message of the session, or of a subagent of it."""
        get = self.fields.get
        return (
            self.type in ("user", "assistant")
            and not get("isMeta")
            and not get("teamName")
            and (of_subagent or not get("isSidechain"))
        )

    @property
    def is_compaction(self) -> bool:
        """Whether Claude Code compacted the conversation here. To the model, it begins with the line after this."""
        return self.type == "system" and self.fields.get("subtype") == "compact_boundary"

    @property
    def origin(self) -> str:
        """The line of another session that this is a copy of, as `SESSION/LINE`, "" if it is none."""
        source = object_in(self.fields, "forkedFrom")
        return f"{text_in(source, 'sessionId')}/{text_in(source, 'messageUuid')}" if source else ""

    @property
    def is_prompt(self) -> bool:
        """Whether a user wrote this, as a prompt or command, and not Claude Code in the user's name."""
        return (
            self.type == "user"
            and not self.is_result
            and not self.fields.get("isCompactSummary")
            and not _NO_PROMPT.match(self.content.text)
            and object_in(self.fields, "origin").get("kind") != "task-notification"
        )

    @property
    def tokens(self) -> int:
        """The tokens of the whole answer that this line is part of."""
        usage = object_in(self.message, "usage")
        kinds = ("input_tokens", "output_tokens", "cache_creation_input_tokens", "cache_read_input_tokens")
        return sum(count_in(usage, kind) for kind in kinds)

    @property
    def status(self) -> str:
        """What this line says about how its run ended, "" if nothing."""
        if self.fields.get("isApiErrorMessage"):
            return "error"
        return "cancelled" if self.type == "user" and self.content.text.startswith(_INTERRUPTED) else ""


def read_record(line: Line) -> Record | None:
    """Return the record in a line, or None if the line belongs to no conversation or can't be read."""
    return None if belongs_to_no_conversation(line.data) else parse_record(line)


def parse_record(line: Line) -> Record | None:
    """Return the record in a line of which `belongs_to_no_conversation` is not true, or None if it has none."""
    fields = parse(line.data)
    if fields is None:
        return None
    type, uuid = fields.get("type"), text_in(fields, "uuid")
    if not uuid or type not in _TYPES:
        return None
    message = object_in(fields, "message")
    answer_id = text_in(message, "id") if type == "assistant" else ""
    is_result = type == "user" and has_result(message.get("content"))
    return Record(line.offset, line.end, fields, uuid, type, message, answer_id, is_result)


def may_belong_to_answer(line: Line) -> bool:
    """Return whether a line may be part of a model's answer or the result of a tool call in it."""
    return b'"tool_result"' in line.data or b'"assistant"' in line.data


def is_torn(line: Line) -> bool:
    """Return whether a line was not written to its end, or does not begin as one."""
    return not (line.data.startswith(b"{") and line.data.endswith((b"}", b"}\r")))


def answer_tokens(records: Sequence[Record]) -> int:
    """Return the tokens of an answer. Each of its lines has the usage up to that line."""
    return max((record.tokens for record in records), default=0)
