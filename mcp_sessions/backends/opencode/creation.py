"""Operations that add sessions and messages. opencode can't repeat them safely, so each request is sent once."""

from collections.abc import Sequence

from ...errors import BadResponse, Invalid, NotFound, OutcomeUnknown, SessionsError, Unsupported, quoted
from ...json_documents import JsonObject
from ...models import NewMessage, Role
from ...text.validate import check_text
from ..http.client import AnswerLost, ServerFailed
from ..session_locks import SessionLocks
from ..validation import TEXT_LENGTH
from .api import Api
from .transcript import message_id_of, successor_of
from .wire import OpencodeSession

APPENDED_ROLES: frozenset[Role] = frozenset({"user"})


async def create(api: Api, name: str, agent: str, metadata: JsonObject, *, directory: str) -> OpencodeSession:
    """Create a session. Arguments that are empty are left to opencode."""
    content: JsonObject = {"title": name, "agent": agent, "metadata": metadata}
    created = await api.create({key: value for key, value in content.items() if value}, directory=directory)
    if name and created.title != name:  # opencode ignores fields that it doesn't know
        raise BadResponse(f"opencode created session {quoted(created.id)} without its name. Rename or delete it.")
    return created


async def fork(api: Api, session_id: str, up_to_message_id: str) -> OpencodeSession:
    """Copy a session with its messages up to and including one of them; "" for all.

    opencode itself leaves out the message in the request and all later ones. If it doesn't know the message, it copies
    all.
    """
    if not up_to_message_id:
        await api.session(session_id)
        return await api.fork(session_id, "")
    rows = (await api.messages(session_id)).rows
    message_id = message_id_of(rows, up_to_message_id)
    if not message_id:
        raise NotFound(
            f"this session has no message {quoted(up_to_message_id)}. Call get_session_history for valid ids."
        )
    return await api.fork(session_id, successor_of(rows, message_id))


def texts_of(messages: Sequence[NewMessage]) -> list[str]:
    """Return the texts of messages to append. Raise an error if opencode can't store one of them."""
    if not messages:
        raise Invalid('"messages" is empty. Give at least one.')
    for message in messages:
        check_text(message.text, "text", TEXT_LENGTH)
        if message.role not in APPENDED_ROLES:
            raise Unsupported("opencode accepts messages of the role user only. Leave the others out.")
        if not message.text or message.tool_calls or message.tool_name or message.attachments:
            raise Unsupported("opencode accepts messages with a text and nothing else. Give each a text.")
    return [message.text for message in messages]


async def append(api: Api, locks: SessionLocks, session_id: str, texts: Sequence[str]) -> bool:
    """Append messages of the user: all, or none of them. Return whether the session had no messages before."""
    async with locks.lock(session_id):
        agent = (await api.session(session_id)).agent
        newest = first = await api.newest_message_id(session_id)
        added: list[str] = []
        try:
            for text in texts:
                newest = await _append_one(api, session_id, text, agent, newest)
                added.append(newest)
        except SessionsError as error:
            await _remove(api, session_id, added, error)
            raise
        return not first


async def _append_one(api: Api, session_id: str, text: str, agent: str, newest: str) -> str:
    """Append a message after the newest one, and return its id.

    Without the agent, opencode would run the next turn with the default agent. The request fails if opencode's
    configuration no longer has the agent.
    """
    try:
        return await api.append(session_id, text, agent)
    except AnswerLost as lost:
        found = await api.newest_message_id(session_id)
        if found != newest and await api.message_text(session_id, found) == text:
            return found
        if agent and found == newest and isinstance(lost.failure, ServerFailed):
            return await _append_one(api, session_id, text, "", newest)
        if found == newest:
            raise lost.not_made_error() from lost
        raise


async def _remove(api: Api, session_id: str, message_ids: Sequence[str], cause: SessionsError) -> None:
    """Remove appended messages. Raise `OutcomeUnknown` if one can't be removed."""
    try:
        for message_id in message_ids:
            await api.delete_message(session_id, message_id)
    except SessionsError:
        raise OutcomeUnknown(
            "only some of the messages were appended, and they could not be removed. Look at the session's history."
        ) from cause
