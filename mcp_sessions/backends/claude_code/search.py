"""Search over Claude Code's sessions, newest first."""

from collections.abc import Iterator

from ...caller import Caller
from ...models import SearchPage
from ...text.search_query import SearchQuery
from ..project_filter import in_project
from ..scan_search import Candidate, Transcript
from ..transcripts.lines import open_transcript
from ..transcripts.search import Searched, TranscriptSearch, matching
from .chain import Start
from .conversation import Conversation
from .folder import SessionFile
from .sessions import Catalogue


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

    def newest_first() -> Iterator[Searched[SessionFile]]:
        for row in catalogue.newest_first():
            head = row.facts.head
            if not is_in_project(head.project):
                continue
            candidate = Candidate(id=row.file.id, name=row.facts.title, created_at=head.created_at, position=row.key)
            yield Searched(candidate, row.file)

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
        found = [*matching(Conversation(transcript).texts(Start()), query)]
    return Transcript(found[::-1], file.state.size)
