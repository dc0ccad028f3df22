"""Search over Guayaba's sessions, newest first: names and messages of active sessions, names of archived ones."""

import anyio

from ... import cursors
from ...caller import Caller
from ...errors import Timeout, Unavailable
from ...models import SearchPage
from ...text.search_query import SearchQuery
from ..scan_search import Candidate, ScanSearch, Transcript
from .directory import Directory
from .listing import gap_note
from .transcript import read_messages
from .wire import GuayabaSession


async def search_sessions(
    directory: Directory, caller: Caller, query: SearchQuery, limit: int, cursor: str, *, seconds: float
) -> SearchPage:
    """Search for `seconds`, including the time to read the lists, but at least for a sixth of it after that."""
    walk_id = cursors.walk("search", caller.user_id, query.key)
    position = cursors.read(cursor, walk_id, 3) if cursor else ()
    stops_at = anyio.current_time() + seconds
    active = await directory.list_sessions(archived=False, fresh=not cursor)
    archived = await directory.list_sessions(archived=True, fresh=not cursor)
    sessions = sorted(
        [*active.sessions, *archived.sessions], key=lambda session: (-session.position[0], session.position[1])
    )
    start = (-position[1], position[2]) if position else (-(10**18), 0)
    rest = [session for session in sessions if (-session.position[0], session.position[1]) >= start]
    by_digest = {session.position[1]: session for session in sessions}

    def candidate_of(session: GuayabaSession) -> Candidate:
        return Candidate(id=directory.id_of(session), name=session.name, position=session.position)

    async def next_candidates(count: int) -> tuple[list[Candidate], tuple[int, ...] | None]:
        taken, rest[:] = rest[:count], rest[count:]
        return [candidate_of(session) for session in taken], taken[-1].position if taken else None

    async def find(digest: int) -> Candidate | None:
        return next((candidate_of(session) for session in sessions if session.position[1] == digest), None)

    async def read(candidate: Candidate) -> Transcript:
        session = by_digest[candidate.position[1]]
        if session.is_archived:
            return Transcript((), 0)
        try:
            with anyio.fail_after(directory.agent_timeout):  # one agent that doesn't answer must not end the search
                history = await directory.api.history(session)
        except (TimeoutError, Timeout) as error:
            raise Unavailable("Guayaba did not answer in time.") from error
        return Transcript(read_messages(history.answer), history.size)

    search = ScanSearch(caller, query, walk_id, seconds=max(stops_at - anyio.current_time(), seconds / 6))
    page = await search.page(next_candidates, read, find, limit=limit, cursor=cursor, resume_at=position)
    notes = [
        page.note,
        *dict.fromkeys((gap_note(active), gap_note(archived))),
        "Only the names of archived sessions are searched." * bool(archived.sessions),
    ]
    complete = page.complete and active.is_complete and archived.is_complete
    return page.model_copy(update={"note": " ".join(filter(None, notes)), "complete": complete})
