"""A walk over the sessions of AgentOS's lists."""

from collections.abc import Callable, Sequence
from functools import partial
from typing import NamedTuple

from ...models import SessionFilter
from ..http.urls import path_obstacle
from .api import Api
from .page_reader import Sort, UpstreamPage
from .pages import MergedStream, SessionStream, SortKey
from .session_paths import PYTHON_API, UNADDRESSABLE
from .wire import AgentOsSession

Wanted = Callable[[AgentOsSession], bool]
"""A function that returns whether the caller of a walk wants a session."""


class WalkItem(NamedTuple):
    """A session of a walk, with its key and the hints to continue after it."""

    session: AgentOsSession
    key: SortKey
    hints: tuple[int, ...]

    @property
    def position(self) -> tuple[int, ...]:
        """The numbers for a cursor."""
        return abs(self.key.time), self.key.digest, *self.hints


class Walk:
    """The owner's sessions in the order of `filter` that follow the key `after`, read in upstream pages of `size`.

    `hints` has one number for each of the lists in `list_types`. `stops_at` (anyio's clock): when to stop looking for
    sessions that paging missed.
    """

    def __init__(
        self,
        api: Api,
        owner: str,
        filter: SessionFilter,
        *,
        size: int,
        after: SortKey | None,
        hints: Sequence[int],
        stops_at: float,
    ) -> None:
        self._api = api
        self._owner = owner
        self._filter = filter
        self._stream = MergedStream(
            [
                SessionStream(
                    partial(self._fetch_page, type), filter.order, size, after=after, hint=hint, stops_at=stops_at
                )
                for type, hint in zip(self.list_types(filter), hints, strict=True)
            ]
        )

    @staticmethod
    def list_types(filter: SessionFilter) -> Sequence[str]:
        """Return the type of each list to read; "" for the list of all types."""
        return (filter.type,)

    @property
    def row_count(self) -> int:
        """How many rows of AgentOS's lists were read so far."""
        return self._stream.summary.row_count

    @property
    def failed_count(self) -> int:
        """How many sessions AgentOS failed on so far."""
        return self._stream.summary.failed_count

    def gap_note(self) -> str:
        """Return a note on the sessions that are missing so far; "" if there are none."""
        summary = self._stream.summary
        if summary.may_miss_sessions:
            return (
                "Some sessions may be missing: part of AgentOS's list could not be read. Filter by type or agent_id to "
                "list fewer sessions at once."
            )
        if not self.failed_count:
            return ""
        places = ", ".join(str(offset + 1) for offset in summary.failed_offsets)
        where = f", at position {places} of its list" if places else ""
        return f"AgentOS failed on {self.failed_count} session(s){where}; those are left out."

    def unaddressable_note(self, sessions: Sequence[AgentOsSession]) -> str:
        """Return a note on those of the sessions whose ids can't be part of a path; "" if there are none."""
        count = sum(bool(path_obstacle(session.id)) for session in sessions)
        if not count:
            return ""
        return (
            f"{count} session(s) can only be listed, not opened or changed: {UNADDRESSABLE}. To open or change them, "
            f"use {PYTHON_API}."
        )

    async def next(self, count: int, wanted: Wanted) -> list[tuple[WalkItem, bool]]:
        """Return at most `count` sessions, each with whether it is wanted; an empty list at the end."""
        while items := await self._take(count):
            own = [item for item in items if self._owner in ("", item.session.user_id)]
            if own:  # AgentOS may list other users' sessions too
                return [(item, wanted(item.session)) for item in own]
        return []

    async def _take(self, count: int) -> list[WalkItem]:
        return [WalkItem(row.session, row.key, hints) for row, hints in await self._stream.take(count)]

    async def _fetch_page(self, type: str, sort: Sort, page: int, size: int) -> UpstreamPage:
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
