"""Search over opencode's sessions, active and archived, newest first: names and messages."""

from ... import cursors
from ...caller import Caller
from ...models import SearchPage
from ...text.search_query import SearchQuery
from ..project_filter import in_project
from ..scan_search import Candidate, ScanSearch, Transcript
from ..scan_search import Position as SearchPosition
from .source import OpencodeSource
from .transcript import read_messages
from .walk import Walk, position_of
from .wire import OpencodeSession, as_datetime

_RECENT = 64
"""How many of the newest sessions are searched for one that was changed since the last page."""


async def search_sessions(
    source: OpencodeSource,
    caller: Caller,
    query: SearchQuery,
    limit: int,
    cursor: str,
    *,
    project: str,
    seconds: float,
) -> SearchPage:
    """Search names and messages, one session at a time, for at most `seconds`."""
    is_in_project = in_project(project)
    walk_id = cursors.walk("search", caller.user_id, query.key, project)
    resume_at = cursors.read(cursor, walk_id, 3) if cursor else ()
    walk = Walk(source, start=(resume_at[1], resume_at[2]) if resume_at else None)

    async def next_candidates(count: int) -> tuple[list[Candidate], SearchPosition | None]:
        found = await _take(walk, count)
        wanted = [_candidate(session) for session in found if is_in_project(session.directory)]
        return wanted, position_of(found[-1]) if found else None

    async def find(digest: int) -> Candidate | None:
        newest = await _take(Walk(source), _RECENT)
        return next((_candidate(session) for session in newest if session.digest == digest), None)

    async def read(candidate: Candidate) -> Transcript:
        found = await source.messages(candidate.id)
        return Transcript([message for message in read_messages(found.rows) if message.role != "tool"], found.size)

    search = ScanSearch(caller, query, walk_id, seconds=seconds)
    return await search.page(next_candidates, read, find, limit=limit, cursor=cursor, resume_at=resume_at)


async def _take(walk: Walk, count: int) -> list[OpencodeSession]:
    found: list[OpencodeSession] = []
    while len(found) < count and (session := await walk.next()):
        found.append(session)
    return found


def _candidate(session: OpencodeSession) -> Candidate:
    return Candidate(
        id=session.id,
        name=session.name,
        created_at=as_datetime(session.created),
        position=position_of(session),
    )
