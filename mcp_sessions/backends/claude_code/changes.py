"""Changes of a session's transcript. Lines are only ever appended to it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import NamedTuple
from uuid import uuid4

from ...errors import Conflict, Invalid, NotFound, Unsupported, quoted
from ...json_documents import Json, JsonObject
from ...models import Change, NewMessage, Role, iso
from ...text.validate import check_text
from ..transcripts.appending import append_lines
from ..transcripts.lines import open_transcript
from ..transcripts.values import text_in, time_in
from ..validation import TEXT_LENGTH, session_name
from .catalogue import Catalogue
from .chain import Chain
from .conversation import Conversation
from .details import version_of
from .facts import SessionFacts, has_title_near_end
from .folder import SessionFile
from .records import Record
from .running_processes import live_sessions

APPENDED_ROLES: frozenset[Role] = frozenset({"user", "assistant"})
_KEPT_FIELDS = ("cwd", "version", "gitBranch")
"""The fields of a conversation's last line that new lines repeat."""
_LAST_PROMPT_LENGTH = 200
_MILLISECOND = timedelta(milliseconds=1)
_CLOCK_DIFFERENCE = timedelta(days=1)
"""If a line's time is further in the future than this, the time is wrong."""
_TAG_LENGTH = 200


class FoundSession(NamedTuple):
    """A session that is about to be changed."""

    file: SessionFile
    facts: SessionFacts


@dataclass(frozen=True, slots=True)
class SessionWriter:
    """Changes the sessions of a folder."""

    catalogue: Catalogue

    def find(self, session_id: str, *, or_copy: bool = False) -> FoundSession:
        """Return a session. Raise `NotFound`, and `Unsupported` for a subagent.

        Raise `Conflict` for one that Claude Code has removed, unless `or_copy` is set.
        """
        file = self.catalogue.find(session_id)
        if "/" in session_id:
            raise Unsupported("the transcript of a subagent can't be changed. Use the id of its session.")
        facts = self.catalogue.facts(file)
        if not facts.is_session:
            raise NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")
        if file.is_kept and not or_copy:
            raise Conflict("Claude Code has removed this session. Call restore_session first, which puts it back.")
        return FoundSession(file, facts)

    def refuse_if_live(self, session_id: str) -> None:
        """Raise `Conflict` if a running Claude Code has the session open."""
        process = live_sessions(self.catalogue.folder.root).get(session_id)
        if process is not None:
            raise Conflict(f"Claude Code has this session open (process {process}). Close it there, then try again.")

    def rename(self, session_id: str, name: str) -> Change:
        """Rename a session, as `/rename` in Claude Code does."""
        new = session_name(name)
        file, facts = self.find(session_id)
        if not new:
            raise Invalid('Claude Code can\'t remove a name. Give "name" a visible character.')
        append_lines(file.path, title_lines(session_id, new))
        is_live = session_id in live_sessions(self.catalogue.folder.root)
        note = "Claude Code has this session open, and shows the new name there after a restart." if is_live else ""
        return Change(
            session_id=session_id,
            changed={"name": new},
            previous={"name": facts.title},
            version=self.version(session_id),
            note=note,
        )

    def repeat_name(self, session_id: str, name: str) -> bool:
        """Write an open session's name again if much was written after it. Return whether to look again later. Claude
        Code's own list looks for a name only in the last 64 KiB of a transcript. An open Claude Code may write more
        than that in one turn. It repeats a name only if it has given the name itself, or has found it in those 64 KiB.
        """
        file, facts = self.find(session_id, or_copy=True)
        if file.is_kept or facts.title != name:
            return False  # Claude Code has removed it, or it was given another name
        with open_transcript(file.path, self.catalogue.stops_at) as transcript:
            is_found = has_title_near_end(transcript)
        if not is_found:
            append_lines(file.path, title_lines(session_id, name), after=file.state)
        return session_id in live_sessions(self.catalogue.folder.root)

    def tag(self, session_id: str, tag: Json) -> Change:
        """Give a session a tag, as `/tag` in Claude Code does. None and "" remove the tag."""
        if not (tag is None or isinstance(tag, str)):
            raise Invalid('"metadata.tag" must be a string, since it is the session\'s tag in Claude Code.')
        new = " ".join(check_text(tag or "", "metadata.tag", _TAG_LENGTH).split())
        file, facts = self.find(session_id)
        append_lines(file.path, [{"type": "tag", "tag": new, "sessionId": session_id}])
        return Change(
            session_id=session_id,
            changed={"metadata": {"tag": new} if new else {}},
            previous={"metadata": {"tag": facts.tag} if facts.tag else {}},
            version=self.version(session_id),
        )

    def append(self, session_id: str, messages: Sequence[NewMessage]) -> Change:
        """Append messages to the conversation, so that Claude Code continues after them."""
        for message in messages:
            _check(message)
        if not messages:
            raise Invalid('"messages" is empty. Give at least one.')
        file, facts = self.find(session_id)
        self.refuse_if_live(session_id)
        with open_transcript(file.path, self.catalogue.stops_at) as transcript:
            leaf = Chain(transcript).leaf()
        lines = message_lines(session_id, messages, leaf, facts)
        ids = [text_in(line, "uuid") for line in lines]
        last_prompt = next((message.text for message in reversed(messages) if message.role == "user"), facts.title)
        append_lines(file.path, [*lines, _last_prompt(session_id, last_prompt, ids[-1])], after=file.state)
        self._read_back(file, ids)
        appended = ids[0] if len(ids) == 1 else f"{ids[0]} to {ids[-1]}"
        note = f"Appended {appended}. Messages can't be removed; fork_session can leave them out."
        return Change(session_id=session_id, version=self.version(session_id), note=note)

    def _read_back(self, file: SessionFile, ids: Sequence[str]) -> None:
        """Raise `Conflict` unless these are the last messages of the conversation."""
        newest: list[str] = []
        with open_transcript(file.path, self.catalogue.stops_at) as transcript:
            for item in Conversation(transcript).items():
                newest.append(item.message.id)
                if len(newest) == len(ids):
                    break
        if newest[::-1] != list(ids):
            raise Conflict(
                "another program continued this session at the same time, and the messages are not part of it. "
                "Read it with get_session_history, then try again."
            )

    def version(self, session_id: str) -> str:
        """Return the version of a session as it is now."""
        return version_of(self.catalogue.find(session_id))


