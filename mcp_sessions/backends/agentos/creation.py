"""New sessions: empty ones and forks."""

from ...errors import BadResponse, Invalid, NotFound, OutcomeUnknown, SessionsError, Unsupported, quoted
from ...json_documents import JsonObject
from ...models import (
    SessionDetail,
)
from ...text.validate import check_text
from ..http.client import AnswerLost, Redirect
from ..validation import NAME_LENGTH, json_text, session_name, session_type
from .api import Api
from .recheck.writer import SessionWriter
from .versions import FORKS
from .wire import TYPES, AgentOsSession


async def create(
    api: Api, owner: str, *, name: str, type: str, agent_id: str, state: JsonObject, metadata: JsonObject
) -> AgentOsSession:
    """Create a session and return it as it is read back.

    We choose its id, so that it can be read back even if AgentOS's answer is lost.
    """
    if session_type(type) not in TYPES:
        raise Unsupported(f"AgentOS has no sessions of type {quoted(type)}. Use agent, team or workflow.")
    types = await api.types_of(agent_id) if agent_id else ()
    if types and type not in types:
        raise Invalid(
            f'{quoted(agent_id)} has the type {types[0]} on this AgentOS, not {type}. Give type="{types[0]}".'
        )
    json_text(state, "state")
    fields: JsonObject = {
        "session_name": session_name(name),
        "session_state": state,
        "metadata": metadata,
    }
    component = check_text(agent_id, "agent_id", NAME_LENGTH)
    session_id = api.new_id()
    lost: AnswerLost | None = None
    try:
        await api.create(
            session_id,
            owner,
            type=type,
            component=component,
            fields={key: value for key, value in fields.items() if value},
        )
    except AnswerLost as error:
        lost = error
    try:
        return await api.find(session_id, owner)
    except NotFound as error:
        if lost is None:
            raise BadResponse(
                f"AgentOS created the session for another user, to whom {api.http.credential.name} belongs. "
                "Use a credential of the user that the session is for."
            ) from error
        raise lost.not_made_error() from error
    except SessionsError as error:
        if lost and isinstance(lost.failure, Redirect) and isinstance(error, Redirect):
            raise lost.not_made_error() from error  # a server that redirects every request is not an AgentOS
        raise OutcomeUnknown(
            f"AgentOS was asked to create session {quoted(session_id)}, but reading it back failed, so it may or may "
            "not exist. Look for it with get_session."
        ) from error


async def fork(
    api: Api, writer: SessionWriter, session_id: str, owner: str, up_to_message_id: str, name: str
) -> SessionDetail:
    """Fork the whole session and return the fork, which is active. If `name` is "", it keeps the session's name."""
    source = await api.find(session_id, owner)
    (await api.version()).require(FORKS, "fork_session")
    if source.type == "workflow" or not source.agent_id:
        raise Unsupported("AgentOS forks only sessions of agents and teams, and this one belongs to neither.")
    if up_to_message_id:
        raise Unsupported("AgentOS forks whole sessions only. Leave out up_to_message_id.")
    fork_id = await api.fork(source, owner)

    def edit(session: AgentOsSession) -> JsonObject:
        # AgentOS copies all metadata, including the key that marks an archived session.
        return {"metadata": session.own_metadata} | ({"name": name} if name else {})

    try:
        result = await writer.change(fork_id, owner, edit)
    except SessionsError as error:
        note = (
            f"Forked, but the fork could not be renamed or taken out of the archive ({error.code}). "
            "Try rename_session or restore_session."
        )
        try:
            return (await api.find(fork_id, owner)).to_detail().model_copy(update={"note": note})
        except SessionsError as unread:
            raise OutcomeUnknown(
                f"AgentOS forked the session into {quoted(fork_id)}, but reading that session failed. "
                "Look at it with get_session."
            ) from unread
    return result.after.to_detail()
