"""The reading operations on Codex's threads. They change nothing in Codex's home, and start no program."""

import time
from collections.abc import Callable, Generator, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from itertools import islice
from pathlib import Path
from typing import NoReturn, TypeVar

from ... import cursors
from ...errors import Unsupported
from ...json_documents import is_object
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
from ...text.search_query import SearchQuery, parse_query
from ..base import Capability, SessionBackend
from ..deadline import remaining
from ..health import CheckResult, Report
from ..project_filter import in_project
from ..scan_search import Candidate, Transcript
from ..transcripts.file_memory import FileMemory
from ..transcripts.history import History, message_page
from ..transcripts.runs import run_page
from ..transcripts.search import SearchableSession, TranscriptSearch, matches
from ..transcripts.threads import run_in_thread
from ..validation import check_filter
from . import CodexOptions
from .catalogue import Catalogue, CatalogueEntry, CatalogueSources
from .checks import examine
from .conversation import NEWEST, POSITION_LENGTH, Conversation, status_of_open_turn
from .details import DetailReader, ThreadCounts, lineage_of
from .feed import CodexFeed, FeedMemory
from .home import CodexHome, is_thread_id, state_of
from .listing import list_page
from .session_index import SessionIndex
from .state_database import StateDatabase

T = TypeVar("T")

CHANGES = frozenset(
    {
        Capability.RENAME_SESSION,
        Capability.ARCHIVE_SESSION,
        Capability.RESTORE_SESSION,
        Capability.DELETE_SESSION,
        Capability.APPLY_TO_SESSIONS,
        Capability.FORK_SESSION,
    }
)
"""The operations that Codex itself carries out."""

_TIME_FRACTION = 0.6
"""A search returns what it has found after this fraction of a call's time."""


