"""The sessions in Claude Code's folder, in order, with the facts about each."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from heapq import heappop, heappush
from typing import NamedTuple

from ... import cursors
from ...errors import NotFound, SessionsError, Timeout, quoted
from ..transcripts.file_memory import FileMemory
from ..transcripts.lines import open_transcript
from ..transcripts.runs import microseconds
from .facts import SessionFacts, read_facts
from .folder import ClaudeFolder, FolderContents, SessionFile, is_session_id

Key = tuple[int, int]
"""The place of a session in a list: a time in microseconds since 1970, and a digest of its id."""


class CatalogueEntry(NamedTuple):
    """A session, its file, and its place in a list."""

    key: Key
    file: SessionFile
    facts: SessionFacts


@dataclass(slots=True)
class Catalogue:
    """The sessions of a folder as they are now. `unreadable` counts those that could not be read."""

    folder: ClaudeFolder
    known: FileMemory[SessionFacts]
    stops_at: float
    unreadable: int = 0

    def newest_first(self, *, is_kept: bool | None = None) -> Iterator[CatalogueEntry]:
        """Yield the sessions, the one that was updated last first. Read no more files than necessary.

        `is_kept`: only those of which Claude Code has removed the transcript, or only the others.

        A session is never updated later than its file is changed. So if a session was updated after the next file was
        changed, it is newer than all remaining sessions.
        """
        waiting: list[tuple[int, int, CatalogueEntry]] = []
        for file in self.contents().newest_first(is_kept=is_kept):
            while waiting and -waiting[0][0] > file.mtime // 1000:
                yield heappop(waiting)[2]
            entry = self.entry(file)
            if entry is not None:
                heappush(waiting, (-entry.key[0], entry.key[1], entry))
        while waiting:
            yield heappop(waiting)[2]

    def ordered(self, order: str, *, is_kept: bool) -> Iterator[CatalogueEntry]:
        """Yield the sessions in an order. All but the newest first need all files to be read once."""
        if order == "updated_desc":
            return self.newest_first(is_kept=is_kept)
        files, by_creation = self.files(is_kept=is_kept).values(), order.startswith("created")
        entries = [entry for file in files if (entry := self.entry(file, by_creation=by_creation))]
        sign = -1 if order.endswith("desc") else 1
        return iter(sorted(entries, key=lambda entry: (sign * entry.key[0], entry.key[1])))

    def files(self, *, is_kept: bool | None = None) -> Mapping[str, SessionFile]:
        """Return the files of all sessions by their ids. `is_kept`: see `newest_first`."""
        contents = self.contents()
        return contents.all if is_kept is None else contents.kept if is_kept else contents.files

    def contents(self) -> FolderContents:
        """Return what is in the folder. Count what can't be read."""
        contents = self.folder.walk()
        self.unreadable += contents.unreadable
        return contents

    def of_copies(self) -> "Catalogue":
        """Return the sessions of which we have copies, even if Claude Code has not removed their transcripts."""
        return replace(self, folder=self.folder.kept or self.folder)

    def entry(self, file: SessionFile, *, by_creation: bool = False) -> CatalogueEntry | None:
        """Return the session of a file, or None if the file is no session or can't be read."""
        try:
            facts = self.facts(file)
        except Timeout:
            raise
        except NotFound:
            return None  # removed meanwhile
        except SessionsError:
            self.unreadable += 1
            return None
        if not facts.is_session:
            return None
        time = microseconds(facts.head.created_at) if by_creation else facts.updated
        return CatalogueEntry((time, cursors.digest(file.id, 7)), file, facts)

    def find(self, session_id: str) -> SessionFile:
        """Return the transcript of a session, or of a subagent by `SESSION/agent-…`. Raise `NotFound`."""
        if "/" not in session_id:
            return self.folder.find(session_id)
        parent = session_id.partition("/")[0]
        for file in self.folder.agents(parent) if is_session_id(parent) else ():
            head = self.facts(file, of_subagent=True).head if file.id == session_id else None
            if head is not None and head.is_side and head.session_id == parent:
                return file
        self.folder.check()
        raise NotFound(f"no session {quoted(session_id)}. Call list_sessions for valid ids.")

    def facts(self, file: SessionFile, *, of_subagent: bool = False) -> SessionFacts:
        """Return the facts of a file, from memory if it has not changed. Raise the errors of `open_transcript`."""
        facts = self.known.get(file.path, file.state)
        if facts is None:
            with open_transcript(file.path, self.stops_at) as transcript:
                earlier = self.known.earlier(file.path, file.state)
                facts = read_facts(transcript, file.state, earlier, of_subagent=of_subagent)
            self.known.put(file.path, file.state, facts)
        return facts
