"""Confirming a deletion: by a question to the user, or by a code that the caller sends back."""

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

from ..errors import ConfirmationRequired, Invalid, NotFound, quoted
from ..json_documents import JsonObject
from ..models import (
    SessionDetail,
)
from .context import AppContext, AppRequest, Backend, app_of, current_session

_MODERN = "2026-07-28"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"
_FORM: JsonObject = {"type": "object", "properties": {}}  # exactly what clients recognise as a form without fields
UNREADABLE_ANSWER = "the answer could not be read; nothing was changed. Call again."


class Agreement(BaseModel):
    """The form that the user sees. It has no fields: accepting it is the answer."""

    @classmethod
    def __get_pydantic_json_schema__(cls, core_schema: CoreSchema, handler: GetJsonSchemaHandler) -> JsonSchemaValue:
        return dict(_FORM)


async def shown_session(session_id: str, backend: Backend, context: AppRequest) -> SessionDetail:
    """Return the session as the question shows it."""
    _refuse_current([session_id], context)
    return await backend.get_session_for_deletion(session_id)


async def ask_to_delete(
    shown: Annotated[SessionDetail, Resolve(shown_session)], backend: Backend, confirm: str, context: AppRequest
) -> Agreement | Elicit[Agreement]:
    return await _ask([shown], f"Delete {_named(shown, context)}? {backend.deletion_notice()}", confirm, context)


async def approved_session(
    shown: Annotated[SessionDetail, Resolve(shown_session)],
    answer: Annotated[ElicitationResult[Agreement], Resolve(ask_to_delete)],
    context: AppRequest,
) -> SessionDetail:
    _require_yes(answer.action, app_of(context))
    return shown


async def shown_sessions(
    session_ids: list[str], backend: Backend, action: str, dry_run: bool, context: AppRequest
) -> list[SessionDetail]:
    """Return the existing sessions that the call deletes, as the question shows them."""
    if action != "delete":
        return []
    _refuse_current(session_ids, context)
    if dry_run:
        return []
    found: list[SessionDetail] = []
    for session_id in dict.fromkeys(session_ids):
        try:
            found.append(await backend.get_session_for_deletion(session_id))
        except NotFound:
            continue  # the result names it as failed
    return found


async def ask_to_delete_all(
    shown: Annotated[list[SessionDetail], Resolve(shown_sessions)], backend: Backend, confirm: str, context: AppRequest
) -> Agreement | Elicit[Agreement]:
    if not shown:
        return Agreement()
    named = "; ".join(_named(session, context) for session in shown)
    many = f"these {len(shown)} sessions: " if len(shown) > 1 else ""
    return await _ask(shown, f"Delete {many}{named}? {backend.deletion_notice()}", confirm, context)


async def approved_sessions(
    shown: Annotated[list[SessionDetail], Resolve(shown_sessions)],
    answer: Annotated[ElicitationResult[Agreement], Resolve(ask_to_delete_all)],
    context: AppRequest,
) -> list[SessionDetail]:
    _require_yes(answer.action, app_of(context))
    return shown


ApprovedSession = Annotated[SessionDetail, Resolve(approved_session)]
ApprovedSessions = Annotated[list[SessionDetail], Resolve(approved_sessions)]


def _require_yes(action: Literal["accept", "decline", "cancel"], app: AppContext) -> None:
    """Raise `ConfirmationRequired` unless the question was accepted.

    Unattended clients decline or cancel by themselves, so neither is said to be the user's answer.
    """
    if action == "decline":
        raise ConfirmationRequired("the answer was no; nothing was changed.")
    if action == "cancel":
        raise _unconfirmed("the question was not answered", app)


def _unconfirmed(reason: str, app: AppContext) -> ConfirmationRequired:
    """Return the error for a question that nobody answered, with what the operator can do about it."""
    if app.confirm == "user":
        advice = (
            "Only the user can confirm a deletion here (--confirm user), in a client that shows them the question. "
            "archive_session needs no confirmation."
        )
    else:
        advice = "If nobody is there to answer, the operator can set --confirm code."
    return ConfirmationRequired(f"{reason}; nothing was changed. {advice}")


def _refuse_current(session_ids: Sequence[str], context: AppRequest) -> None:
    current = current_session(context)
    if current is not None and current.id in session_ids:
        raise Invalid(
            f"{quoted(current.id)} is the current session, which can't be deleted. archive_session puts it away."
        )


async def _ask(
    shown: Sequence[SessionDetail], question: str, code: str, context: AppRequest
) -> Agreement | Elicit[Agreement]:
    """Return an agreement, or the question for the SDK to ask. Raise `ConfirmationRequired` without an agreement."""
    app = app_of(context)
    if app.confirm == "off":
        return Agreement()
    if len(question) > app.max_chars:
        raise Invalid(f"{len(shown)} sessions are too many to be named in one question. Delete fewer at once.")
    if app.confirm != "code" and can_elicit(context):
        return await _ask_user(question, context)
    if app.confirm == "user":
        raise _unconfirmed("this client can't ask the user", app)
    expected = _code(shown, context)
    if compare_digest(code.encode(errors="replace"), expected.encode()):
        return Agreement()
    stale = f"{quoted(code)} is not the code for this, or the session changed. " if code else ""
    raise ConfirmationRequired(f'{stale}{question} Ask the user; if they agree, call again with confirm="{expected}".')


async def _ask_user(question: str, context: AppRequest) -> Agreement | Elicit[Agreement]:
    """Ask with a form without fields, whose accepted answer may come without content; the SDK refuses that."""
    if context.protocol_version == _MODERN:
        for answer in (context.input_responses or {}).values():
            if isinstance(answer, ElicitResult) and answer.content is None:
                answer.content = {}
        return Elicit(question, Agreement)
    app = app_of(context)
    try:
        answer = await context.session.elicit_form(question, _FORM, context.request_id)
    except MCPError as error:
        raise _unconfirmed("the client could not ask the user", app) from error
    except ValidationError as error:
        raise ConfirmationRequired(UNREADABLE_ANSWER) from error
    _require_yes(answer.action, app)
    return Agreement()


def _code(shown: Sequence[SessionDetail], context: AppRequest) -> str:
    """Return four characters that fit only this caller's deletion of these sessions as they are now."""
    app = app_of(context)
    caller = app.caller
    subject = json.dumps([caller.subject, caller.user_id, sorted((session.id, session.version) for session in shown)])
    digest = new(app.secret, subject.encode(), "sha256").digest()
    return "".join(_ALPHABET[byte % len(_ALPHABET)] for byte in digest[:4])


def _named(session: SessionDetail, context: AppRequest) -> str:
    name = quoted(app_of(context).operator.present(session.name)) if session.name else "without a name"
    counts = [(session.message_count, "message"), (session.run_count, "run")]
    holds = [f"{count} {noun}{'' if count == 1 else 's'}" for count, noun in counts if count is not None]
    # An agreement is held to the question's words, so the version must be one of them.
    holds += [f"version {session.version}"] if session.version else []
    return f"session {quoted(session.id)} {name} ({', '.join(holds)})"


def can_elicit(context: AppRequest) -> bool:
    """Return whether this client can be asked on this transport: the SDK fails the whole call where it can't."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return context.protocol_version == _MODERN or context.session.can_send_request
