"""The tool that archives, restores or deletes many sessions at once."""

from typing import Annotated

from pydantic import Field

from ..backends.base import Capability
from ..models import BulkAction, BulkResult
from ..server.confirmation import ApprovedSessions
from ..server.context import Backend
from ..server.tool_spec import Toolset
from .params import ConfirmCode

bulk = Toolset("bulk")


@bulk.tool("Change many sessions", requires=Capability.APPLY_TO_SESSIONS, effect="destroy")
async def apply_to_sessions(
    action: BulkAction,
    session_ids: Annotated[list[str], Field(min_length=1, max_length=100, description="1-100 session ids")],
    approved: ApprovedSessions,
    backend: Backend,
    dry_run: Annotated[bool, Field(description="true (default): only show what would change")] = True,
    confirm: ConfirmCode = "",
) -> BulkResult:
    """Archive, restore or delete many sessions at once. Only shows what would change, unless dry_run=false.

    Deleting asks the user first.
    """
    versions = {session.id: session.version for session in approved}
    return await backend.apply_to_sessions(action, session_ids, dry_run=dry_run, expected_versions=versions)