def title_lines(session_id: str, name: str) -> list[JsonObject]:
    """Return the lines that name a session: the title in lists, and the name that its window shows."""
    return [
        {"type": "custom-title", "customTitle": name, "sessionId": session_id},
        {"type": "agent-name", "agentName": name, "sessionId": session_id},
    ]


def message_lines(
    session_id: str, messages: Sequence[NewMessage], leaf: Record | None, facts: SessionFacts
) -> list[JsonObject]:
    """Return the lines of messages that follow a conversation's last line. The parent of each line is the line before
    it. Each line has a later time than the line before it, since Claude Code before version 2.1 continues after the
    latest line.
    """
    head = facts.head
    known = {"cwd": head.project, "version": facts.version, "gitBranch": facts.branch}
    known |= {key: text_in(leaf.fields, key) for key in _KEPT_FIELDS if leaf}
    lines: list[JsonObject] = []
    parent = leaf.uuid if leaf else None
    moment = datetime.now(UTC)
    before = time_in(leaf.fields) if leaf else None
    if before is not None and moment <= before < moment + _CLOCK_DIFFERENCE:
        moment = before + _MILLISECOND
    for message in messages:
        uuid = str(uuid4())
        lines.append(
            {
                "parentUuid": parent,
                "isSidechain": False,
                "userType": "external",
                **{key: value for key, value in known.items() if value},
                "sessionId": session_id,
                "type": message.role,
                "message": _content(message),
                "uuid": uuid,
                "timestamp": timestamp(moment),
            }
        )
        parent, moment = uuid, moment + _MILLISECOND
    return lines


def timestamp(moment: datetime) -> str:
    """Return a time as Claude Code writes it."""
    return f"{iso(moment)[:-1]}.{moment.microsecond // 1000:03}Z"


def _content(message: NewMessage) -> JsonObject:
    if message.role == "user":
        return {"role": "user", "content": message.text}
    return {
        "id": f"msg_{uuid4().hex}",
        "type": "message",
        "role": "assistant",
        "model": "<synthetic>",
        "content": [{"type": "text", "text": message.text}],
        "stop_reason": "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 0, "output_tokens": 0},
    }


def _last_prompt(session_id: str, text: str, leaf: str) -> JsonObject:
    """Return the line that says where Claude Code continues. Without it, Claude Code ignores appended messages."""
    prompt = " ".join(text.split())[:_LAST_PROMPT_LENGTH]
    return {"type": "last-prompt", "lastPrompt": prompt, "leafUuid": leaf, "sessionId": session_id}


def _check(message: NewMessage) -> None:
    """Raise `Invalid` or `Unsupported` if Claude Code can't continue after this message."""
    if message.role not in APPENDED_ROLES or message.tool_calls or message.attachments:
        raise Unsupported("only texts of the roles user and assistant can be appended to a session of Claude Code.")
    check_text(message.text, "text", TEXT_LENGTH)
    if not message.text.strip():
        raise Invalid('"text" is empty, and a model would refuse it. Give each message a text.')
