"""The operations that only read. They change nothing in Claude Code's folder."""

import os
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

from ... import cursors
from ...models import (
    DEFAULT_HISTORY,
    HistoryQuery,
    MessagePage,
    RunPage,
    SearchPage,
    SessionDetail,
    SessionFilter,
    SessionPage,
)
from ...text.search_query import parse_query
from ..base import Capability, SessionBackend
from ..deadline import remaining
from ..health import Report
from ..transcripts.file_memory import FileMemory
from ..transcripts.history import History, message_page
from ..transcripts.lines import open_transcript
from ..transcripts.runs import run_page
from ..transcripts.threads import run_in_thread
from ..validation import check_filter
from . import ClaudeCodeOptions
from .catalogue import Catalogue
from .checks import examine
from .conversation import NEWEST, POSITION_LENGTH, Conversation
from .details import DetailReader, SessionCounts
from .facts import SessionFacts
from .feed import ClaudeCodeFeed
from .folder import ClaudeFolder, SessionFile, is_session_id
from .listing import list_page
from .running_processes import session_of_ancestor
from .search import search_sessions
from .subagents import agent_runs

T = TypeVar("T")

_VARIABLE = "CLAUDE_CODE_SESSION_ID"
_TIME_FRACTION = 0.6
"""A search returns what it has found after this fraction of a call's time."""


class ClaudeCodeReader(SessionBackend):
    """The sessions in Claude Code's folder, for reading only. A subagent's transcript is a session of its own, with the
    id `SESSION/agent-…`: it may be as long as the session's transcript, and is read in the same way. Lists leave it
    out, since no user started it. Callers find it through its session: get_session_runs has a run of the same id, with
    the subagent's prompt and answer.
    """

    title = "Claude Code"
    capabilities = frozenset(
        {
            Capability.LIST_SESSIONS,
            Capability.GET_SESSION,
            Capability.SEARCH_SESSIONS,
            Capability.GET_SESSION_HISTORY,
            Capability.GET_SESSION_RUNS,
        }
    )

    def __init__(self, root: Path, options: ClaudeCodeOptions, kept: Path) -> None:
        self.options = options
        self._keep = options.keep
        self._folder = ClaudeFolder(root, kept=ClaudeFolder(kept))
        self._facts: FileMemory[SessionFacts] = FileMemory()
        self._counts: FileMemory[SessionCounts] = FileMemory()

    @property
    def keeps(self) -> frozenset[str]:
        return super().keeps | {"metadata.tag"}

    def why_no_user_scoping(self) -> str:
        return "Claude Code's sessions all belong to the one person in whose folder they are."

    def canonical_id(self, session_id: str) -> str:
        return session_id.lower() if is_session_id(session_id.lower()) else session_id

    def client_session(self) -> str:
        """Return the session of the Claude Code process that started this one, "" if it isn't known.

        The environment variable names the session in which the server was started, which is no longer current after
        `/clear`.
        """
        session_id = session_of_ancestor(self._folder.root) or os.environ.get(_VARIABLE, "")
        return session_id if is_session_id(session_id) else ""

    async def check_reachable(self) -> None:
        await self._in_thread(lambda stops_at: self._folder.check())

    async def examine(self, report: Report) -> None:
        await self._in_thread(lambda stops_at: examine(self._catalogue(stops_at), report))

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """List sessions. The default order reads only as many files as the page needs."""
        check_filter(filter)
        walk = cursors.walk("list", self.caller.user_id, *vars(filter).values())
        after = cursors.read(cursor, walk, 2) if cursor else None

        def read(stops_at: float) -> SessionPage:
            catalogue = self._catalogue(stops_at)
            return list_page(catalogue, filter, walk, limit=limit, after=after, sanitize=self.caller.sanitize)

        return await self._in_thread(read)

    async def get_session(self, session_id: str) -> SessionDetail:
        return await self._in_thread(lambda stops_at: self._details(self._catalogue(stops_at)).read(session_id))

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        def find(stops_at: float) -> Sequence[str]:
            catalogue = self._catalogue(stops_at)
            files = [file for file in sorted(catalogue.files().values(), reverse=True) if file.id.startswith(prefix)]
            ids = [file.id for file in files if catalogue.entry(file) is not None]
            return sorted(ids, key=lambda found: found != prefix)[:limit]

        return await self._in_thread(find)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Return messages, the newest of which are read from the end of the file."""
        walk = cursors.walk("history", session_id, sorted(query.roles), query.include_tools)
        position = cursors.read(cursor, walk, POSITION_LENGTH) if cursor else NEWEST

        def read(stops_at: float) -> MessagePage:
            with self._history(session_id, position, stops_at) as (history, _):
                return message_page(history, query, walk, limit=limit, is_first=not cursor)

        return await self._in_thread(read)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        """Return runs. A run begins with a prompt of the user; those of subagents are inside of it."""
        walk = cursors.walk("runs", session_id)
        numbers = cursors.read(cursor, walk, POSITION_LENGTH + 2) if cursor else ()
        position = numbers[:POSITION_LENGTH] or NEWEST

        def read(stops_at: float) -> RunPage:
            with self._history(session_id, position, stops_at) as (history, file):
                return run_page(
                    history,
                    agent_runs(self._catalogue(stops_at), file),
                    walk,
                    run_id=run_id,
                    limit=limit,
                    start=position,
                    before=(numbers[-2], numbers[-1]) if numbers else None,
                )

        return await self._in_thread(read)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search the names and messages of sessions one at a time, newest first. Results of tools are not searched."""
        parsed = parse_query(query)
        seconds = remaining(self.options.timeout) * _TIME_FRACTION
        catalogue = self._catalogue(self._stops_at())
        return await search_sessions(catalogue, self.caller, parsed, limit, cursor, project=project, seconds=seconds)

    async def transcript_feed(self) -> ClaudeCodeFeed:
        return await self._in_thread(lambda stops_at: ClaudeCodeFeed(self._catalogue(stops_at)))

    @contextmanager
    def _history(
        self, session_id: str, position: tuple[int, ...], stops_at: float
    ) -> Generator[tuple[History, SessionFile]]:
        catalogue = self._catalogue(stops_at)
        file = catalogue.find(session_id)
        with open_transcript(file.path, stops_at) as transcript:
            conversation = Conversation(transcript, of_subagent="/" in session_id)
            yield History(session_id, conversation.items(position), conversation.notes), file

    def _details(self, catalogue: Catalogue) -> DetailReader:
        return DetailReader(catalogue, self._counts, self.options.timeout, self._keep)

    def _catalogue(self, stops_at: float) -> Catalogue:
        return Catalogue(self._folder, self._facts, stops_at)

    def _stops_at(self) -> float:
        return time.monotonic() + remaining(self.options.timeout)

    async def _in_thread(self, work: Callable[[float], T]) -> T:
        return await run_in_thread(work, seconds=self.options.timeout, place="Claude Code's folder")
