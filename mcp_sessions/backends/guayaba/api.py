"""Guayaba's routes for sessions and archives: ten of them, and nothing else is ever asked for.

Source: docs.guayaba.run, the API reference and guides of the Public API v1.
"""

import re
from collections.abc import Sequence

import anyio

from ...errors import BadResponse, Forbidden, NotFound, SessionsError, Unavailable, Unsupported, quoted
from ...json_documents import Json, JsonObject, is_array, is_object
from ..gather import each
from ..http.client import HttpClient, Reply, TooLarge, path
from .wire import Entry, is_uuid, read_archives, read_sessions, text

MOST_MESSAGES = 1000
_FEWER = (MOST_MESSAGES, 200, 40, 8)
_MOST_AGENTS = 1000
_MOST_AGENT_PAGES = 100
_AT_ONCE = 8
_AGENT_KEY = "g_agent_"
_TRIMMED = "\ufeff\u200b\u200e"
_MOST_HISTORY = 64 * 1024 * 1024


def explain(reply: Reply, credential: str) -> SessionsError | None:
    """What a refusal means, where Guayaba says it only in words."""
    answer = reply.json()
    said = text(answer, "message") if is_object(answer) else ""
    if reply.status == 402:
        return Forbidden("Guayaba wants credits for this. Top up the account, then try again.")
    if reply.status == 403 and "subscription" in said:
        return Forbidden("Guayaba's subscription has lapsed. Renew it, then try again.")
    scope = re.search(r"scope: ?(agent:(?:read|manage)|chat|files|channels)\b", said)
    if reply.status == 403 and scope:
        return Forbidden(f"{credential} lacks the scope {scope[1]}. Make one that has it.")
    return None


class Api:
    """The requests with one key. Raises `SessionsError`s only."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http
        self.slots = anyio.Semaphore(_AT_ONCE)
        """For whoever asks many agents at the same time: more than some hundreds can't even wait for a connection."""
        self._own_agent = ""

    @property
    def is_an_agents(self) -> bool:
        """Whether the key is an agent's, and reaches no other."""
        return self.http.credential.token.startswith(_AGENT_KEY)

    async def sessions(self, agent: str) -> list[Entry]:
        """All of an agent's active sessions: there is no other way to see one."""
        return read_sessions(await self._list(agent, "sessions"), agent)

    async def archives(self, agent: str) -> list[Entry]:
        return read_archives(await self._list(agent, "archives"), agent)

    async def history(self, entry: Entry) -> tuple[Json, int, int]:
        """The newest messages of an active session, how many were asked for, and the bytes it took.

        A thousand is the most that Guayaba gives; where those are too large, fewer are asked for.
        """
        refuse_ambiguous(entry)
        for limit in _FEWER:
            content: JsonObject = {"sessionKey": entry.key, "limit": limit}
            route = path("agents", entry.agent, "sessions", "history")
            try:
                reply = await self.http.read(route, json=content, most_bytes=_MOST_HISTORY)
            except TooLarge:
                continue
            return reply.json(), limit, len(reply.body)
        raise BadResponse("the newest messages of this session are larger than can be read.")

    async def rename(self, entry: Entry, name: str) -> None:
        await self._change(entry, "sessions", "rename", {"key": entry.key, "label": name or None})

    async def archive(self, entry: Entry) -> None:
        await self._change(entry, "sessions", "archive", {"key": entry.key})

    async def restore(self, entry: Entry, name: str) -> None:
        # Unlike in a rename, a label may be missing here, but not null.
        await self._change(entry, "archives", "restore", {"filename": entry.key} | ({"label": name} if name else {}))

    async def delete(self, entry: Entry) -> None:
        if entry.is_archived:
            await self._change(entry, "archives", "delete", {"filename": entry.key})
        else:
            await self._change(entry, "sessions", "delete", {"key": entry.key})

    async def own_agent(self) -> str:
        """The agent that an agent's key is of: the only one of its owner's that it may ask about."""
        if self._own_agent:
            return self._own_agent
        agents, _ = await self.agents()

        async def is_own(agent: str) -> bool:
            try:
                async with self.slots:
                    await self.http.read(path("agents", agent))
            except (Forbidden, NotFound):
                return False
            return True

        own = [agent for agent, found in zip(agents, await each(is_own, agents), strict=True) if found]
        if len(own) != 1:
            mend = "Use another." if self.http.credential.is_callers else "Name it in --backend: ?agent=UUID."
            raise NotFound(f"Guayaba doesn't tell which agent this key is of. {mend}")
        self._own_agent = own[0]
        return self._own_agent

    async def agents(self) -> tuple[Sequence[str], bool]:
        """The agents of the key's owner, and whether those are all. A page may have fewer than are asked for."""
        found: dict[str, None] = {}
        for page in range(1, _MOST_AGENT_PAGES + 1):
            answer = (await self.http.read(path("agents"), params={"per_page": 100, "page": page})).json()
            rows = answer.get("data") if is_object(answer) else None
            if not is_object(answer) or not is_array(rows):
                raise BadResponse("Guayaba answered something that is no list of agents. Check --backend.")
            known, last = len(found), answer.get("last_page")
            ids = (text(row, "id").lower() for row in rows if is_object(row))
            found |= dict.fromkeys(id for id in ids if is_uuid(id))
            is_last = page >= last if isinstance(last, int) else len(rows) < 100
            if is_last or len(found) == known:
                return list(found), True
            if len(found) >= _MOST_AGENTS:
                break
        return list(found), False

    async def _list(self, agent: str, what: str) -> Json:
        try:
            return (await self.http.read(path("agents", agent, what))).json()
        except NotFound as error:
            raise NotFound(
                f"Guayaba has no agent {quoted(agent)} for this key. Check ?agent= in --backend, and --agents."
            ) from error

    async def _change(self, entry: Entry, where: str, what: str, content: JsonObject) -> None:
        """Sent once. What is answered to it says nothing that is documented, so it isn't read."""
        refuse_ambiguous(entry)
        await self.http.change("POST", path("agents", entry.agent, where, what), json=content, repeatable=False)


def is_away(error: SessionsError) -> bool:
    """Whether an agent can't be asked now, though others may: stopped, another's, silent, or not making sense."""
    return isinstance(error, Forbidden | NotFound | Unavailable | BadResponse)


def refuse_ambiguous(entry: Entry) -> None:
    """Raise `Unsupported` for a key that may be read as another's when it is sent.

    Laravel trims what it is sent, and half a surrogate pair, which can't be sent, was read as U+FFFD.
    """
    if entry.key != entry.key.strip().strip(_TRIMMED) or "\ufffd" in entry.key:
        raise Unsupported("the key of this session can't be sent to Guayaba as it is, so another might be meant.")
