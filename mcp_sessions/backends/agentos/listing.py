"""Lists of sessions, filled to their limit whatever AgentOS can't filter by."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

import anyio

from ... import cursors
from ...errors import NotFound, Unsupported
from ...models import SessionFilter, SessionPage
from ...text.words import folded
from ..gather import each
from ..http.client import ServerFailed
from .api import Api
from .page_reader import Sort, UpstreamPage
from .pages import Key, Merged, Stream
from .versions import Trait
from .wire import TYPES, Stored

# Each row costs AgentOS some 0.3 ms. To show 20 takes 22: one tells that there are more, one that its second is whole.
_SMALL_PAGE, _LARGE_PAGE = 24, 128
_UNADDRESSABLE = 'no request to AgentOS can name them, since their ids contain "/" or the like'


class Place(NamedTuple):
    """A session and where it stands: enough to go on behind it."""

    stored: Stored
    key: Key
    hints: tuple[int, ...]

    @property
    def position(self) -> tuple[int, ...]:
        """As whole numbers, for a cursor."""
        return abs(self.key.time), self.key.digest, *self.hints


class Walk:
    """The owner's sessions in an order, with what a list's items don't tell before agno 2.6."""

    def __init__(
        self,
        api: Api,
        owner: str,
        filter: SessionFilter,
        types: Sequence[str],
        *,
        is_rich: bool,
        large: bool,
        begins_at: Key | None,
        begins_with_it: bool,
        hints: Sequence[int],
        stops_at: float,
    ) -> None:
        self._api = api
        self._owner = owner
        self._filter = filter
        self._is_rich = is_rich
        self.begins_at = begins_at
        self._details_failed = 0
        self._unaddressable_left_out = 0
        size = _LARGE_PAGE if large else _SMALL_PAGE
        after = begins_at._replace(digest=begins_at.digest - 1) if begins_at and begins_with_it else begins_at
        self._merged = Merged(
            [
                Stream(partial(self._page, type), filter.order, size, after=after, hint=hint, stops_at=stops_at)
                for type, hint in zip(types, hints, strict=True)
            ]
        )

    @property
    def row_count(self) -> int:
        """How many sessions of AgentOS's lists were looked at so far."""
        return self._merged.findings.rows

    def note_on_gaps(self) -> str:
        """Return which sessions are missing from what was walked so far; "" if none is."""
        found = self._merged.findings
        failed = found.failed + self._details_failed
        notes: list[str] = []
        if found.may_miss_sessions:
            notes.append(
                "AgentOS failed on some sessions of its list. Those are left out, and others that are of the same "
                "second may be missing. Filter by type or agent_id to list fewer sessions at once."
            )
        elif failed:
            places = ", ".join(str(place + 1) for place in found.failed_places)
            where = f", at place {places} of its list" if places else ""
            notes.append(f"AgentOS failed on {failed} session(s){where}; those are left out.")
        if self._unaddressable_left_out:
            notes.append(
                f"{self._unaddressable_left_out} session(s) are left out, because their user and whether they are "
                f"archived are unknown: {_UNADDRESSABLE}."
            )
        return " ".join(notes)

    async def next(self, count: int, wanted: Callable[[Stored], bool]) -> list[tuple[Place, bool]]:
        """At most `count` sessions and whether each is wanted; none at the end."""
        while True:
            places = [Place(row.stored, row.key, hints) for row, hints in await self._merged.take(count)]
            # Where AgentOS shows those of others too, they are as none.
            own = [place for place in places if not (self._is_rich and self._owner not in ("", place.stored.user_id))]
            if own or not places:
                break
        if self._is_rich:
            return [(place, wanted(place.stored)) for place in own]
        return await each(partial(self._completed, wanted), own)

    async def _completed(self, wanted: Callable[[Stored], bool], place: Place) -> tuple[Place, bool]:
        if not wanted(place.stored):
            return place, False
        try:
            stored = await self._api.find(place.stored.id, self._owner, type=place.stored.type)
        except NotFound:
            return place, False  # removed meanwhile
        except ServerFailed:
            self._details_failed += 1
            return place, False
        except Unsupported:  # no path can carry the id
            # A narrowed caller sees only what is known to be theirs, and the archive what is known to be archived.
            is_left_out = bool(self._owner) or self._filter.archived
            self._unaddressable_left_out += is_left_out
            return place, not is_left_out
        return place._replace(stored=stored), wanted(stored)

    async def _page(self, type: str, sort: Sort, page: int, size: int) -> UpstreamPage:
        by, _, direction = self._filter.order.partition("_")
        if sort == "reversed time":
            direction = "asc" if direction == "desc" else "desc"
        return await self._api.list_page(
            self._owner,
            type=type,
            component=self._filter.agent_id,
            by="session_id" if sort == "id" else f"{by}_at",
            order=direction,
            page=page,
            size=size,
        )


