"""One thread in detail, with the counts that need its whole history."""

import time
from contextlib import ExitStack
from dataclasses import dataclass

from ... import cursors
from ...errors import SessionsError, Timeout
from ...models import SessionDetail
from ..transcripts.file_memory import FileMemory
from .catalogue import Catalogue, CatalogueEntry
from .conversation import Conversation
from .home import state_of
from .lineage import Lineage
from .listing import fields_of

_COUNTING_FRACTION = 0.4
"""The counts of a history that takes longer than this fraction of a call's time are left out."""


@dataclass(frozen=True, slots=True)
class ThreadCounts:
    """The messages and runs of a thread, including those from the thread that it was forked from."""

    messages: int
    runs: int


@dataclass(frozen=True, slots=True)
class DetailReader:
    """Reads threads in detail. `known` has counts by file. `timeout` is the time of a call in seconds."""

    catalogue: Catalogue
    known: FileMemory[ThreadCounts]
    timeout: float

    def read(self, session_id: str) -> SessionDetail:
        """Return a thread. Raise `NotFound`."""
        entry = self.catalogue.find(session_id)
        facts = self.catalogue.facts(entry)
        fields = fields_of(self.catalogue, entry)
        counts, note = self._counts(entry)
        meta, row = facts.meta, entry.row
        can_resume = meta is not None and not (meta.is_subagent or entry.file.is_archived)
        return SessionDetail(
            **fields,
            branch=(row.branch if row else "") or (meta.branch if meta else ""),
            parent_id=meta.parent_id if meta else "",
            resume_command=f"codex resume {session_id}" if can_resume else "",
            metadata={"agent_nickname": meta.nickname} if meta and meta.nickname else {},
            message_count=counts.messages if counts else None,
            run_count=counts.runs if counts else None,
            total_tokens=(row.tokens if row else 0) or facts.tokens or None,
            version=self.version(entry),
            note=" ".join([*self.catalogue.notes, *([note] if note else [])]),
        )

    def _counts(self, entry: CatalogueEntry) -> tuple[ThreadCounts | None, str]:
        """Return the counts of a thread and a note. There are none if it takes too long, or it can't be read."""
        path, state = entry.file.path, state_of(entry.file)
        counts = self.known.get(path, state)
        if counts is not None:
            return counts, ""
        stops_at = min(self.catalogue.stops_at, time.monotonic() + self.timeout * _COUNTING_FRACTION)
        messages = runs = 0
        try:
            with ExitStack() as files:
                lineage = lineage_of(self.catalogue, entry, stops_at, files)
                for item in Conversation(lineage, names_tools=False).items():
                    messages, runs = messages + 1, runs + item.starts_run
        except Timeout:
            return None, ""
        except SessionsError as error:
            return None, error.message
        counts = ThreadCounts(messages, runs)
        if not lineage.notes:  # else more of it may be readable once the missing files are back
            self.known.put(path, state, counts)
        return counts, ""

    def version(self, entry: CatalogueEntry) -> str:
        """Return the version of a thread, which changes with its file and its name."""
        state = state_of(entry.file)
        known = cursors.digest(repr((self.catalogue.name(entry), entry.file.is_archived)), 4)
        return f"{state.size}-{state.mtime // 1000}-{known:x}"


def lineage_of(catalogue: Catalogue, entry: CatalogueEntry, stops_at: float, files: ExitStack) -> Lineage:
    """Return the parts of a thread, whose files are closed with `files`."""
    return Lineage(entry.thread, entry.file, catalogue.thread_with, stops_at, files)
