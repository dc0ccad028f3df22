"""Asking before something is destroyed: the user where the client can, else the caller by a code."""

import json
from collections.abc import Sequence
from hmac import compare_digest, new
from typing import Annotated

from mcp.server.mcpserver import AcceptedElicitation, Elicit, ElicitationResult, Resolve
from pydantic import BaseModel, Field

from .context import AppRequest, Backend, app_of, current_session
from .errors import ConfirmationRequired, Invalid, NotFound, quoted
from .models import SessionDetail

_MODERN = "2026-07-28"
_ALPHABET = "abcdefghjkmnpqrstuvwxyz23456789"


class Approval(BaseModel):
    confirm: bool = Field(default=True, title="Delete", description="Yes, delete what is named above.")


async def shown_session(session_id: str, backend: Backend, context: AppRequest) -> SessionDetail:
    """The session as it is when it is shown."""
    _refuse_current([session_id], context)
    return await backend.get_session_for_deletion(session_id)


async def ask_to_delete(
    shown: Annotated[SessionDetail, Resolve(shown_session)], backend: Backend, confirm: str, context: AppRequest
) -> Approval | Elicit[Approval]:
    return _ask([shown], f"Delete {_named(shown, context)}? {backend.deletion_notice()}", confirm, context)


async def approved_session(
    shown: Annotated[SessionDetail, Resolve(shown_session)],
    answer: Annotated[ElicitationResult[Approval], Resolve(ask_to_delete)],
) -> SessionDetail:
    _require(answer)
    return shown


async def shown_sessions(
    session_ids: list[str], backend: Backend, action: str, dry_run: bool, context: AppRequest
) -> list[SessionDetail]:
    """Those that exist, where their deletion is asked for."""
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
            continue  # told when it is tried
    return found


async def ask_to_delete_all(
    shown: Annotated[list[SessionDetail], Resolve(shown_sessions)], backend: Backend, confirm: str, context: AppRequest
) -> Approval | Elicit[Approval]:
    if not shown:
        return Approval()
    named = "; ".join(_named(session, context) for session in shown)
    many = f"these {len(shown)} sessions: " if len(shown) > 1 else ""
    return _ask(shown, f"Delete {many}{named}? {backend.deletion_notice()}", confirm, context)


async def approved_sessions(
    shown: Annotated[list[SessionDetail], Resolve(shown_sessions)],
    answer: Annotated[ElicitationResult[Approval], Resolve(ask_to_delete_all)],
) -> list[SessionDetail]:
    _require(answer)
    return shown


ApprovedSession = Annotated[SessionDetail, Resolve(approved_session)]
ApprovedSessions = Annotated[list[SessionDetail], Resolve(approved_sessions)]


def _require(answer: ElicitationResult[Approval]) -> None:
    if not isinstance(answer, AcceptedElicitation) or not answer.data.confirm:
        raise ConfirmationRequired("the user declined; nothing was changed.")


def _refuse_current(session_ids: Sequence[str], context: AppRequest) -> None:
    current = current_session(context)
    if current is not None and current.id in session_ids:
        raise Invalid(
            f"{quoted(current.id)} is the current session, which can't be deleted. archive_session puts it away."
        )


def _ask(shown: Sequence[SessionDetail], question: str, code: str, context: AppRequest) -> Approval | Elicit[Approval]:
    app = app_of(context)
    if app.confirm == "off":
        return Approval()
    if len(question) > app.max_chars:
        raise Invalid(f"{len(shown)} sessions are too many to be named in one question. Delete fewer at once.")
    if app.confirm == "auto" and can_elicit(context):
        return Elicit(question, Approval)
    expected = _code(shown, context)
    if compare_digest(code.encode(errors="replace"), expected.encode()):
        return Approval()
    stale = f"{quoted(code)} is not the code for this, or the session changed. " if code else ""
    raise ConfirmationRequired(f'{stale}{question} Ask the user; if they agree, call again with confirm="{expected}".')


def _code(shown: Sequence[SessionDetail], context: AppRequest) -> str:
    """Four characters that fit only this caller's deletion of these sessions as they are now."""
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
    """Whether this client can be asked on this transport: the SDK fails the whole call where it can't."""
    capabilities = context.client_capabilities
    elicitation = capabilities.elicitation if capabilities is not None else None
    if elicitation is None or (elicitation.form is None and elicitation.url is not None):
        return False
    return context.protocol_version == _MODERN or context.session.can_send_request
