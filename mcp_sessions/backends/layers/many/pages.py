"""Merges lists and search results of several members into pages."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Protocol, TypeVar

from ....models import PageItem, SearchHit, SearchPage, Session, SessionFilter, SessionPage
from ...project_filter import NO_PROJECTS
from .fan_out import MemberAnswers, ask_all, labels_by_text
from .ids import IdConverter
from .members import Member
from .merge import END, MemberPage, MergedCursors, Position, merge
from .results import ResultConverter


class _Page(Protocol):
    @property
    def next_cursor(self) -> str: ...

    @property
    def note(self) -> str: ...


R = TypeVar("R", bound=PageItem)
P = TypeVar("P", bound=_Page)
FetchPage = Callable[[Member, str], Awaitable[P]]
"""A function that returns a member's page at one of the member's cursors."""


async def session_page(
    members: Sequence[Member],
    fetch_page: FetchPage[SessionPage],
    ids: IdConverter,
    filter: SessionFilter,
    *,
    limit: int,
    cursor: str,
    user_id: str,
    seconds: float,
) -> SessionPage:
    """Return a page of the members' sessions in the order of the filter."""
    names = [member.name for member in members]
    cursors = MergedCursors("list", user_id, names, *vars(filter).values())
    positions = cursors.read(cursor, len(members))
    answers = await _ask(members, fetch_page, positions, seconds)
    member_pages = {
        names.index(member.name): MemberPage(page.sessions, page.next_cursor)
        for member, page in answers.results.items()
    }
    merged = merge(member_pages, positions, limit, order=_session_order(filter), cursors=cursors)
    converters = [ResultConverter(ids, member) for member in members]
    totals = [answers.results[member].total if member in answers.results else None for member in members]
    return SessionPage(
        sessions=tuple(converters[number].session(row, cursor) for number, row, cursor in merged.rows),
        next_cursor=merged.next_cursor,
        total=None if None in totals else sum(total or 0 for total in totals),
        note=_note(answers, merged.next_cursor),
    )


async def search_page(
    members: Sequence[Member],
    fetch_page: FetchPage[SearchPage],
    ids: IdConverter,
    query: str,
    *,
    project: str,
    limit: int,
    cursor: str,
    user_id: str,
    seconds: float,
) -> SearchPage:
    """Return a page of the members' hits: names before messages, each newest first if the members sort them so."""
    names = [member.name for member in members]
    cursors = MergedCursors("search", user_id, names, query, project)
    positions = cursors.read(cursor, len(members))
    answers = await _ask(members, fetch_page, positions, seconds)
    member_pages = {
        names.index(member.name): MemberPage(page.hits, page.next_cursor) for member, page in answers.results.items()
    }
    merged = merge(member_pages, positions, limit, order=_hit_order, cursors=cursors)
    converters = [ResultConverter(ids, member) for member in members]
    pages = answers.results.values()
    searched = [page.searched_sessions for page in pages if page.searched_sessions is not None]
    return SearchPage(
        hits=tuple(converters[number].hit(row, cursor) for number, row, cursor in merged.rows),
        next_cursor=merged.next_cursor,
        searched_sessions=sum(searched) if searched else None,
        complete=not answers.errors and all(page.complete for page in pages),
        note=_note(answers, merged.next_cursor),
    )


async def _ask(
    members: Sequence[Member], fetch_page: FetchPage[P], positions: Sequence[Position], seconds: float
) -> MemberAnswers[P]:
    """Fetch the pages of members not at their end. Raise the first error if all fail and none is at its end."""
    places = dict(zip(members, positions, strict=True))
    asked = [member for member, position in places.items() if position is not END]
    answers = await ask_all(asked, lambda member: fetch_page(member, places[member] or ""), seconds)
    if len(asked) == len(members):
        answers.require_one()
    return answers


def _note(answers: MemberAnswers[P], next_cursor: str) -> str:
    """Return the members' notes, and which members are missing. On the last page, say how to get their rows."""
    said = {member: page.note for member, page in answers.results.items()}
    if set(said.values()) != {NO_PROJECTS}:  # else it explains why nothing is found
        said = {member: note for member, note in said.items() if note not in ("", NO_PROJECTS)}
    notes = [f"{labels}: {note}" for note, labels in labels_by_text(said).items()]
    if answers.errors:
        notes.append(answers.note())
        if not next_cursor:
            notes.append("Call again with the same arguments to get them.")
    return " ".join(notes)


def _session_order(filter: SessionFilter) -> Callable[[Session], float]:
    sign = -1 if filter.order.endswith("desc") else 1

    def order(session: Session) -> float:
        return sign * _seconds(session.updated_at if filter.order.startswith("updated") else session.created_at)

    return order


def _hit_order(hit: SearchHit) -> tuple[bool, float]:
    return bool(hit.message_id), -_seconds(hit.created_at)


def _seconds(time: datetime | None) -> float:
    return time.timestamp() if time else 0.0
