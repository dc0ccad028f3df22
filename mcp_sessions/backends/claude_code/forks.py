"""Forks: copies of a session's conversation, in the form that Claude Code itself writes with `/branch`.

Every line gets a new uuid and says which line it was copied from. Claude Code copies the lines of the conversation in
their order, also those from which the user went back, but neither subagents nor outputs in files of their own.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime
from hashlib import blake2b
from pathlib import Path
from typing import BinaryIO
from uuid import UUID, uuid4

from ...errors import Invalid, NotFound, Unavailable, quoted
from ...json_documents import JsonObject
from ..transcripts.appending import encoded_line
from ..transcripts.file_creation import created_file
from ..transcripts.lines import Line, TranscriptFile, open_transcript, parse
from ..transcripts.values import text_in
from ..validation import session_name
from .changes import SessionWriter, timestamp, title_lines
from .conversation import Conversation
from .records import Record, is_torn, read_record

_LEFT_OUT = ("teamName", "agentName", "slug", "sourceToolAssistantUUID")
"""Fields that are about the original session only."""
_LINKS = ("uuid", "parentUuid", "logicalParentUuid")
_REPLACEMENT = b'{"type":"content-replacement"'


def write_fork(writer: SessionWriter, session_id: str, up_to_message_id: str, name: str) -> str:
    """Write a copy of a session beside it, and return its id.

    `up_to_message_id` is the last message to copy, "" for all. Raise `NotFound` if there is no such message.
    """
    given = session_name(name)
    file, facts = writer.find(session_id)
    fork = _Fork(session_id, str(uuid4()))
    with open_transcript(file.path, writer.catalogue.stops_at) as transcript:
        end = _end_of(transcript, up_to_message_id) if up_to_message_id else transcript.size
        path = Path(file.path).with_name(f"{fork.id}.jsonl")
        try:
            with created_file(path) as new:
                fork.write(new, transcript, end, given or (f"{facts.title} (fork)" if facts.title else ""))
        except OSError as error:
            raise Unavailable(
                f"the file of the new session can't be written ({error.strerror}). Check permissions and the disk."
            ) from error
    return fork.id


def _end_of(transcript: TranscriptFile, message_id: str) -> int:
    end = Conversation(transcript).end_of(message_id)
    if end is None:
        raise NotFound(f"this session has no message {quoted(message_id)}. Call get_session_history for valid ids.")
    return end


@dataclass(slots=True)
class _Fork:
    """A copy of the session `source`. `progress` has the parents of lines that are left out."""

    source: str
    id: str
    progress: dict[str, str] = field(default_factory=dict[str, str])

    def write(self, file: BinaryIO, transcript: TranscriptFile, end: int, title: str) -> None:
        """Write the copy. Raise `Invalid` for a session without messages."""
        is_empty = True
        for line in self.lines(transcript, end):
            file.write(encoded_line(line))
            is_empty = False
        if is_empty:
            raise Invalid("this session has no messages to fork. Fork one that has.")
        for line in title_lines(self.id, title) if title else ():
            file.write(encoded_line(line))

    def lines(self, transcript: TranscriptFile, end: int) -> Iterator[JsonObject]:
        """Yield the lines of the copy, without its title. The last message gets the time of the copy."""
        held: JsonObject | None = None
        replacements: list[JsonObject] = []
        for line in transcript.forward(0, end):
            replacements += self._replacement(line)
            record = read_record(line) if not is_torn(line) else None
            if record is None or record.fields.get("isSidechain"):
                continue
            if record.type == "progress":
                self.progress[record.uuid] = text_in(record.fields, "parentUuid")
                continue
            if held is not None:
                yield held
            held = self._copy(record)
        if held is not None:
            yield held | {"timestamp": timestamp(datetime.now(UTC))}
            yield from replacements

    def _copy(self, record: Record) -> JsonObject:
        fields = {key: value for key, value in record.fields.items() if key not in _LEFT_OUT}
        links = {key: self._new_uuid(text_in(fields, key)) or None for key in _LINKS if key in fields}
        return (
            fields
            | links
            | {
                "sessionId": self.id,
                "forkedFrom": {"sessionId": self.source, "messageUuid": record.uuid},
            }
        )

    def _new_uuid(self, uuid: str) -> str:
        """Return the uuid in the copy of a line, "" for none. It is derived from the old one, so no table is needed."""
        seen: set[str] = set()
        while uuid in self.progress and uuid not in seen:
            seen.add(uuid)
            uuid = self.progress[uuid]
        digest = blake2b(f"{self.id}/{uuid}".encode(), digest_size=16).digest()
        return str(UUID(bytes=digest, version=4)) if uuid else ""

    def _replacement(self, line: Line) -> list[JsonObject]:
        fields = parse(line.data) if line.data.startswith(_REPLACEMENT) else None
        return [fields | {"sessionId": self.id}] if fields else []
