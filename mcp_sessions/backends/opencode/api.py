"""Requests to the routes of opencode's REST API that this backend uses.

Only routes of the first version of the API are used. Those of the second (`/api/session/…`) answer with an empty
history for sessions of the first.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import TypeVar

from ...errors import BadResponse, NotFound, Unsupported
from ...json_documents import Json, JsonObject, is_object, object_in, text_in
from ..http.client import AnswerLost, HttpClient, Reply, TooLarge, path
from .source import MessageRows, SessionRows, absent_session
from .transcript import read_messages
from .wire import OpencodeSession, is_session_id, read_session, rows_in

T = TypeVar("T")

_MESSAGE_LIMITS = (200, 40, 8, 1)
_MAX_CHILDREN = 1000
_MAX_PAGE_BYTES = 32 * 1024 * 1024
_MAX_TRANSCRIPT_BYTES = 64 * 1024 * 1024


class Api:
    """Requests to opencode with one credential. Every error is a `SessionsError`."""

    def __init__(self, http: HttpClient) -> None:
        self.http = http

    async def version(self) -> str:
        """Return the version of opencode."""
        answer = (await self.http.read(path("global", "health"))).json()
        version = text_in(answer, "version") if is_object(answer) else ""
        if not version:
            raise BadResponse("no opencode server answers at the backend's URL. Check the address.")
        return version

    async def sessions(self, *, before: int | None, limit: int) -> SessionRows:
        """Return at most `limit` sessions. `OpencodeSource` documents which."""
        params: dict[str, str | int] = {"archived": "true", "roots": "true", "limit": limit}
        try:
            reply = await self.http.read(
                path("experimental", "session"), params=params | ({"cursor": before} if before is not None else {})
            )
        except NotFound as error:
            raise Unsupported(
                "this version of opencode can't list the sessions of all projects. Upgrade it."
            ) from error
        rows = [row for row in rows_in(reply.json()) if is_session_id(text_in(row, "id"))]
        sessions = [read_session(row) for row in rows]
        return SessionRows([row for row in sessions if not row.parent_id], "x-next-cursor" not in reply.headers)

    async def session(self, session_id: str) -> OpencodeSession:
        """Return a session. Raise `NotFound`."""
        return read_session((await self._read_of(session_id)).json())

    async def children(self, session_id: str) -> Sequence[OpencodeSession]:
        """Return the sessions that a session started."""
        reply = await self._read_of(session_id, "children")
        return [read_session(row) for row in rows_in(reply.json())]

    async def descendants(self, session_id: str) -> Sequence[str]:
        """Return the sessions that a session started, directly or through others, each after its parent."""
        found, seen = [session_id], {session_id}
        for id in found:  # the list grows during the loop
            new = [child.id for child in await self.children(id) if child.id not in seen]
            seen.update(new)
            found += new
            if len(found) > _MAX_CHILDREN:
                raise Unsupported("this session started too many sessions. Delete it in opencode itself.")
        return found[1:]

    async def count_children(self, session_id: str) -> int:
        """Return how many sessions a session started, directly or through others: opencode deletes them with it."""
        return len(await self.descendants(session_id))

    async def running_in(self, directory: str) -> Sequence[str]:
        """Return the sessions in a folder in which this server runs a turn now."""
        statuses = (await self.http.read(path("session", "status"), params={"directory": directory})).json()
        if not is_object(statuses):
            raise BadResponse("opencode's answer does not say which sessions run. Check the version of opencode.")
        return [id for id in statuses if is_session_id(id) and text_in(object_in(statuses, id), "type") != "idle"]

    async def export(self, session_id: str) -> JsonObject:
        """Return a session with all messages, as `opencode export` does. Raise `Unsupported` if they are too large."""
        info = (await self._read_of(session_id)).json()
        read_session(info)
        found = await self.messages(session_id)
        if not found.is_complete:
            raise Unsupported("this session is too large to be copied before it is deleted. Delete it in opencode.")
        return {"info": info, "messages": [*found.rows]}

    async def messages(self, session_id: str) -> MessageRows:
        """Return the messages of a session: all, or as many of the newest as can be read. Raise `NotFound`."""
        rows: list[JsonObject] = []
        before, size, step = "", 0, 0
        while size < _MAX_TRANSCRIPT_BYTES and step < len(_MESSAGE_LIMITS):
            params: dict[str, str | int] = {"limit": _MESSAGE_LIMITS[step], **({"before": before} if before else {})}
            try:
                reply = await self._read_of(session_id, "message", params=params)
            except TooLarge:
                step += 1
                continue
            page, step = rows_in(reply.json()), max(step - 1, 0)
            rows, size, before = page + rows, size + len(reply.body), reply.headers.get("x-next-cursor", "")
            if not before or not page:
                return MessageRows(rows, is_complete=True, size=size)
        if not rows:
            raise BadResponse("the newest message of this session is too large to read. Read it in opencode itself.")
        return MessageRows(rows, is_complete=False, size=size)

    async def newest_message(self, session_id: str) -> JsonObject:
        """Return the newest message without its parts; an empty object if there is none."""
        rows = rows_in((await self._read_of(session_id, "message", params={"limit": 1})).json())
        return object_in(rows[-1], "info") if rows else {}

    async def newest_message_id(self, session_id: str) -> str:
        """Return the id of the newest message; "" if there is none."""
        return text_in(await self.newest_message(session_id), "id")

    async def message_text(self, session_id: str, message_id: str) -> str:
        """Return what a message of the user says; "" for another message."""
        row = (await self._read_of(session_id, "message", message_id)).json()
        message = next(iter(read_messages([row])), None) if is_object(row) else None
        return message.text if message and message.role == "user" else ""

    async def create(self, content: JsonObject, *, directory: str) -> OpencodeSession:
        """Create a session in a folder; "" for the one that the server runs in."""
        params = {"directory": directory} if directory else {}
        return await self._change(read_session, "POST", "session", content=content, params=params)

    async def update(self, session_id: str, content: JsonObject) -> OpencodeSession:
        """Set fields of a session, and return the changed session."""
        try:
            return await self._change(read_session, "PATCH", "session", session_id, content=content)
        except NotFound as error:
            raise absent_session(session_id) from error

    async def delete(self, session_id: str) -> None:
        """Delete a session and the sessions that it started."""
        await self._change(_require_confirmation, "DELETE", "session", session_id)

    async def append(self, session_id: str, text: str, agent: str) -> str:
        """Append a message of the user for an agent ("" for the default one), and return its id.

        Without `noReply`, opencode would start a run, which costs money and changes files.
        """
        content: JsonObject = {"noReply": True, "parts": [{"type": "text", "text": text}]}
        content |= {"agent": agent} if agent else {}
        return await self._change(_read_message_id, "POST", "session", session_id, "message", content=content)

    async def delete_message(self, session_id: str, message_id: str) -> None:
        """Delete a message."""
        await self._change(_require_confirmation, "DELETE", "session", session_id, "message", message_id)

    async def fork(self, session_id: str, before_message_id: str) -> OpencodeSession:
        """Copy a session: the messages before a message, or all if that is ""."""
        content: JsonObject = {"messageID": before_message_id} if before_message_id else {}
        return await self._change(read_session, "POST", "session", session_id, "fork", content=content)

    async def replay(self, directory: str, events: Sequence[JsonObject]) -> None:
        """Apply events of a session. Events that were applied before change nothing."""
        content: JsonObject = {"directory": directory, "events": [*events]}
        await self._change(_require_replay, "POST", "sync", "replay", content=content)

    async def _change(
        self,
        read: Callable[[Json], T],
        method: str,
        *route: str,
        content: JsonObject | None = None,
        params: Mapping[str, str] = {},
    ) -> T:
        """Send a change, and return what `read` makes of its answer. Raise `AnswerLost` if the answer can't be read. A
        POST adds something, so it is sent only once.
        """
        is_idempotent = method != "POST"
        reply = await self.http.change(method, path(*route), params=params, json=content, idempotent=is_idempotent)
        try:
            return read(reply.json())
        except BadResponse as error:
            raise AnswerLost(
                "opencode answered the change with something that can't be read. Look at the session before you "
                "repeat it.",
                error,
                ended=True,
            ) from error

    async def _read_of(self, session_id: str, *route: str, params: Mapping[str, str | int] = {}) -> Reply:
        if not is_session_id(session_id):
            raise absent_session(session_id)
        try:
            return await self.http.read(path("session", session_id, *route), params=params, max_bytes=_MAX_PAGE_BYTES)
        except NotFound as error:
            raise absent_session(session_id) from error


def _read_message_id(answer: Json) -> str:
    message_id = text_in(object_in(answer, "info"), "id") if is_object(answer) else ""
    if not message_id:
        raise BadResponse("opencode's answer is not a message. Check the version of opencode.")
    return message_id


def _require_confirmation(answer: Json) -> None:
    """Raise `BadResponse` unless the answer is `true`. Where opencode has no route, it answers with its web app."""
    if answer is not True:
        raise BadResponse("opencode's answer does not confirm the deletion. Check the version of opencode.")


def _require_replay(answer: Json) -> None:
    if not (is_object(answer) and is_session_id(text_in(answer, "sessionID"))):
        raise BadResponse("opencode's answer does not confirm the restored session. Check the version of opencode.")
