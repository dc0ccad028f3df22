"""New sessions: empty ones, and forks."""

from ...errors import BadResponse, Invalid, NotFound, OutcomeUnknown, SessionsError, Unsupported, quoted
from ...json_documents import JsonObject
from ...models import (
    SessionDetail,
)
from ...text.validate import plain
from ..http.client import AnswerLost, Redirected
from ..validation import NAME_LENGTH, json_text, session_name, session_type
from .api import Api
from .recheck.writer import Changes
from .versions import Trait
from .wire import TYPES, Stored


async def create(
    api: Api, owner: str, *, name: str, type: str, agent_id: str, state: JsonObject, metadata: JsonObject
) -> Stored:
    """A new session, read back. Its id is ours, so that what became of a lost answer can be read."""
    if session_type(type) not in TYPES:
        raise Unsupported(f"AgentOS has sessions of the types agent, team and workflow, and not {quoted(type)}.")
    if type != "agent" and not agent_id and not (await api.version()).has(Trait.FINDS_TYPES):
        raise Unsupported(f'this AgentOS tells a {type}\'s session only by its {type}. Give that as "agent_id".')
    types = await api.types_of(agent_id) if agent_id else ()
    if types and type not in types:
        raise Invalid(f'{quoted(agent_id)} is a {types[0]} on this AgentOS, not a {type}. Give type="{types[0]}".')
    json_text(state, "state")
    fields: JsonObject = {
        "session_name": session_name(name),
        "session_state": state,
        "metadata": metadata,
    }
    component = plain(agent_id, "agent_id", NAME_LENGTH)
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
        return await api.find(session_id, owner, type=type)
    except NotFound as error:
        if lost is None:
            raise BadResponse(
                f"AgentOS made the session, but not for this user: {api.http.credential.name} is another's."
            ) from error
        raise lost.not_made() from error
    except SessionsError as error:
        if lost and isinstance(lost.failure, Redirected) and isinstance(error, Redirected):
            raise lost.not_made() from error  # what redirects everything is not AgentOS, so nothing ran there
        raise OutcomeUnknown(
            f"AgentOS was told to make session {quoted(session_id)}, and could not be asked whether it did. Look."
        ) from error


async def fork(
    api: Api, changes: Changes, session_id: str, owner: str, up_to_message_id: str, name: str
) -> SessionDetail:
    """A copy of the whole session, active and under its own name."""
    source = await api.find(session_id, owner)
    (await api.version()).require(Trait.FORKS, "fork_session")
    if source.type == "workflow" or not source.agent_id:
        raise Unsupported("AgentOS forks sessions of agents and teams only, and this one is of neither.")
    if up_to_message_id:
        raise Unsupported("AgentOS forks whole sessions only. Leave out up_to_message_id.")
    fork_id = await api.fork(source, owner)

    def plan(stored: Stored) -> JsonObject:
        # AgentOS copies the metadata, and with it the mark of the archive.
        return {"metadata": stored.own_metadata} | ({"name": name} if name else {})

    try:
        made = await changes.make(fork_id, owner, plan)
    except SessionsError as error:
        note = f"Forked, but the name and the archive's mark are as before: {error.code}. rename_session can mend it."
        try:
            return (await api.find(fork_id, owner)).detail().model_copy(update={"note": note})
        except SessionsError as unread:
            raise OutcomeUnknown(
                f"AgentOS forked the session into {quoted(fork_id)}, which could not be read. Look at that one."
            ) from unread
    return made.after.detail()
