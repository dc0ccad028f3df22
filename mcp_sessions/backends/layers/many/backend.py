"""`Many`, several backends as one."""

from collections.abc import AsyncGenerator, Iterable, Mapping, Sequence
from contextlib import aclosing
from copy import copy
from dataclasses import replace
from datetime import datetime
from typing import Self

from ....errors import Invalid, NotFound, quoted
from ....json_documents import JsonObject
from ....models import BulkAction, BulkResult, Failure, SearchPage, Session, SessionDetail, SessionFilter, SessionPage
from ...base import Capability
from ...feeds import newest_first
from ...health import Report
from .bulk import apply_to_members, combine, join_notes
from .checks import examine_all
from .ids import copy_of
from .members import SHARE_OF_TIME, Member, is_silence
from .pages import search_page, session_page
from .results import Results
from .router import Router
from .several import SharedProgress, ask_all


class Many(Router):
    """Several backends as one: their sessions are one list, and a call on a session goes to the session's backend."""

    _created_in: str | None = None

    @property
    def _share(self) -> float:
        return self.options.timeout * SHARE_OF_TIME

    def _able(self, capability: Capability) -> list[Member]:
        """Return the members that have an operation. Raise `Unsupported` if none has it."""
        able = [member for member in self._members.values() if member.can(capability)]
        return able or self._refuse(capability)

    def _groups(self, session_ids: Sequence[str]) -> dict[Member, list[str]]:
        """Return the sessions of each member by its own ids, without those that no member can have."""
        groups: dict[Member, list[str]] = {}
        for session_id in session_ids:
            name, own_id = self._ids.address(session_id)
            if name in self._members:
                groups.setdefault(self._members[name], []).append(own_id)
        return groups

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        groups = self._groups(session_ids) or {member: [] for member in self._able(Capability.DELETE_SESSION)}
        return join_notes({member: member.backend.deletion_notice(own_ids) for member, own_ids in groups.items()})

    async def resolve_hint(self, session_id: str) -> str:
        """Return the full id for one that may lack its member's name, after looking for it in all members.

        A session of the member without a name comes first, since its full id has no name. If another member has such a
        session and the one without a name did not answer, raise its error. Raise `Invalid` if several others have one.
        """
        if self._ids.address(session_id).name:
            return self.canonical_id(session_id)
        members = list(self._members.values())
        answers = await ask_all(members, lambda member: self._view(member).get_session(session_id), self._share)
        found = {member.name: Results(self._ids, member).full(one.id) for member, one in answers.results.items()}
        if "" in found or not found:
            return self.canonical_id(session_id)
        for member, error in answers.errors.items():
            if not member.name and is_silence(error):
                raise copy_of(error)
        if len(found) > 1:
            ids = " and ".join(quoted(full_id) for full_id in found.values())
            raise Invalid(f"the current session is {quoted(session_id)}, and there are {ids}. Name one of these.")
        return next(iter(found.values()))

    def client_session(self) -> str:
        """Return the session of the client that started this process, of the first member that knows one."""
        return self._first((member, member.backend.client_session()) for member in self._members.values())

    def session_in_meta(self, meta: Mapping[str, object]) -> str:
        """Return the session that a request says it comes from, in the words of the first member that knows them."""
        return self._first((member, member.backend.session_in_meta(meta)) for member in self._members.values())

    def _first(self, found: Iterable[tuple[Member, str]]) -> str:
        """Return the full id of the first session that was found, "" if none was."""
        return next((Results(self._ids, member).full(own_id) for member, own_id in found if own_id), "")

    async def check_reachable(self) -> None:
        members = list(self._members.values())
        (await ask_all(members, lambda member: self._view(member).check_reachable(), self._share)).require_one()

    async def examine(self, report: Report) -> None:
        await examine_all(list(self._members.values()), report)

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        return await session_page(
            self._able(Capability.LIST_SESSIONS),
            lambda member, at: self._view(member).list_sessions(filter, limit=limit, cursor=at),
            self._ids,
            filter,
            limit=limit,
            cursor=cursor,
            user_id=self.caller.user_id,
            seconds=self._share,
        )

    async def search_sessions(self, query: str, *, limit: int = 10, cursor: str = "") -> SearchPage:
        progress = SharedProgress(self.caller.progress)

        async def search(member: Member, at: str) -> SearchPage:
            caller = replace(self.caller, progress=progress.of(member))
            return await self._view(member, caller).search_sessions(query, limit=limit, cursor=at)

        page = await search_page(
            self._able(Capability.SEARCH_SESSIONS),
            search,
            self._ids,
            query,
            limit=limit,
            cursor=cursor,
            user_id=self.caller.user_id,
            seconds=self._share,
        )
        unable = [each.label for each in self._members.values() if not each.can(Capability.SEARCH_SESSIONS)]
        note = f"{' and '.join(unable)} can't be searched." if unable else ""
        return page.model_copy(update={"note": f"{page.note} {note}".strip()})

    def changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        return self._changes(since)

    async def _changes(self, since: datetime | None) -> AsyncGenerator[Session]:
        """Yield the members' changes. A member that fails ends this with its error, since there is no note for it."""
        members = list(self._members.values())
        for member in members:
            await member.wait_until_open(self.options.timeout)
        async with aclosing(newest_first([self._changes_of(member, since) for member in members])) as changes:
            async for session in changes:
                yield session

    async def _changes_of(self, member: Member, since: datetime | None) -> AsyncGenerator[Session]:
        results = Results(self._ids, member)
        async with aclosing(self._view(member).changes(since)) as changes:
            async for session in changes:
                yield results.session(session)

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> Sequence[str]:
        """Return ids that begin with `prefix`. A member whose name begins with it is asked for its recent sessions."""
        named, own_prefix = self._ids.address(prefix)

        async def find(member: Member) -> list[str]:
            full = Results(self._ids, member).full
            if member.name == named and own_prefix:
                found = await self._view(member).find_session_ids(own_prefix, limit=limit)
            elif member.name and full("").startswith(prefix):
                page = await self._view(member).list_sessions(SessionFilter(), limit=limit)
                found = [session.id for session in page.sessions]
            else:
                found = ()
            return [session_id for session_id in map(full, found) if session_id.startswith(prefix)]

        answers = await ask_all(list(self._members.values()), find, self._share)
        answers.require_one()
        return [session_id for found in answers.results.values() for session_id in found][:limit]

    def create_targets(self) -> Sequence[str]:
        able = [member.name for member in self._members.values() if member.can(Capability.CREATE_SESSION)]
        return able if len(able) > 1 else ()

    def creating_in(self, name: str) -> Self:
        able = {member.name for member in self._able(Capability.CREATE_SESSION)}
        if name not in able:
            known = ", ".join(quoted(each) for each in sorted(able))
            raise Invalid(f"no session can be created in the backend {quoted(name)}. Give one of {known}.")
        view = copy(self)
        view._created_in = name
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

        Only members that can create sessions are considered.
        """
        able = {member.name: member for member in self._able(Capability.CREATE_SESSION)}
        member = able.get(self._created_in or "") or next(iter(able.values()))
        session = await member.use(
            lambda: self._view(member).create_session(
                name=name, type=type, agent_id=agent_id, state=state, metadata=metadata
            )
        )
        return Results(self._ids, member).detail(session)

    async def apply_to_sessions(
        self,
        action: BulkAction,
        session_ids: Sequence[str],
        *,
        dry_run: bool = True,
        expected_versions: Mapping[str, str] | None = None,
    ) -> BulkResult:
        self._able(Capability.APPLY_TO_SESSIONS)
        groups = self._groups(session_ids)

        async def apply(member: Member, own_ids: Sequence[str]) -> BulkResult:
            member.require(Capability.APPLY_TO_SESSIONS)
            versions = None if expected_versions is None else self._own_versions(member, expected_versions)
            return await member.use(
                lambda: self._view(member).apply_to_sessions(
                    action, own_ids, dry_run=dry_run, expected_versions=versions
                )
            )

        results = await apply_to_members(action, groups, apply, self._ids, dry_run=dry_run)
        return combine(action, session_ids, results, self._unknown(session_ids), dry_run=dry_run)

    def _own_versions(self, member: Member, versions: Mapping[str, str]) -> dict[str, str]:
        addresses = {self._ids.address(session_id): version for session_id, version in versions.items()}
        return {own_id: version for (name, own_id), version in addresses.items() if name == member.name}

    def _unknown(self, session_ids: Sequence[str]) -> list[Failure]:
        """Return a failure for each session that no member can have."""
        failures: list[Failure] = []
        for session_id in dict.fromkeys(session_ids):
            try:
                self._find(session_id)
            except NotFound as error:
                failures.append(Failure(session_id=session_id, error=error.text))
        return failures
