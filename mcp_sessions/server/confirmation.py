"""Confirmation of deletions: by a question to the user, or by a code that the caller sends back."""

import json
from collections.abc import Sequence
from hmac import compare_digest, new
from typing import Annotated, Literal

from mcp.server.mcpserver import Elicit, ElicitationResult, Resolve
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitResult
from pydantic import BaseModel, GetJsonSchemaHandler, ValidationError
from pydantic.json_schema import JsonSchemaValue
from pydantic_core import CoreSchema

from ..errors import ConfirmationRequired, Invalid, quoted
from ..json_documents import JsonObject
from ..models import (
    SessionDetail,
)
from .context import (
    AppContext,
    AppRequest,
    Backend,
    app_of,
    current_session,
    find_current,
    find_in_client,
    may_be_current,
)

_MODERN = "2026-07-28"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_FORM: JsonObject = {"type": "object", "properties": {}}  # clients recognize exactly this as a form without fields
UNREADABLE_ANSWER = "the answer could not be read; nothing was changed. Call again."


class Confirmation(BaseModel):
    """The form that the user accepts or declines. It has no fields."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(_FORM)


async def session_to_delete(session_id: str, backend: Backend, context: AppRequest) -> SessionDetail:
    """Return the session to delete, which the question describes. Raise `Invalid` for the current session."""
    await _refuse_current([session_id], context)
    return await backend.get_session_for_deletion(session_id)


async def ask_to_delete(
    session: Annotated[SessionDetail, Resolve(session_to_delete)], backend: Backend, confirm: str, context: AppRequest
) -> Confirmation | Elicit[Confirmation]:
    notice = backend.deletion_notice([session.id])
    return await _ask([session], f"Delete {_describe(session, context)}? {notice}", confirm, context)


async def approved_session(
    session: Annotated[SessionDetail, Resolve(session_to_delete)],
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask_to_delete)],
    context: AppRequest,
) -> SessionDetail:
    _require_acceptance(answer.action, app_of(context))
    return session


async def sessions_to_delete(
    session_ids: list[str], backend: Backend, action: str, dry_run: bool, context: AppRequest
) -> list[SessionDetail]:
    """Return the sessions to delete that exist. Raise `Invalid` if the current session is among them."""
    if action != "delete":
        return []
    await _refuse_current(session_ids, context)
    if dry_run:
        return []
    return [*await backend.get_sessions_for_deletion(session_ids)]  # the result lists the others as failed


async def ask_to_delete_all(
    sessions: Annotated[list[SessionDetail], Resolve(sessions_to_delete)],
    backend: Backend,
    confirm: str,
    context: AppRequest,
) -> Confirmation | Elicit[Confirmation]:
    if not sessions:
        return Confirmation()
    described = "; ".join(_describe(session, context) for session in sessions)
    count = f"these {len(sessions)} sessions: " if len(sessions) > 1 else ""
    notice = backend.deletion_notice([session.id for session in sessions])
    return await _ask(sessions, f"Delete {count}{described}? {notice}", confirm, context)


async def approved_sessions(
    sessions: Annotated[list[SessionDetail], Resolve(sessions_to_delete)],
    answer: Annotated[ElicitationResult[Confirmation], Resolve(ask_to_delete_all)],
    context: AppRequest,
) -> list[SessionDetail]:
    _require_acceptance(answer.action, app_of(context))
    return sessions


ApprovedSession = Annotated[SessionDetail, Resolve(approved_session)]
ApprovedSessions = Annotated[list[SessionDetail], Resolve(approved_sessions)]


def _require_acceptance(action: Literal["accept", "decline", "cancel"], app: AppContext) -> None:
    """Raise `ConfirmationRequired` unless the question was accepted.

    The errors don't say that the user declined, since unattended clients decline or cancel by themselves.
    """
    if action == "decline":
        raise ConfirmationRequired("the answer was no; nothing was changed.")
    if action == "cancel":
        raise _unconfirmed_error("the question was not answered", app)


def _unconfirmed_error(reason: str, app: AppContext) -> ConfirmationRequired:
    """Return the error for a question that nobody answered, with advice to the operator."""
    if app.confirm == "user":
        advice = (
            "Only the user can confirm a deletion here (--confirm user), in a client that shows them the question. "
            "archive_session needs no confirmation."
        )
    else:
        advice = "If nobody is there to answer, the operator can set --confirm code."
    return ConfirmationRequired(f"{reason}; nothing was changed. {advice}")


async def _refuse_current(session_ids: Sequence[str], context: AppRequest) -> None:
    """Raise `Invalid` if the current session is among these, or a backend's error if that can't be determined."""
    request = context.request_context
    if any(may_be_current(session_id, request) for session_id in session_ids):
        await find_current(request)
    current = current_session(request)
    for session_id in [current.id] if current else await find_in_client(request):
        if session_id in session_ids:
            raise Invalid(
                f"{quoted(session_id)} is the current session, which can't be deleted. Use archive_session instead."
            )


async def _ask(
    sessions: Sequence[SessionDetail], question: str, code: str, context: AppRequest
) -> Confirmation | Elicit[Confirmation]:
    """Return a confirmation, or a question for the SDK to ask. Raise `ConfirmationRequired` if there is neither."""
    app = app_of(context)
    if app.confirm == "off":
        return Confirmation()
    if len(question) > app.max_chars:
        raise Invalid(f"{len(sessions)} sessions are too many to list in one question. Delete fewer at once.")
    if app.confirm != "code" and can_elicit(context):
        return await _ask_user(question, context)
    if app.confirm == "user":
        raise _unconfirmed_error("this client can't ask the user", app)
    expected = _code(sessions, context)
    if compare_digest(code.encode(errors="replace"), expected.encode()):
        return Confirmation()
    stale = f"{quoted(code)} is not the code for this deletion, or the session has changed. " if code else ""
    raise ConfirmationRequired(f'{stale}{question} Ask the user; if they agree, call again with confirm="{expected}".')


async def _ask_user(question: str, context: AppRequest) -> Confirmation | Elicit[Confirmation]:
    """Ask with an empty form. A client may accept it without `content`, which the SDK would refuse."""
    if context.protocol_version == _MODERN:
        for answer in (context.input_responses or {}).values():
            if isinstance(answer, ElicitResult) and answer.content is None:
                answer.content = {}
        return Elicit(question, Confirmation)
    app = app_of(context)
    try:
        answer = await context.session.elicit_form(question, _FORM, context.request_id)
    except MCPError as error:
        raise _unconfirmed_error("the client could not ask the user", app) from error
    except ValidationError as error:
        raise ConfirmationRequired(UNREADABLE_ANSWER) from error
    _require_acceptance(answer.action, app)
    return Confirmation()


def _code(sessions: Sequence[SessionDetail], context: AppRequest) -> str:
    """Return the code of four characters with which this caller confirms deleting these versions of the sessions."""
    app = app_of(context)
    caller = app.caller
    versions = sorted((session.id, session.version) for session in sessions)
    deletion = json.dumps([caller.subject, caller.user_id, versions])
    digest = new(app.secret, deletion.encode(), "sha256").digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:4])


def _describe(session: SessionDetail, context: AppRequest) -> str:
    name = quoted(app_of(context).operator.sanitize(session.name)) if session.name else "without a name"
    counts = [(session.message_count, "message"), (session.run_count, "run"), (session.child_count, "child session")]
    facts = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count is not None]
    # The SDK accepts an answer only for the same question, so the version in it keeps an answer from being used for a
    # session that has changed.
    facts += [f"version {session.version}"] if session.version else []
    return f"session {quoted(session.id)} {name} ({', '.join(facts)})"


def can_elicit(context: AppRequest) -> bool:
    """Return whether this client can be asked on this transport; if not, asking would fail the whole call."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return context.protocol_version == _MODERN or context.session.can_send_request
