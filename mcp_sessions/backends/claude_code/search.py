"""Search over Claude Code's sessions, newest first."""

from collections.abc import Iterator
from itertools import islice

import anyio

from ... import cursors
from ...caller import Caller
from ...models import Message, SearchPage
from ...text.search_query import SearchQuery
from ..scan_search import Candidate, Position, Search, Transcript
from ..transcripts.lines import open_transcript
from .conversation import Conversation
from .folder import SessionFile
from .sessions import Catalogue, Row


async def search_sessions(
    catalogue: Catalogue, caller: Caller, query: SearchQuery, limit: int, cursor: str, *, seconds: float
) -> SearchPage:
    """Search for `seconds`."""
    walk = cursors.walk("search", caller.user_id, query.key)
    position = cursors.read(cursor, walk, 3) if cursor else ()
    rows = _rows_from(catalogue, position)
    files: dict[str, SessionFile] = {}

    def candidate(row: Row) -> Candidate:
        files[row.file.id] = row.file
        created_at = row.facts.head.created_at
        return Candidate(id=row.file.id, name=row.facts.title, created_at=created_at, position=row.key)

    async def next_candidates(count: int) -> tuple[list[Candidate], Position | None]:
        taken = await anyio.to_thread.run_sync(lambda: list(islice(rows, count)))
        return [candidate(row) for row in taken], taken[-1].key if taken else None

    async def find(digest: int) -> Candidate | None:
        def row_of() -> Row | None:
            files = (file for file in catalogue.files() if cursors.digest(file.id, 7) == digest)
            return next(filter(None, map(catalogue.row, files)), None)

        row = await anyio.to_thread.run_sync(row_of)
        return candidate(row) if row else None

    async def read(found: Candidate) -> Transcript:
        return await anyio.to_thread.run_sync(_read, files[found.id], catalogue.stops_at, query)

    search = Search(caller, query, walk, seconds=seconds)
    page = await search.page(next_candidates, read, find, limit=limit, cursor=cursor, resume_at=position)
    if not catalogue.unreadable:
        return page
    note = f"{page.note} {catalogue.unreadable} sessions could not be read.".strip()
    return page.model_copy(update={"note": note, "complete": False})


def _rows_from(catalogue: Catalogue, position: Position) -> Iterator[Row]:
    """Yield the sessions from a position on, newest first."""
    for row in catalogue.newest_first():
        if not position or (-row.key[0], row.key[1]) >= (-position[1], position[2]):
            yield row


def _read(file: SessionFile, stops_at: float, query: SearchQuery) -> Transcript:
    """Return the messages that may match a query, of which a long transcript has few. Results of tools are left out."""
    with open_transcript(file.path, stops_at) as transcript:
        found: list[Message] = []
        for item in Conversation(transcript).items():
            if item.message.role != "tool" and query.may_match(item.message.text):
                found.append(item.message)
    return Transcript(found[::-1], file.state.size)
