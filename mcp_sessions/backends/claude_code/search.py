"""Search over Claude Code's sessions, newest first."""

from collections.abc import Iterator

from ...caller import Caller
from ...models import SearchPage
from ...text.search_query import SearchQuery
from ..project_filter import in_project
from ..scan_search import Candidate, Transcript
from ..transcripts.lines import open_transcript
from ..transcripts.search import SearchableSession, TranscriptSearch, matching
from .catalogue import Catalogue
from .chain import ChainStart
from .conversation import Conversation
from .folder import SessionFile


async def search_sessions(
    catalogue: Catalogue,
    caller: Caller,
    query: SearchQuery,
    limit: int,
    cursor: str,
    *,
    project: str,
    seconds: float,
) -> SearchPage:
    """Search for `seconds`."""
    is_in_project = in_project(project)

    def newest_first() -> Iterator[SearchableSession[SessionFile]]:
        for entry in catalogue.newest_first():
            head = entry.facts.head
            if not is_in_project(head.project):
                continue
            candidate = Candidate(
                id=entry.file.id, name=entry.facts.title, created_at=head.created_at, position=entry.key
            )
            yield SearchableSession(candidate, entry.file)

    def read(file: SessionFile, query: SearchQuery) -> Transcript:
        return _read(file, catalogue.stops_at, query)

    page = await TranscriptSearch(newest_first, read, project).page(caller, query, limit, cursor, seconds=seconds)
    if not catalogue.unreadable:
        return page
    note = f"{page.note} {catalogue.unreadable} sessions could not be read.".strip()
    return page.model_copy(update={"note": note, "complete": False})


def _read(file: SessionFile, stops_at: float, query: SearchQuery) -> Transcript:
    """Return the messages that may match a query; a long transcript has few of these. Results of tools are left out."""
    with open_transcript(file.path, stops_at) as transcript:
        found = [*matching(Conversation(transcript).texts(ChainStart()), query)]
    return Transcript(found[::-1], file.state.size)
