"""Tools that write conversations: append messages, fork a session."""

from typing import Annotated

from pydantic import BaseModel, ConfigDict, Field

from ..backends.base import Capability
from ..models import Change, NewMessage, Role, SessionDetail
from ..server.context import Backend
from ..server.tool_spec import Toolset
from .params import Name, SessionId

authoring = Toolset("authoring")


class MessageInput(BaseModel):
    model_config = ConfigDict(extra="forbid")

    role: Role
    text: Annotated[str, Field(min_length=1, description="At least 1 character")]


@authoring.tool("Append messages", requires=Capability.APPEND_MESSAGES, effect="write", idempotent=False)
async def append_messages(
    session_id: SessionId,
    messages: Annotated[list[MessageInput], Field(min_length=1, max_length=100, description="1-100, oldest first")],
    backend: Backend,
) -> Change:
    """Add messages to the end of a session, as one run. They can't be removed later."""
    return await backend.append_messages(
        session_id, [NewMessage(role=message.role, text=message.text) for message in messages]
    )


@authoring.tool("Fork session", requires=Capability.FORK_SESSION, effect="write", idempotent=False)
async def fork_session(
    session_id: SessionId,
    backend: Backend,
    up_to_message_id: Annotated[str, Field(description="Id of the last message to copy; default: the newest")] = "",
    name: Name = "",
) -> SessionDetail:
    """Copy a session, or its first messages, into a new session, to continue differently from there."""
    return await backend.fork_session(session_id, up_to_message_id=up_to_message_id, name=name)
