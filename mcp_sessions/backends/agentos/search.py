"""Search over AgentOS's sessions, active and archived, newest first."""

import anyio

from ... import cursors
from ...caller import Caller
from ...models import SearchPage, SessionFilter
from ...text.search_query import SearchQuery
from ..scan_search import Candidate, Position, ScanSearch, Transcript
from .api import Api
from .listing import open_walk
from .transcript import read_transcript
from .walk import WalkItem

_RECENT = 64
"""How many of the newest sessions are searched for one that was changed since the last page."""


async def search_sessions(
    api: Api, caller: Caller, query: SearchQuery, limit: int, cursor: str, *, seconds: float
) -> SearchPage:
    """Search names, summaries and messages, one session at a time."""
    owner, filter = caller.user_id, SessionFilter()
    walk_id = cursors.walk("search", owner, query.key)
    stops_at = anyio.current_time() + seconds
    walk, position = await open_walk(
        api, owner, filter, cursor, walk_id, stops_at=stops_at, extra=1, includes_start=True
    )

    def candidate_of(item: WalkItem) -> Candidate:
        session = item.session
        return Candidate(
            id=session.id,
            name=session.name,
            summary=session.summary,
            created_at=session.created_at,
            position=item.position,
        )

    async def next(count: int) -> tuple[list[Candidate], Position | None]:
        items = await walk.next(count, lambda session: True)
        return [candidate_of(item) for item, is_readable in items if is_readable], items[-1][
            0
        ].position if items else None

    async def find(digest: int) -> Candidate | None:
        newest, _ = await open_walk(api, owner, filter, "", walk_id, stops_at=stops_at)
        items = await newest.next(_RECENT, lambda session: True)
        found = [item for item, is_readable in items if is_readable and item.key.digest == digest]
        return candidate_of(found[0]) if found else None

    async def read(candidate: Candidate) -> Transcript:
        reply = await api.runs(candidate.id, owner)
        transcript = read_transcript(reply.json())
        # An outer run repeats an inner run's text as its own result: the search would find the text twice.
        outer = {message.text for message in transcript.messages if message.run_id not in transcript.inner_run_ids}
        kept = [
            message
            for message in transcript.messages
            if message.run_id not in transcript.inner_run_ids or message.text not in outer
        ]
        return Transcript(kept, len(reply.body))

    search = ScanSearch(caller, query, walk_id, seconds=seconds)
    page = await search.page(next, read, find, limit=limit, cursor=cursor, resume_at=position)
    gaps = walk.gap_note()
    if not gaps:
        return page
    return page.model_copy(update={"note": f"{gaps} {page.note}".strip(), "complete": False})