async def open_walk(
    api: Api,
    owner: str,
    filter: SessionFilter,
    cursor: str,
    walk: str,
    *,
    stops_at: float,
    extra: int = 0,
    large: bool = False,
    begins_with_it: bool = False,
) -> tuple[Walk, tuple[int, ...]]:
    """Return a walk from where a cursor stands, behind its session or with it, and all its numbers, `extra` ones first.

    After `stops_at`, nothing more is read to find what is missing around sessions that AgentOS fails on.
    """
    is_rich = (await api.version()).has(Trait.FINDS_TYPES)
    # Since agno 2.6 a list has every type, and is faster so; before it, agents' only unless another is asked for.
    types = (filter.type,) if filter.type or is_rich else TYPES
    begins_at, hints, position = None, [0] * len(types), ()
    if cursor:
        position = cursors.read(cursor, walk, extra + 2 + len(types))
        time, digest, *hints = position[extra:]
        begins_at = Key(-time if filter.order.endswith("desc") else time, digest)
    found = Walk(
        api,
        owner,
        filter,
        types,
        is_rich=is_rich,
        large=large,
        begins_at=begins_at,
        begins_with_it=begins_with_it,
        hints=hints,
        stops_at=stops_at,
    )
    return found, position


async def list_sessions(
    api: Api,
    owner: str,
    filter: SessionFilter,
    limit: int,
    cursor: str,
    *,
    present: Callable[[str], str],
    seconds: float,
) -> SessionPage:
    """A full page, or the end; or, where that takes longer than `seconds`, what was found and how far it came."""
    walk = cursors.walk("list", owner, *vars(filter).values())
    narrow = bool(filter.archived or filter.query or filter.updated_after or filter.updated_before)
    stops_at = anyio.current_time() + seconds
    is_large = narrow or limit > _SMALL_PAGE - 2
    source, _ = await open_walk(api, owner, filter, cursor, walk, stops_at=stops_at, large=is_large)
    if filter.type and filter.type not in TYPES:
        return SessionPage(sessions=(), total=0)
    wanted = partial(_is_wanted, filter, folded(filter.query), present)
    shown: list[Place] = []
    came_to: Place | None = None
    while len(shown) <= limit:
        rows = await source.next(limit + 1 - len(shown), wanted)
        if not rows:
            return _page(shown, walk, source, is_whole=not cursor)
        came_to = rows[-1][0]
        shown += [place for place, is_shown in rows if is_shown]
        if _is_past(filter, came_to.stored):
            return _page(shown[:limit], walk, source, shown[limit - 1 : limit] if len(shown) > limit else ())
        if anyio.current_time() > stops_at and len(shown) <= limit:
            note = f"Looked at {source.row_count:,} sessions so far; next_cursor goes on with the others."
            return _page(shown, walk, source, [came_to], note)
    return _page(shown[:limit], walk, source, shown[limit - 1 : limit])


def _page(
    shown: Sequence[Place],
    walk: str,
    source: Walk,
    behind: Sequence[Place] = (),
    note: str = "",
    *,
    is_whole: bool = False,
) -> SessionPage:
    gaps = source.note_on_gaps()
    notes = (gaps, _note_on_unopened(shown), note)
    return SessionPage(
        sessions=tuple(place.stored.session(cursors.mark(walk, *place.position)) for place in shown),
        next_cursor=cursors.mark(walk, *behind[0].position) if behind else "",
        total=len(shown) if is_whole and not gaps else None,
        note=" ".join(filter(None, notes)),
    )


def _note_on_unopened(shown: Sequence[Place]) -> str:
    count = sum(not place.stored.is_whole for place in shown)
    if not count:
        return ""
    return (
        f"{count} session(s) can't be opened or changed, and their agent, their user and whether they are archived are "
        f"unknown: {_UNADDRESSABLE}."
    )


def _is_wanted(filter: SessionFilter, part: str, present: Callable[[str], str], stored: Stored) -> bool:
    # A list before agno 2.6 doesn't say what is archived: then this is asked again of the whole session.
    if stored.is_whole and (stored.archived_at is not None) != filter.archived:
        return False
    if (filter.type and stored.type != filter.type) or not filter.is_in_time(stored.updated_at):
        return False
    return not part or part in folded(present(stored.name))


def _is_past(filter: SessionFilter, stored: Stored) -> bool:
    """Whether all that comes behind is out of the times asked for."""
    if stored.updated_at is None or not filter.order.startswith("updated"):
        return False
    if filter.order == "updated_desc":
        return filter.updated_after is not None and stored.updated_at < filter.updated_after
    return filter.updated_before is not None and stored.updated_at > filter.updated_before
