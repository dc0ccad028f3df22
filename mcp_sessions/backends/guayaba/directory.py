"""The directory of sessions: lists of one agent, or of all agents that a key reaches, merged and cached."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

import anyio

from ...errors import NotFound, SessionsError, Timeout, quoted
from ..gather import map_concurrently
from .api import Api, is_agent_unavailable
from .uuids import is_uuid
from .wire import GuayabaSession, is_handle

_CACHE_SECONDS = 60
_MAX_CACHED = 50_000


@dataclass(frozen=True, slots=True)
class Listing:
    """The sessions of several agents, newest first."""

    sessions: Sequence[GuayabaSession]
    unavailable_agents: Sequence[str] = ()
    has_all_agents: bool = True
    """Whether all agents were asked, available or not."""

    @property
    def is_complete(self) -> bool:
        """Whether it has the sessions of all agents."""
        return not self.unavailable_agents and self.has_all_agents


class ListingCache:
    """Listings of the last minute, each for a credential, its agents and a filter."""

    def __init__(self) -> None:
        self._listings: dict[Hashable, tuple[Listing, float]] = {}
        self.clear_count = 0
        """How often the cache was cleared."""

    def get(self, key: Hashable) -> Listing | None:
        """Return a listing, or None."""
        now = anyio.current_time()
        self._listings = {key: cached for key, cached in self._listings.items() if cached[1] > now}
        return self._listings[key][0] if key in self._listings else None

    def put(self, key: Hashable, listing: Listing) -> None:
        """Store a listing for a minute, unless it is too large."""
        self._listings.pop(key, None)
        count = sum(len(other.sessions) for other, _ in self._listings.values()) + len(listing.sessions)
        if count > _MAX_CACHED:
            self._listings.clear()
        if 0 < len(listing.sessions) <= _MAX_CACHED:
            self._listings[key] = listing, anyio.current_time() + _CACHE_SECONDS

    def clear(self) -> None:
        """Remove all listings, after a change of ours."""
        self._listings.clear()
        self.clear_count += 1


@dataclass(frozen=True, slots=True)
class Directory:
    """The sessions that a caller can reach.

    `agent` is the option of that name. Without it, the key decides: its own agent, or all agents of its owner.
    `allowed_agents` are the agents of the caller's user; None if the caller is not limited to a user.

    All pages of one walk come from the listing of its first page, which is cached for a minute, so changes by others in
    that time don't appear. A first page, and every lookup before and after a change, uses a fresh list. So does a later
    page whose listing is no longer cached: it continues at the same position of the order.
    """

    api: Api
    cache: ListingCache
    agent: str
    allowed_agents: frozenset[str] | None
    agent_timeout: float
    """Seconds that one of several agents may take for a list, so that one can't use up the call's time."""

    @property
    def spans_agents(self) -> bool:
        """Whether ids begin with their agent, since the main sessions of all agents have the same key."""
        return not self.agent and not self.api.is_agent_key

    async def list_sessions(self, *, archived: bool, agent_id: str = "", fresh: bool = True) -> Listing:
        """Return the sessions of all agents, or of the one in `agent_id`. `fresh`: don't use a cached listing.

        Raise an error if no agent is available.
        """
        key = (self.api.http.credential, self.allowed_agents, archived, agent_id)
        cached = self.cache.get(key)
        if not fresh and cached is not None:
            return cached
        clear_count = self.cache.clear_count
        listing = await self._fetch(archived=archived, agent_id=agent_id)
        if clear_count == self.cache.clear_count:  # else a change was made while the lists were read
            self.cache.put(key, listing)
        return listing

    async def find(self, id: str) -> GuayabaSession:
        """Return the session from a fresh list. Raise `NotFound`."""
        agent, local_id = await self._split(id)
        for archived in (True, False) if is_handle(local_id) else (False,):
            fetch = self.api.archives if archived else self.api.sessions
            found = next((session for session in await fetch(agent) if session.id == local_id), None)
            if found is not None:
                return found
        raise not_found(id)

    def id_of(self, session: GuayabaSession) -> str:
        """Return the id by which callers address a session."""
        return f"{session.agent}/{session.id}" if self.spans_agents else session.id

    async def agent_of(self, id: str) -> str:
        """Return the agent in an id, whose session may not exist. Raise `NotFound` for an id without one."""
        return (await self._split(id))[0]

    async def _split(self, id: str) -> tuple[str, str]:
        if self.spans_agents:
            agent, slash, local_id = id.partition("/")
            if not slash or not is_uuid(agent) or agent != agent.lower():  # a session has one id, not several
                raise not_found(id)
        else:
            agent, local_id = await self._only_agent(), id
        if not self._may_reach(agent):
            raise not_found(id)
        return agent, local_id

    async def _only_agent(self) -> str:
        return self.agent or await self.api.own_agent()

    def _may_reach(self, agent: str) -> bool:
        return self.allowed_agents is None or agent in self.allowed_agents

    async def _agents(self) -> tuple[Sequence[str], bool]:
        """Return the agents whose sessions are listed, and whether these are all."""
        if not self.spans_agents:
            agent = await self._only_agent()
            return [agent] if self._may_reach(agent) else [], True
        return await self.api.agents() if self.allowed_agents is None else (sorted(self.allowed_agents), True)

    async def _fetch(self, *, archived: bool, agent_id: str) -> Listing:
        fetch = self.api.archives if archived else self.api.sessions
        agents, are_all = await self._agents()
        if agent_id and agent_id not in agents:
            return await self._fetch_unlisted(fetch, agent_id) if not are_all and is_uuid(agent_id) else Listing(())
        requested = [agent_id] if agent_id else agents
        failures: list[SessionsError] = []
        unavailable: list[str] = []

        async def sessions_of(agent: str) -> Sequence[GuayabaSession]:
            try:
                async with self.api.slots:
                    with anyio.fail_after(self.agent_timeout if len(requested) > 1 else None):
                        return await fetch(agent)
            except TimeoutError:
                failures.append(Timeout("Guayaba did not answer in time. Try again, or raise its timeout."))
            except SessionsError as error:
                if not (is_agent_unavailable(error) or isinstance(error, Timeout)):
                    raise
                failures.append(error)
            unavailable.append(agent)
            return []

        found = [session for sessions in await map_concurrently(sessions_of, requested) for session in sessions]
        if failures and len(failures) == len(requested):
            raise failures[0]
        return Listing(sorted(found, key=_newest_first), sorted(unavailable), are_all or bool(agent_id))

    async def _fetch_unlisted(self, fetch: Callable[[str], Awaitable[Sequence[GuayabaSession]]], agent: str) -> Listing:
        """Return the sessions of an agent that was not listed, or none if there is no such agent."""
        try:
            return Listing(sorted(await fetch(agent), key=_newest_first))
        except NotFound:
            return Listing(())


def _newest_first(session: GuayabaSession) -> tuple[int, int]:
    time, digest = session.position
    return -time, digest


def not_found(id: str) -> NotFound:
    """Return the error for a session that doesn't exist."""
    return NotFound(f"no session {quoted(id)}. Find sessions with list_sessions; archived=true lists archived ones.")
