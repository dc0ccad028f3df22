"""Where a search finds Guayaba's sessions: newest first, names and messages; of archived ones, the names."""

from collections.abc import Sequence

import anyio

from ... import cursors
from ...caller import Caller
from ...errors import Timeout, Unavailable
from ...models import SearchPage
from ..scan_search import Search, Subject, Transcript
from .directory import Directory
from .listing import is_whole, note_of
from .transcript import read_messages
from .wire import Entry


async def search_sessions(
    directory: Directory, caller: Caller, words: Sequence[str], limit: int, cursor: str, *, seconds: float
) -> SearchPage:
    """It goes on for so many seconds, and for some in any case once the lists are there."""
    walk = cursors.walk("search", caller.user_id, words)
    position = cursors.read(cursor, walk, 3) if cursor else ()
    stops_at = anyio.current_time() + seconds
    active = await directory.listed(archived=False, fresh=not cursor)
    archived = await directory.listed(archived=True, fresh=not cursor)
    entries = sorted([*active.entries, *archived.entries], key=lambda entry: (-entry.place[0], entry.place[1]))
    begin = (-position[1], position[2]) if position else (-(10**18), 0)
    rest = [entry for entry in entries if (-entry.place[0], entry.place[1]) >= begin]
    by_digest = {entry.place[1]: entry for entry in entries}

    def subject_of(entry: Entry) -> Subject:
        return Subject(id=directory.id_of(entry), name=entry.name, position=entry.place)

    async def further(count: int) -> tuple[list[Subject], tuple[int, ...] | None]:
        taken, rest[:] = rest[:count], rest[count:]
        return [subject_of(entry) for entry in taken], taken[-1].place if taken else None

    async def find(digest: int) -> Subject | None:
        return next((subject_of(entry) for entry in entries if entry.place[1] == digest), None)

    async def read(subject: Subject) -> Transcript:
        entry = by_digest[subject.position[1]]
        if entry.is_archived:
            return Transcript((), 0)
        try:
            with anyio.fail_after(directory.patience):  # one that is silent must not end the search
                answer, _, size = await directory.api.history(entry)
        except (TimeoutError, Timeout) as error:
            raise Unavailable("Guayaba did not answer in time.") from error
        return Transcript(read_messages(answer), size)

    search = Search(caller, words, walk, seconds=max(stops_at - anyio.current_time(), seconds / 6))
    page = await search.page(further, read, find, limit=limit, cursor=cursor, shown=position)
    notes = [
        page.note,
        *dict.fromkeys((note_of(active), note_of(archived))),
        "Of archived sessions, only names are searched." * bool(archived.entries),
    ]
    complete = page.complete and is_whole(active) and is_whole(archived)
    return page.model_copy(update={"note": " ".join(filter(None, notes)), "complete": complete})
