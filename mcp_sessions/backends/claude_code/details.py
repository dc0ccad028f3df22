"""One session in detail, with the counts that need its whole transcript."""

import time
from dataclasses import dataclass

from ...errors import NotFound, Timeout, quoted
from ...models import SessionDetail
from ..transcripts.file_memory import FileMemory
from ..transcripts.lines import open_transcript
from .catalogue import Catalogue, CatalogueEntry
from .conversation import Conversation
from .folder import SessionFile
from .listing import FolderStatus
from .subagents import read_description

_COUNTING_FRACTION = 0.4
"""The counts of a transcript that takes longer than this fraction of a call's time are left out."""
_KEPT_NOTE = "Claude Code has removed this session. This is a copy that was kept; restore_session puts it back."
_EXPIRY_NOTES = {"archived": "If you archive it, a copy is kept.", "off": "Archiving it keeps no copy."}
"""option `keep` → the note on a session that Claude Code will remove soon, and of which there is no copy."""


@dataclass(frozen=True, slots=True)
class SessionCounts:
    """The messages and runs of a session, and the tokens of all of its answers."""

    messages: int
    runs: int
    tokens: int


@dataclass(frozen=True, slots=True)
class DetailReader:
    """Reads sessions in detail. `known` has counts by file. `timeout` is the time of a call in seconds.

    `keep` is the option that says which sessions have copies.
    """

    catalogue: Catalogue
    known: FileMemory[SessionCounts]
    timeout: float
    keep: str

    def read(self, session_id: str) -> SessionDetail:
        """Return a session, or a subagent as a session. Raise `NotFound`."""
        file = self.catalogue.find(session_id)
        parent, slash, _ = session_id.partition("/")
        facts = self.catalogue.facts(file, of_subagent=bool(slash))
        if not (slash or facts.is_session):
            raise NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")
        fields = FolderStatus(self.catalogue).fields_of(CatalogueEntry((0, 0), file, facts))
        if slash:
            description = read_description(file)
            fields |= {"name": description.name or facts.title, "agent_id": description.agent_type, "expires_at": None}
        counts = self._counts(file, of_subagent=bool(slash))
        return SessionDetail(
            **fields,
            branch=facts.branch,
            parent_id=parent if slash else facts.head.parent_id,
            resume_command="" if slash or file.is_kept else f"claude --resume {session_id}",
            metadata={"tag": facts.tag} if facts.tag else {},
            system_metadata=("tag",),
            message_count=counts.messages if counts else None,
            run_count=counts.runs if counts else None,
            total_tokens=counts.tokens or None if counts else None,
            version=version_of(file),
            note=self._note(file, will_expire=fields["expires_at"] is not None),
        )

    def _note(self, file: SessionFile, *, will_expire: bool) -> str:
        """Return a note on a session that Claude Code has removed or will remove soon, "" for any other session."""
        if file.is_kept:
            return _KEPT_NOTE
        if not will_expire:
            return ""
        try:
            self.catalogue.of_copies().folder.find(file.id)
        except NotFound:
            return _EXPIRY_NOTES.get(self.keep, "")
        return "A copy of it is kept."

    def _counts(self, file: SessionFile, *, of_subagent: bool) -> SessionCounts | None:
        """Return the counts of a transcript, None if it takes too long to read it."""
        counts = self.known.get(file.path, file.state)
        if counts is None:
            stops_at = min(self.catalogue.stops_at, time.monotonic() + self.timeout * _COUNTING_FRACTION)
            messages = runs = tokens = 0
            try:
                with open_transcript(file.path, stops_at) as transcript:
                    for item in Conversation(transcript, of_subagent).items():
                        messages, runs, tokens = messages + 1, runs + item.starts_run, tokens + item.tokens
            except Timeout:
                return None
            counts = SessionCounts(messages, runs, tokens)
            self.known.put(file.path, file.state, counts)
        return counts


def version_of(file: SessionFile) -> str:
    """Return the version of a session: it changes with every line, and when another file is in its place."""
    return f"{file.state.size}-{file.state.mtime // 1000}"
