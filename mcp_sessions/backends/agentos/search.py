"""Where a search finds AgentOS's sessions: newest first, archived ones too."""

from collections.abc import Sequence

import anyio

from ... import cursors
from ...caller import Caller
from ...models import SearchPage, SessionFilter
from ..scan_search import Position, Search, Subject, Transcript
from .api import Api
from .listing import Place, open_walk
from .transcript import read_transcript

_RECENT = 64
"""How many of the newest sessions are looked at for one that moved."""


async def search_sessions(
    api: Api, caller: Caller, words: Sequence[str], limit: int, cursor: str, *, seconds: float
) -> SearchPage:
    """Names, summaries and messages, a session at a time."""
    owner, filter = caller.user_id, SessionFilter()
    walk = cursors.walk("search", owner, words)
    stops_at = anyio.current_time() + seconds
    source, shown = await open_walk(api, owner, filter, cursor, walk, stops_at=stops_at, extra=1, begins_with_it=True)
    types: dict[str, str] = {}

    def subject_of(place: Place) -> Subject:
        stored = place.stored
        types[stored.id] = stored.type
        return Subject(
            id=stored.id,
            name=stored.name,
            summary=stored.summary,
            created_at=stored.created_at,
            position=place.position,
        )

    async def next(count: int) -> tuple[list[Subject], Position | None]:
        rows = await source.next(count, lambda stored: True)
        return [subject_of(place) for place, is_there in rows if is_there], rows[-1][0].position if rows else None

    async def find(digest: int) -> Subject | None:
        newest, _ = await open_walk(api, owner, filter, "", walk, stops_at=stops_at)
        rows = await newest.next(_RECENT, lambda stored: True)
        found = [place for place, is_there in rows if is_there and place.key.digest == digest]
        return subject_of(found[0]) if found else None

    async def read(subject: Subject) -> Transcript:
        reply = await api.runs(subject.id, owner, types[subject.id])
        transcript = read_transcript(reply.json())
        # What a member or step said is the result that the outer run had of it, too.
        outer = {message.text for message in transcript.messages if message.run_id not in transcript.inner}
        kept = [
            message
            for message in transcript.messages
            if message.run_id not in transcript.inner or message.text not in outer
        ]
        return Transcript(kept, len(reply.body))

    search = Search(caller, words, walk, seconds=seconds)
    page = await search.page(next, read, find, limit=limit, cursor=cursor, shown=shown)
    gaps = source.note_on_gaps()
    if not gaps:
        return page
    return page.model_copy(update={"note": f"{gaps} {page.note}".strip(), "complete": False})
