"""One rollout: how it is opened, and what its first and last lines say."""

from collections.abc import Generator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import datetime

from ...errors import Unsupported
from ...json_documents import JsonObject, object_in
from ..transcripts.lines import TranscriptFile, open_transcript, parse
from ..transcripts.runs import microseconds
from ..transcripts.values import count_in, text_in, time_in
from .home import Rollout, is_thread_id
from .line_types import LineType, line_type
from .messages import prompt_in

_HEAD = 1024 * 1024
_TAIL = 256 * 1024
_PREVIEW = 8 * 1024 * 1024
"""A file whose first prompt comes after this many bytes has no preview."""
PREVIEW_LENGTH = 400
"""How many characters of the first prompt are kept, since the facts of thousands of files are: twice as many as a name
has, which leaves room for repeated spaces.
"""


@dataclass(frozen=True, slots=True)
class RolloutBase:
    """The file that a rollout continues, and where its part of that file ends.

    `file_id` is the id of a thread for its first file, and of the segment for a further one.
    """

    file_id: str
    end_ordinal: int
    end_offset: int


@dataclass(frozen=True, slots=True)
class SessionMeta:
    """What the first line of a rollout says. `mode` is "legacy", "paginated", or unknown to us."""

    mode: str = "legacy"
    created_at: datetime | None = None
    project: str = ""
    branch: str = ""
    version: str = ""
    parent_id: str = ""
    is_subagent: bool = False
    nickname: str = ""
    base: RolloutBase | None = None


@dataclass(frozen=True, slots=True)
class RolloutFacts:
    """What a rollout says about its thread. `updated` is the time of the last line in microseconds since 1970.

    `meta` is None if the file is not one of a thread. `preview` is the beginning of the first prompt.
    """

    meta: SessionMeta | None
    preview: str = ""
    updated: int = 0
    tokens: int = 0


@contextmanager
def open_rollout(file: Rollout, stops_at: float) -> Generator[TranscriptFile]:
    """Open a rollout for reading.

    Raise `Unsupported` if it is compressed and no decoder is installed, and the errors of `open_transcript`.
    """
    if file.is_plain:
        with open_transcript(file.path, stops_at) as opened:
            yield opened
        return
    try:
        from .decompression import decompressed
    except ModuleNotFoundError as error:
        raise Unsupported(
            "Codex has compressed this session's file, and this server has no decoder. Install mcp-sessions[zstd], or "
            "resume the session in Codex."
        ) from error
    with decompressed(file.path, stops_at) as opened:
        yield opened


def read_facts(opened: TranscriptFile, earlier: RolloutFacts | None) -> RolloutFacts:
    """Return the facts of a rollout. `earlier`: the facts of the file before lines were appended to it."""
    meta = earlier.meta if earlier else read_meta(opened)
    if meta is None:
        return RolloutFacts(None)
    preview = earlier.preview if earlier else ""
    facts = _read_tail(opened, RolloutFacts(meta, preview or _read_preview(opened, meta)))
    return facts if facts.updated else replace(facts, updated=microseconds(meta.created_at))


def read_meta(opened: TranscriptFile) -> SessionMeta | None:
    """Return what the first line of a thread says, None if the file has no such line.

    In a copy of a thread, as older versions of Codex made it, the first line of the original follows the copy's own.
    """
    for line in opened.forward(0, min(opened.size, _HEAD)):
        if line_type(line.data) is not LineType.META:
            continue
        record = parse(line.data) or {}
        fields = object_in(record, "payload")
        if text_in(fields, "id"):
            return _meta(fields, time_in(record))
    return None


def _meta(fields: JsonObject, written_at: datetime | None) -> SessionMeta:
    source = object_in(fields, "source")
    spawn = object_in(object_in(source, "subagent") or object_in(source, "subAgent"), "thread_spawn")
    parents = (
        text_in(fields, "forked_from_id"),
        text_in(fields, "parent_thread_id"),
        text_in(spawn, "parent_thread_id"),
    )
    base = object_in(fields, "history_base")
    return SessionMeta(
        mode=text_in(fields, "history_mode") or "legacy",
        created_at=time_in(fields) or written_at,
        project=text_in(fields, "cwd"),
        branch=text_in(object_in(fields, "git"), "branch"),
        version=text_in(fields, "cli_version"),
        parent_id=next(filter(is_thread_id, parents), ""),
        is_subagent=bool(spawn) or text_in(fields, "thread_source") == "subagent",
        nickname=text_in(fields, "agent_nickname") or text_in(spawn, "agent_nickname"),
        base=RolloutBase(
            text_in(base, "thread_id"), count_in(base, "end_ordinal_exclusive"), count_in(base, "end_byte_offset")
        )
        if base
        else None,
    )


def _read_preview(opened: TranscriptFile, meta: SessionMeta) -> str:
    """Return the beginning of the first prompt, "" if there is none."""
    for line in opened.forward(0, min(opened.size, _PREVIEW)):
        if line_type(line.data) is LineType.MESSAGE and (prompt := prompt_in(line.data)):
            return prompt[:PREVIEW_LENGTH]
    return ""


def _read_tail(opened: TranscriptFile, facts: RolloutFacts) -> RolloutFacts:
    """Return the facts with the time of the last line, and the tokens in the last count of them near the end."""
    updated, tokens = 0, 0
    for line in opened.backward():
        is_near = line.offset >= opened.size - _TAIL
        if not is_near and (updated or line.offset < opened.size - _PREVIEW):
            break
        is_count = is_near and b'"token_count"' in line.data and line_type(line.data) is LineType.TOKEN_COUNT
        record = parse(line.data) if is_count or not updated else None
        if record is not None:
            updated = updated or microseconds(time_in(record))
            usage = object_in(object_in(object_in(record, "payload"), "info"), "total_token_usage")
            tokens = count_in(usage, "total_tokens") if is_count else 0
        if updated and tokens:
            break
    return replace(facts, updated=updated, tokens=tokens)
