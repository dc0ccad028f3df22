"""Requests to the ten routes of Guayaba that this backend uses, for sessions, archives and agents.

Source: docs.guayaba.run, the API reference and guides of the Public API v1.
"""

import re
from collections.abc import Sequence
from typing import NamedTuple

import anyio

from ...errors import BadResponse, Forbidden, NotFound, SessionsError, Unavailable, Unsupported, quoted
from ...json_documents import Json, JsonObject, is_array, is_object, text_in
from ..gather import map_concurrently
from ..http.client import HttpClient, Reply, TooLarge, path
from .uuids import is_uuid
from .wire import GuayabaSession, read_archives, read_sessions

MAX_MESSAGES = 1000
_MESSAGE_LIMITS = (MAX_MESSAGES, 200, 40, 8)
_MAX_AGENTS = 1000
_MAX_AGENT_PAGES = 100
_CONCURRENCY = 8
_AGENT_KEY = "g_agent_"
_TRIMMED_CHARACTERS = "\ufeff\u200b\u200e"
_MAX_HISTORY_BYTES = 64 * 1024 * 1024


def explain(reply: Reply, credential: str) -> SessionsError | None:
    """Return the error for a response whose cause only its text states; None for any other response."""
    answer = reply.json()
    message = text_in(answer, "message") if is_object(answer) else ""
    if reply.status == 402:
        return Forbidden("Guayaba requires credits for this. Top up the account, then try again.")
    if reply.status == 403 and "subscription" in message:
        return Forbidden("Guayaba's subscription has lapsed. Renew it, then try again.")
    scope = re.search(r"scope: ?(agent:(?:read|manage)|chat|files|channels)\b", message)
    if reply.status == 403 and scope:
        return Forbidden(f"{credential} lacks the scope {scope[1]}. Create one that has it.")
    return None


class GuayabaHistory(NamedTuple):
    """The newest messages of a session as Guayaba returns them. At most `limit` were requested."""

    answer: Json
    limit: int
    size: int
    """Bytes of the response."""


class Api:
    """Requests to Guayaba with one key. Every error is a `SessionsError`."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http
        self.slots = anyio.Semaphore(_CONCURRENCY)
        """Limits concurrent requests to agents: only some hundred requests may wait for a connection."""
        self._own_agent = ""

    @property
    def is_agent_key(self) -> bool:
        """Whether the key belongs to an agent, and reaches no other agent."""
        return self.http.credential.token.startswith(_AGENT_KEY)

    async def sessions(self, agent: str) -> list[GuayabaSession]:
        """Return all active sessions of an agent. Guayaba has no route for a single one."""
        return read_sessions(await self._read_list(agent, "sessions"), agent)

    async def archives(self, agent: str) -> list[GuayabaSession]:
        """Return all archived sessions of an agent."""
        return read_archives(await self._read_list(agent, "archives"), agent)

    async def history(self, session: GuayabaSession) -> GuayabaHistory:
        """Return the newest messages of an active session.

        Guayaba returns at most a thousand. If their response is too large, fewer are requested.
        """
        refuse_ambiguous(session)
        for limit in _MESSAGE_LIMITS:
            content: JsonObject = {"sessionKey": session.key, "limit": limit}
            route = path("agents", session.agent, "sessions", "history")
            try:
                reply = await self.http.read(route, json=content, max_bytes=_MAX_HISTORY_BYTES)
            except TooLarge:
                continue
            return GuayabaHistory(reply.json(), limit, len(reply.body))
        raise BadResponse("the newest messages of this session are too large to read. Read them in Guayaba itself.")

    async def rename(self, session: GuayabaSession, name: str) -> None:
        """Rename an active session; "" removes its name."""
        await self._change(session, "sessions", "rename", {"key": session.key, "label": name or None})

    async def archive(self, session: GuayabaSession) -> None:
        """Archive an active session."""
        await self._change(session, "sessions", "archive", {"key": session.key})

    async def restore(self, session: GuayabaSession, name: str) -> None:
        """Restore an archived session, and rename it unless `name` is ""."""
        # Unlike a rename, this request may leave out the label, which must not be null.
        await self._change(
            session, "archives", "restore", {"filename": session.key} | ({"label": name} if name else {})
        )

    async def delete(self, session: GuayabaSession) -> None:
        """Delete a session, active or archived."""
        if session.is_archived:
            await self._change(session, "archives", "delete", {"filename": session.key})
        else:
            await self._change(session, "sessions", "delete", {"key": session.key})

    async def own_agent(self) -> str:
        """Return the agent of an agent key: the only one of its owner's agents that the key can read."""
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

        own = [agent for agent, found in zip(agents, await map_concurrently(is_own, agents), strict=True) if found]
        if len(own) != 1:
            advice = (
                "Use another key."
                if self.http.credential.is_from_caller
                else "Name the agent with the option agent=UUID."
            )
            raise NotFound(f"Guayaba does not expose which agent this key belongs to. {advice}")
        self._own_agent = own[0]
        return self._own_agent

    async def agents(self) -> tuple[Sequence[str], bool]:
        """Return the agents of the key's owner, and whether those are all."""
        found: dict[str, None] = {}
        for page in range(1, _MAX_AGENT_PAGES + 1):
            answer = (await self.http.read(path("agents"), params={"per_page": 100, "page": page})).json()
            rows = answer.get("data") if is_object(answer) else None
            if not is_object(answer) or not is_array(rows):
                raise BadResponse("Guayaba's answer is not a list of agents. Check the backend's URL.")
            known, last = len(found), answer.get("last_page")
            ids = (text_in(row, "id").lower() for row in rows if is_object(row))
            found |= dict.fromkeys(id for id in ids if is_uuid(id))
            is_last = page >= last if isinstance(last, int) else len(rows) < 100
            if is_last or len(found) == known:
                return list(found), True
            if len(found) >= _MAX_AGENTS:
                break
        return list(found), False

    async def _read_list(self, agent: str, collection: str) -> Json:
        try:
            return (await self.http.read(path("agents", agent, collection))).json()
        except NotFound as error:
            raise NotFound(
                f"Guayaba has no agent {quoted(agent)} for this key. Check the options agent and agents."
            ) from error

    async def _change(self, session: GuayabaSession, collection: str, action: str, content: JsonObject) -> None:
        """Send a change once. The content of the response isn't documented, so it isn't read."""
        refuse_ambiguous(session)
        await self.http.change(
            "POST", path("agents", session.agent, collection, action), json=content, idempotent=False
        )


def is_agent_unavailable(error: SessionsError) -> bool:
    """Return whether the error concerns one agent only: it is stopped, forbidden or absent, or its answer invalid."""
    return isinstance(error, Forbidden | NotFound | Unavailable | BadResponse)


def refuse_ambiguous(session: GuayabaSession) -> None:
    """Raise `Unsupported` for a key that Guayaba may confuse with another session's key.

    Laravel trims the values in a request. U+FFFD may stand for an unpaired surrogate, which can't be sent.
    """
    if session.key != session.key.strip().strip(_TRIMMED_CHARACTERS) or "\ufffd" in session.key:
        raise Unsupported(
            "the key of this session can't be sent to Guayaba unchanged, so it might address another session. "
            "Use Guayaba itself for this session."
        )
