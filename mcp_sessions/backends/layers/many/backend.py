"""`Many`, a backend that combines several backends."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Self

from ....errors import Invalid, NotFound, SessionsError, Unsupported, quoted
from ....json_documents import JsonObject
from ....models import BulkAction, BulkResult, Failure, SearchPage, Session, SessionDetail, SessionFilter, SessionPage
from ...base import Capability
from ...feeds import newest_first
from ...gather import map_concurrently
from ...health import Report
from .bulk import apply_to_members, combine_results
from .checks import examine_all
from .fan_out import SharedProgress, ask_all, join_notes, wait_for_one
from .ids import with_message
from .members import TIME_FRACTION, Member
from .pages import search_page, session_page
from .results import ResultConverter
from .router import Router

_NO_SUCH_SESSION = (NotFound, Invalid, Unsupported)
"""Errors of a member that has no session with an id. After any other error, it may have one."""


class Many(Router):
    """Several backends as one. Their sessions are one list; a call on a session goes to the backend that has it."""

    _create_in: str | None = None

    @property
    def _seconds_per_member(self) -> float:
        return self.options.timeout * TIME_FRACTION

    def _members_with(self, capability: Capability) -> list[Member]:
        """Return the members with an operation. Raise `Unsupported` if there is none."""
        able = [member for member in self._members.values() if member.can(capability)]
        return able or self._refuse(capability)

    def _group_by_member(self, session_ids: Sequence[str]) -> dict[Member, list[str]]:
        """Return each member's own ids of these sessions. Leave out ids that belong to no member."""
        groups: dict[Member, list[str]] = {}
        for session_id in session_ids:
            name, own_id = self._ids.address(session_id)
            if name in self._members and own_id:
                groups.setdefault(self._members[name], []).append(own_id)
        return groups

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        groups = self._group_by_member(session_ids)
        groups = groups or {member: [] for member in self._members_with(Capability.DELETE_SESSION)}
        return join_notes({member: member.backend.deletion_notice(own_ids) for member, own_ids in groups.items()})

    def may_be_hint(self, hint: str, session_id: str) -> bool:
        name, own_id = self._ids.address(session_id)
        if self._ids.address(hint).name or name not in self._members:
            return self.canonical_id(hint) == session_id
        return self._members[name].backend.may_be_hint(hint, own_id)

    async def resolve_hint(self, hint: str) -> str:
        """Return the full id for a hint, "" if no member has the session.

        If the hint lacks a member's name, look for the session in all members, first in the one without a name, of
        which the hint is the full id. Raise the error of a member that could not answer, since it may have the
        session, or `Invalid` if several members have it.
        """
        name, own_id = self._ids.address(hint)
        if name or own_id != hint:
            return self.canonical_id(hint)
        unnamed = [member for member in self._members.values() if not member.name]
        named = [member for member in self._members.values() if member.name]
        found = [*await self._find_hint(hint, unnamed)] or [*await self._find_hint(hint, named)]
        if len(found) > 1:
            ids = " or ".join(map(quoted, found))
            raise Invalid(f"the current session {quoted(hint)} may be {ids}. Use one of these ids instead.")
        return found[0] if found else ""

    async def _find_hint(self, own_id: str, members: Sequence[Member]) -> Sequence[str]:
        """Return the full ids of these members' sessions with this own id. Raise the error of one that can't answer."""
        answers = await ask_all(
            members, lambda member: self._view(member).get_session(own_id), self._seconds_per_member
        )
        for member, error in answers.errors.items():
            if not isinstance(error, _NO_SUCH_SESSION):
                raise with_message(error, f"could not look for the current session in {member.label}: {error.message}")
        return [ResultConverter(self._ids, member).full_id(session.id) for member, session in answers.results.items()]

    def client_session(self) -> str:
        """Return the session of the client that started this process, of the first member that knows one."""
        return self._first((member, member.backend.client_session()) for member in self._members.values())

    async def find_client_sessions(self) -> Sequence[str]:
        """Return the full ids of what the members find. A member that can't answer finds nothing."""
        members = [*self._members.values()]
        answers = await ask_all(members, lambda one: self._view(one).find_client_sessions(), self._seconds_per_member)
        return [
            ResultConverter(self._ids, one).full_id(own_id) for one, ids in answers.results.items() for own_id in ids
        ]

    def session_in_meta(self, meta: Mapping[str, object]) -> str:
        """Return the session that a request names in its `_meta`, as the first member that finds one there reads it."""
        return self._first((member, member.backend.session_in_meta(meta)) for member in self._members.values())

    def _first(self, found: Iterable[tuple[Member, str]]) -> str:
        """Return the full id of the first session that was found, "" if none was."""
        return next((ResultConverter(self._ids, member).full_id(own_id) for member, own_id in found if own_id), "")

    async def check_reachable(self) -> None:
        async def check(member: Member) -> None:
            seconds = self._seconds_per_member
            (await ask_all([member], lambda one: self._view(one).check_reachable(), seconds)).require_one()

        if failure := await wait_for_one(list(self._members.values()), check):
            member, error = failure
            raise member.name_error(error)

    async def examine(self, report: Report) -> None:
        await examine_all(list(self._members.values()), report)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        async def fetch(member: Member, at: str) -> SessionPage:
            page = await self._view(member).list_sessions(filter, limit=limit, cursor=at)
            while not page.sessions and page.next_cursor:  # merging needs each member's next session
                page = await self._view(member).list_sessions(filter, limit=limit, cursor=page.next_cursor)
            return page

        return await session_page(
            self._members_with(Capability.LIST_SESSIONS),
            fetch,
            self._ids,
            filter,
            limit=limit,
            cursor=cursor,
            user_id=self.caller.user_id,
            seconds=self._seconds_per_member,
        )

    async def search_sessions(self, query: str, *, project: str = "", limit: int = 10, cursor: str = "") -> SearchPage:
        progress = SharedProgress(self.caller.progress)

        async def search(member: Member, at: str) -> SearchPage:
            caller = replace(self.caller, progress=progress.of(member))
            return await self._view(member, caller).search_sessions(query, project=project, limit=limit, cursor=at)

        page = await search_page(
            self._members_with(Capability.SEARCH_SESSIONS),
            search,
            self._ids,
            query,
            project=project,
            limit=limit,
            cursor=cursor,
            user_id=self.caller.user_id,
            seconds=self._seconds_per_member,
        )
        unsearched = [each.label for each in self._members.values() if not each.can(Capability.SEARCH_SESSIONS)]
        note = f"{' and '.join(unsearched)} can't be searched." if unsearched else ""
        return page.model_copy(update={"note": f"{page.note} {note}".strip()})

    async def changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        """Yield the members' changes. If a member fails, raise its error, since changes have no note."""
        members = list(self._members.values())
        await map_concurrently(lambda member: member.wait_until_open(self.options.timeout), members)
        async with aclosing(newest_first([self._changes_of(member, since) for member in members])) as changes:
            async for session in changes:
                yield session

    async def _changes_of(self, member: Member, since: datetime | None) -> AsyncGenerator[Session]:
        convert = ResultConverter(self._ids, member)
        async with aclosing(self._view(member).changes(since)) as changes:
            async for session in changes:
                yield convert.session(session)

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        """Return ids that begin with `prefix`. If a member's name does, list its most recent sessions."""
        named, own_prefix = self._ids.address(prefix)

        async def find(member: Member) -> list[str]:
            full_id = ResultConverter(self._ids, member).full_id
            if member.name == named and own_prefix:
                found = await self._view(member).find_session_ids(own_prefix, limit=limit)
            elif member.name and full_id("").startswith(prefix):
                page = await self._view(member).list_sessions(SessionFilter(), limit=limit)
                found = [session.id for session in page.sessions]
            else:
                found = ()
            return [session_id for session_id in map(full_id, found) if session_id.startswith(prefix)]

        answers = await ask_all(list(self._members.values()), find, self._seconds_per_member)
        answers.require_one()
        return [session_id for found in answers.results.values() for session_id in found][:limit]

    async def get_sessions_for_deletion(self, session_ids: Sequence[str]) -> Sequence[SessionDetail]:
        """Return the sessions that exist. Leave out members that fail; if all fail, raise the first one's error."""

        async def read(group: tuple[Member, list[str]]) -> Sequence[SessionDetail] | SessionsError:
            member, own_ids = group
            try:
                member.require(Capability.DELETE_SESSION)
                found = await member.call(
                    lambda: self._view(member).get_sessions_for_deletion(own_ids),
                    has_deadline=False,  # reading each session has one
                )
            except SessionsError as error:
                return member.name_error(error)
            return [ResultConverter(self._ids, member).detail(session) for session in found]

        answers = await map_concurrently(read, self._group_by_member(session_ids).items())
        errors = [answer for answer in answers if isinstance(answer, SessionsError)]
        if errors and len(errors) == len(answers):
            raise errors[0]
        return [session for found in answers if not isinstance(found, SessionsError) for session in found]

    def create_targets(self) -> Sequence[str]:
        able = [member.name for member in self._members.values() if member.can(Capability.CREATE_SESSION)]
        return able if len(able) > 1 else ()

    def creating_in(self, name: str) -> Self:
        able = {member.name for member in self._members_with(Capability.CREATE_SESSION)}
        if name not in able:
            known = ", ".join(quoted(each) for each in sorted(able))
            raise Invalid(f"no session can be created in the backend {quoted(name)}. Give one of {known}.")
        view = copy(self)
        view._create_in = name
        return view

    async def create_session(
        self,
        *,
        name: str = "",
        type: str = "agent",
        agent_id: str = "",
        state: JsonObject | None = None,
        metadata: JsonObject | None = None,
    ) -> SessionDetail:
        """Create a session in the member that `creating_in` named, else in the one without a name, else in the first.

        Members that can't create sessions are skipped.
        """
        able = {member.name: member for member in self._members_with(Capability.CREATE_SESSION)}
        member = able.get(self._create_in or "") or next(iter(able.values()))
        session = await member.call(
            lambda: self._view(member).create_session(
                name=name, type=type, agent_id=agent_id, state=state, metadata=metadata
            )
        )
        return ResultConverter(self._ids, member).detail(session)

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        self._members_with(Capability.APPLY_TO_SESSIONS)  # raises `Unsupported` if there is none
        groups = self._group_by_member(session_ids)

        async def apply(member: Member, own_ids: Sequence[str]) -> BulkResult:
            member.require(Capability.APPLY_TO_SESSIONS)
            versions = None if expected_versions is None else self._own_versions(member, expected_versions)
            return await member.call(
                lambda: self._view(member).apply_to_sessions(
                    action, own_ids, dry_run=dry_run, expected_versions=versions
                )
            )

        results = await apply_to_members(action, groups, apply, self._ids, dry_run=dry_run)
        return combine_results(action, session_ids, results, self._unknown_failures(session_ids), dry_run=dry_run)

    def _own_versions(self, member: Member, versions: Mapping[str, str]) -> dict[str, str]:
        addresses = {self._ids.address(session_id): version for session_id, version in versions.items()}
        return {own_id: version for (name, own_id), version in addresses.items() if name == member.name}

    def _unknown_failures(self, session_ids: Sequence[str]) -> list[Failure]:
        """Return a failure for each id that belongs to no member."""
        failures: list[Failure] = []
        for session_id in dict.fromkeys(session_ids):
            try:
                self._find(session_id)
            except NotFound as error:
                failures.append(Failure(session_id=session_id, error=error.text))
        return failures