class CodexReader(SessionBackend):
    """The threads in Codex's home, with those of subagents and of `codex exec`. There is no codex to change them."""

    title = "Codex"
    capabilities = frozenset(
        {
            Capability.LIST_SESSIONS,
            Capability.GET_SESSION,
            Capability.SEARCH_SESSIONS,
            Capability.GET_SESSION_HISTORY,
            Capability.GET_SESSION_RUNS,
        }
    )

    def __init__(self, root: Path, options: CodexOptions) -> None:
        self.options = options
        self._home = CodexHome(root)
        self._sources = CatalogueSources(self._home, StateDatabase(root), SessionIndex(root))
        self._counts: FileMemory[ThreadCounts] = FileMemory()
        self._feed = FeedMemory()

    def why_no_user_scoping(self) -> str:
        return "Codex's threads all belong to the one person in whose home they are."

    def _refuse(self, capability: Capability) -> NoReturn:
        if capability in CHANGES:
            raise Unsupported(
                f"Only Codex can change its sessions, and no codex was found, so there is no {capability}. Install "
                "Codex, or name its program in the backend's URL: codex:?command=PATH."
            )
        super()._refuse(capability)

    def canonical_id(self, session_id: str) -> str:
        return session_id.lower() if is_thread_id(session_id.lower()) else session_id

    def session_in_meta(self, meta: Mapping[str, object]) -> str:
        """Return the thread that Codex makes a request for: that of a subagent if the subagent makes it.

        The keys differ between versions. In a request of a subagent, `session_id` is the thread that started it.
        """
        turn = meta.get("x-codex-turn-metadata")
        fields = turn if is_object(turn) else {}
        ids = (meta.get("threadId"), fields.get("thread_id"), fields.get("session_id"))
        return next((id for id in ids if isinstance(id, str) and is_thread_id(id.lower())), "")

    async def check_reachable(self) -> None:
        await self._in_thread(lambda stops_at: self._home.check())

    async def examine(self, report: Report) -> None:
        await self._examine_home(report)
        report(CheckResult("program", "no codex was found on the PATH, so sessions can only be read"))

    async def _examine_home(self, report: Report) -> None:
        await self._in_thread(lambda stops_at: examine(self._catalogue(stops_at), report))

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        """List sessions. Only the files of the page are read, as far as the database has the times of all."""
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
            # Ids begin with the time of creation, so these are the newest first.
            ids = sorted((id for id in catalogue.threads if id.startswith(prefix)), reverse=True)
            return list(islice(filter(catalogue.has, ids), limit))

        return await self._in_thread(find)

    async def get_session_history(
        self, session_id: str, query: HistoryQuery = DEFAULT_HISTORY, *, limit: int = 20, cursor: str = ""
    ) -> MessagePage:
        """Return messages, the newest of which are read from the end of the file."""
        walk = cursors.walk("history", session_id, sorted(query.roles), query.include_tools)
        position = cursors.read(cursor, walk, POSITION_LENGTH) if cursor else NEWEST

        def read(stops_at: float) -> MessagePage:
            with self._conversation(session_id, stops_at) as conversation:
                history = History(session_id, conversation.items(position), conversation.notes)
                return message_page(history, query, walk, limit=limit, is_first=not cursor)

        return await self._in_thread(read)

    async def get_session_runs(
        self, session_id: str, *, run_id: str = "", limit: int = 20, cursor: str = ""
    ) -> RunPage:
        """Return runs, each of which begins with a prompt."""
        walk = cursors.walk("runs", session_id)
        numbers = cursors.read(cursor, walk, POSITION_LENGTH + 2) if cursor else ()
        position = numbers[:POSITION_LENGTH] or NEWEST

        def read(stops_at: float) -> RunPage:
            with self._conversation(session_id, stops_at) as conversation:
                conversation.status = status_of_open_turn(conversation.lineage, self._home.root)
                return run_page(
                    History(session_id, conversation.items(position), conversation.notes),
                    (),
                    walk,
                    run_id=run_id,
                    limit=limit,
                    start=position,
                    before=(numbers[-2], numbers[-1]) if numbers else None,
                )

        return await self._in_thread(read)

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        """Search the names and messages of sessions one at a time, newest first. Results of tools are not searched.

        The messages that a fork shares with another session are found in that session only.
        """
        parsed = parse_query(query)
        seconds = remaining(self.options.timeout) * _TIME_FRACTION
        catalogue = await self._in_thread(self._catalogue)
        stops_at = time.monotonic() + seconds
        unfinished: list[str] = []
        is_in_project = in_project(project)

        def newest_first() -> Iterator[SearchableSession[CatalogueEntry]]:
            for entry in catalogue.ordered("updated_desc"):
                if not is_in_project(catalogue.project(entry)):
                    continue
                created_at = catalogue.created_at(entry)
                name = catalogue.name(entry)
                yield SearchableSession(
                    Candidate(id=entry.id, name=name, created_at=created_at, position=entry.key), entry
                )

        def read(entry: CatalogueEntry, query: SearchQuery) -> Transcript:
            with ExitStack() as files:
                lineage = lineage_of(catalogue, entry, stops_at, files)
                found = matches(Conversation(lineage).texts(), query)
            unfinished.extend(() if found.is_complete else [entry.id])
            return Transcript(found.messages, state_of(entry.file).size)

        search = TranscriptSearch(newest_first, read, project)
        page = await search.page(self.caller, parsed, limit, cursor, seconds=seconds)
        notes = [page.note, *catalogue.notes]
        notes += [f"{catalogue.unreadable} sessions could not be read."] if catalogue.unreadable else []
        notes += [f"{len(unfinished)} long sessions were searched only in part."] if unfinished else []
        is_complete = page.complete and not (catalogue.unreadable or unfinished)
        return page.model_copy(update={"note": " ".join(filter(None, notes)), "complete": is_complete})

    async def transcript_feed(self) -> CodexFeed:
        return await self._in_thread(lambda stops_at: CodexFeed(self._catalogue(stops_at), self._feed))

    @contextmanager
    def _conversation(self, session_id: str, stops_at: float) -> Generator[Conversation]:
        catalogue = self._catalogue(stops_at)
        with ExitStack() as files:
            yield Conversation(lineage_of(catalogue, catalogue.find(session_id), stops_at, files))

    def _catalogue(self, stops_at: float) -> Catalogue:
        return Catalogue(self._sources, stops_at)

    def _details(self, catalogue: Catalogue) -> DetailReader:
        return DetailReader(catalogue, self._counts, self.options.timeout)

    async def _in_thread(self, work: Callable[[float], T]) -> T:
        return await run_in_thread(work, seconds=self.options.timeout, place="Codex's home")
