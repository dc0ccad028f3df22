"""Which sessions there are: the lists of one agent, or of all that a key reaches, in one order."""

from collections.abc import Awaitable, Callable, Hashable, Sequence
from dataclasses import dataclass

import anyio

from ...errors import NotFound, SessionsError, Timeout, quoted
from ..gather import each
from .api import Api, is_away
from .wire import Entry, is_handle, is_uuid

_KEPT_SECONDS = 60
_MOST_KEPT = 50_000


@dataclass(frozen=True, slots=True)
class Listed:
    """The lists of several agents as they were, newest first; `away` are agents that couldn't be asked."""

    entries: Sequence[Entry]
    away: Sequence[str] = ()
    are_all_agents: bool = True


class Kept:
    """Lists as they were up to a minute ago, each for the credential and the agents that it was made with."""

    def __init__(self) -> None:
        self._kept: dict[Hashable, tuple[Listed, float]] = {}
        self.changes = 0
        """How many changes of ours there were."""

    def get(self, place: Hashable) -> Listed | None:
        now = anyio.current_time()
        self._kept = {place: kept for place, kept in self._kept.items() if kept[1] > now}
        return self._kept[place][0] if place in self._kept else None

    def put(self, place: Hashable, listed: Listed) -> None:
        self._kept.pop(place, None)
        if sum(len(other.entries) for other, _ in self._kept.values()) + len(listed.entries) > _MOST_KEPT:
            self._kept.clear()
        if 0 < len(listed.entries) <= _MOST_KEPT:
            self._kept[place] = listed, anyio.current_time() + _KEPT_SECONDS

    def forget(self) -> None:
        """After a change of ours, nothing is shown as it was, to nobody."""
        self._kept.clear()
        self.changes += 1


@dataclass(frozen=True, slots=True)
class Directory:
    """`agent` is the one of --backend; without it, the key decides: its own agent, or all of its owner's.

    `reach` are the agents of the user that a caller is narrowed to, beyond which nothing is; None for no such limit.

    A walk's later pages are cut from the lists that its first page was, for up to a minute: a session that others
    make, change or remove meanwhile shows as it was, or not yet. First pages, and every look before and after a
    change, are fetched anew; so is a page whose lists were given up, and it goes on at the same place in the order.
    """

    api: Api
    kept: Kept
    agent: str
    reach: frozenset[str] | None
    patience: float
    """Seconds that one of several agents may take for a list: a silent one must not use up the call's time."""

    @property
    def spans_agents(self) -> bool:
        """Whether ids must name their agent: each agent's main session has the same key."""
        return not self.agent and not self.api.is_an_agents

    async def listed(self, *, archived: bool, agent_id: str = "", fresh: bool = True) -> Listed:
        """Of one agent if `agent_id` is given. Raises where no agent could be asked."""
        place = (self.api.http.credential, self.reach, archived, agent_id)
        kept = self.kept.get(place)
        if not fresh and kept is not None:
            return kept
        changes = self.kept.changes
        listed = await self._fetch(archived=archived, agent_id=agent_id)
        if changes == self.kept.changes:  # else a change was made while it was read
            self.kept.put(place, listed)
        return listed

    async def find(self, id: str) -> Entry:
        """The session as it is now. Raises `NotFound`."""
        agent, local = await self._split(id)
        for archived in (True, False) if is_handle(local) else (False,):
            fetch = self.api.archives if archived else self.api.sessions
            found = next((entry for entry in await fetch(agent) if entry.id == local), None)
            if found is not None:
                return found
        raise absent(id)

    def id_of(self, entry: Entry) -> str:
        return f"{entry.agent}/{entry.id}" if self.spans_agents else entry.id

    async def agent_of(self, id: str) -> str:
        """The agent that an id names, which need not exist. Raises `NotFound` for one that names none."""
        return (await self._split(id))[0]

    async def _split(self, id: str) -> tuple[str, str]:
        if self.spans_agents:
            agent, slash, local = id.partition("/")
            if not slash or not is_uuid(agent) or agent != agent.lower():  # a session has one id, not several
                raise absent(id)
        else:
            agent, local = await self._single(), id
        if not self._reaches(agent):
            raise absent(id)
        return agent, local

    async def _single(self) -> str:
        return self.agent or await self.api.own_agent()

    def _reaches(self, agent: str) -> bool:
        return self.reach is None or agent in self.reach

    async def _agents(self) -> tuple[Sequence[str], bool]:
        """Those whose sessions are listed, and whether these are all."""
        if not self.spans_agents:
            agent = await self._single()
            return [agent] if self._reaches(agent) else [], True
        return await self.api.agents() if self.reach is None else (sorted(self.reach), True)

    async def _fetch(self, *, archived: bool, agent_id: str) -> Listed:
        fetch = self.api.archives if archived else self.api.sessions
        agents, are_all = await self._agents()
        if agent_id and agent_id not in agents:
            return await self._unlisted(fetch, agent_id) if not are_all and is_uuid(agent_id) else Listed(())
        asked = [agent_id] if agent_id else agents
        failures: list[SessionsError] = []
        away: list[str] = []

        async def entries_of(agent: str) -> list[Entry]:
            try:
                async with self.api.slots:
                    with anyio.fail_after(self.patience if len(asked) > 1 else None):
                        return await fetch(agent)
            except TimeoutError:
                failures.append(Timeout("Guayaba did not answer in time. Try again, or raise --timeout."))
                away.append(agent)
                return []
            except SessionsError as error:
                if not (is_away(error) or isinstance(error, Timeout)):
                    raise
                failures.append(error)
                away.append(agent)
                return []

        found = [entry for entries in await each(entries_of, asked) for entry in entries]
        if failures and len(failures) == len(asked):
            raise failures[0]
        return Listed(sorted(found, key=_newest_first), sorted(away), are_all or bool(agent_id))

    async def _unlisted(self, fetch: Callable[[str], Awaitable[list[Entry]]], agent: str) -> Listed:
        """Of an agent that there may be beyond those that could be listed."""
        try:
            return Listed(sorted(await fetch(agent), key=_newest_first))
        except NotFound:
            return Listed(())


def _newest_first(entry: Entry) -> tuple[int, int]:
    time, digest = entry.place
    return -time, digest


def absent(id: str) -> NotFound:
    return NotFound(f"no session {quoted(id)}. list_sessions shows those there are, archived=true those put away.")
