"""Parameters that several tools share, with one name, type and description for each."""

from datetime import UTC, datetime
from typing import Annotated, Any

from pydantic import Field

from .. import cursors
from ..errors import Invalid, quoted
from ..models import MessagePage, RunPage

SessionId = Annotated[str, Field(description='Id, or "current"')]
AgentId = Annotated[str, Field(description="Id of the agent, team or workflow")]
Cursor = Annotated[str, Field(description="next_cursor of a result")]
Name = Annotated[str, Field(description="At most 512 characters")]
Project = Annotated[str, Field(description="Sessions in or under this path")]
ConfirmCode = Annotated[str, Field(description="Code from the error, once the user agrees")]
ExpectedVersion = Annotated[str, Field(description="Fail unless at this version")]
Object = dict[str, Any]


def parse_time(value: str, field: str) -> datetime | None:
    """Return an ISO 8601 time, converted to UTC; None for "". Raise `Invalid` for any other text.

    A time without a time zone is in UTC.
    """
    if not value:
        return None
    try:
        parsed = datetime.fromisoformat(value)
        return parsed.astimezone(UTC) if parsed.tzinfo else parsed.replace(tzinfo=UTC)
    except (ValueError, OverflowError):
        raise Invalid(
            f'"{field}" must be an ISO 8601 time such as "2026-01-31T12:00:00Z", not {quoted(value)}.'
        ) from None


def message_part(page: MessagePage, cursor: str) -> MessagePage:
    """Return a page of one message that begins at the cursor's position in its texts."""
    return page.model_copy(update={"part": _part(page.session_id, page.messages[0].id, cursor)})


def run_part(page: RunPage, cursor: str) -> RunPage:
    """Return a page of one run that begins at the cursor's position in its texts."""
    return page.model_copy(update={"part": _part(page.session_id, page.runs[0].id, cursor)})


def _part(session_id: str, row_id: str, cursor: str) -> int:
    return cursors.read(cursor, cursors.walk("part", session_id, row_id), 1)[0] if cursor else 0
