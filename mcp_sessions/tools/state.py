"""Tools that change a session's state, metadata and summary."""

from typing import Annotated

from pydantic import Field

from ..backends.base import Capability
from ..models import Change, Clearable, StateMode
from ..server.context import Backend
from ..server.tool_spec import Toolset
from .params import ExpectedVersion, Object, SessionId

state = Toolset("state")


@state.tool("Update state", requires=Capability.UPDATE_SESSION_STATE, effect="write")
async def update_session_state(
    session_id: SessionId,
    changes: Annotated[Object, Field(description="Keys to set; null removes a key, when merging")],
    backend: Backend,
    mode: Annotated[
        StateMode, Field(description="merge (default), or replace: changes become the whole state")
    ] = "merge",
    expected_version: ExpectedVersion = "",
) -> Change:
    """Change a session's state: merge changes into it, or replace it.

    To undo, send previous.state with mode="replace".
    """
    return await backend.update_session_state(session_id, changes, mode=mode, expected_version=expected_version)


@state.tool("Update session", requires=Capability.UPDATE_SESSION, effect="write")
async def update_session(
    session_id: SessionId,
    backend: Backend,
    metadata: Annotated[Object, Field(description="Keys to set; null removes a key")] = {},
    summary: str = "",
    clear: Annotated[list[Clearable], Field(description="Fields to clear first")] = [],
    expected_version: ExpectedVersion = "",
) -> Change:
    """Change a session's metadata or summary.

    To undo, send the fields of `previous` again, and list their names in clear.
    """
    return await backend.update_session(
        session_id, metadata=metadata, summary=summary, clear=clear, expected_version=expected_version
    )
