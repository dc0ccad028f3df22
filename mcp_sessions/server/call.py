"""How a function becomes a tool: what it needs, who is offered it, and the one seam through which its results go."""

import inspect
import logging
from collections.abc import Collection
from time import monotonic
from typing import Any

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, TextContent
from pydantic import PrivateAttr, ValidationError

from ..caller import Scope
from ..errors import (
    ConfirmationRequired,
    Internal,
    Invalid,
    OutcomeUnknown,
    SessionsError,
    printable,
    quoted,
    whereabouts,
)
from ..json_documents import JsonObject, is_array
from ..models import (
    BulkResult,
    Model,
    SessionDetail,
)
from ..output.fit_pages import fit
from ..output.render import payload_of, rendered
from .argument_errors import explained, read_arguments
from .audit_log import Done
from .confirmation import UNREADABLE_ANSWER
from .context import CURRENT, AppRequest, app_of, current_session, resolve_id
from .cursor_cipher import ROOM as SEAL_ROOM
from .input_schema import input_schema
from .list_changes import announce_list_change
from .tool_spec import SCOPES, ToolSpec

logger = logging.getLogger(__name__)


class SessionTool(Tool):
    """A tool whose every outcome is a result in our words."""

    _spec: ToolSpec = PrivateAttr()

    @classmethod
    def of(cls, spec: ToolSpec) -> "SessionTool":
        tool = cls.from_function(
            spec.function,
            title=spec.title,
            description=inspect.getdoc(spec.function),
            annotations=spec.annotations,
            structured_output=False,
        )
        assert isinstance(tool, SessionTool)  # the SDK makes it of the class it is asked of, and declares its own
        tool.parameters = input_schema(tool.parameters)
        # No schema of the results: one that said all of them would cost a model 3,000 characters before its first
        # call, and Python clients 9 ms for each; results explain themselves when they come.
        tool._spec = spec
        return tool

    @property
    def scope(self) -> Scope:
        return SCOPES[self._spec.effect]

    @property
    def reads(self) -> bool:
        return self._spec.effect == "read"

    @property
    def changes_list(self) -> bool:
        return self._spec.changes_list

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        app = app_of(context)
        audit = None if self.reads else app.audit
        began = monotonic()
        result: Model | InputRequiredResult | None = None
        code = OutcomeUnknown.code  # of a call that is broken off
        try:
            if audit is not None:
                audit.require()
            app.admit(self.scope)
            # Some clients send a list as a string.
            arguments = read_arguments(self.fn_metadata.pre_parse_json(arguments), self.parameters)
            result = await self._done(_resolved(arguments, context), context)
            answer = result if isinstance(result, InputRequiredResult) else _answer(result, arguments, context)
            code = ""
        except SessionsError as error:
            code, answer = error.code, failed(error)
        except Exception as error:
            code, answer = Internal.code, failed(_unforeseen(error, self.name, context.request_id))
        finally:
            if audit is not None and not isinstance(result, InputRequiredResult):  # which asks the user first
                target, seconds = _target(arguments, context), monotonic() - began
                audit.change(Done(app.subject, self.name, arguments, target, context.request_id, seconds, result, code))
        if self.changes_list and not code and _has_changed(result):
            await announce_list_change(context)
        return answer

    async def _done(self, arguments: dict[str, Any], context: Context[Any, Any]) -> Model | InputRequiredResult:
        """Return what the function returns. Raise `SessionsError` for a foreseen failure."""
        try:
            return await super().run(arguments, context)
        except ToolError as error:
            raise self._foreseen(error) or error.__cause__ or error from error

    def _foreseen(self, error: ToolError) -> SessionsError | None:
        match error.__cause__:
            case SessionsError() as cause:
                return cause
            case ValidationError() as cause if not isinstance(error, UnexpectedToolError):
                return explained(cause, self.parameters)
            case _ if not isinstance(error, UnexpectedToolError):
                # The SDK raises this for an answer to the confirmation question that is no answer to a form.
                return ConfirmationRequired(UNREADABLE_ANSWER)
            case _:
                return None


def _resolved(arguments: JsonObject, context: AppRequest) -> JsonObject:
    """Return the arguments with `"current"` replaced by the session's id and the cursor as the backend made it."""
    resolved = dict(arguments)
    if isinstance(resolved.get("cursor"), str):
        resolved["cursor"] = app_of(context).opened(resolved["cursor"])
    if isinstance(resolved.get("session_id"), str):
        resolved["session_id"] = resolve_id(resolved["session_id"], context)
    if is_array(resolved.get("session_ids")):
        ids = resolved["session_ids"]
        resolved["session_ids"] = [resolve_id(id, context) if isinstance(id, str) else id for id in ids]
    return resolved


def _has_changed(result: Model | InputRequiredResult | None) -> bool:
    """Return whether a call changed something: it neither asked the user first nor only said what it would do."""
    return isinstance(result, Model) and not (isinstance(result, BulkResult) and not result.succeeded)


def _answer(result: Model, arguments: JsonObject, context: AppRequest) -> CallToolResult:
    """Return what a result tells this caller, within the budget of characters."""
    app = app_of(context)
    payload = payload_of(result, app.operator.present)
    if isinstance(result, SessionDetail) and arguments.get("state_path"):
        payload["state"] = result.state  # asked for, so an empty one says something
    current = current_session(context)
    if current is not None:
        named = arguments.get("session_ids")
        if CURRENT in (arguments.get("session_id"), *(named if is_array(named) else ())):
            payload["resolved_from"] = current.resolved_from
        _mark_current(payload, current.id)
    payload = fit(result, payload, app.max_chars - (SEAL_ROOM if app.seal else 0))
    if "next_cursor" in payload:
        payload["next_cursor"] = app.closed(payload["next_cursor"])
    return rendered(payload)


def _mark_current(payload: JsonObject, session_id: str) -> None:
    for session in payload.get("sessions", (payload,)):
        if session.get("id") == session_id:
            session["is_current"] = True


def _target(arguments: JsonObject, context: AppRequest) -> str:
    """The session that a call names, as it named it where that can't be told."""
    named = arguments.get("session_id")
    current = current_session(context) if named == CURRENT else None
    return current.id if current else named if isinstance(named, str) else ""


def failed(error: SessionsError) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=error.text)], is_error=True)


def _unforeseen(error: BaseException, tool: str, request_id: str) -> SessionsError:
    logger.error("Request %s: %s failed by %s", printable(request_id), tool, whereabouts(error))
    return Internal(
        f"something unforeseen went wrong here; it was logged as request {quoted(request_id)}. "
        "Read the session again before you repeat a change."
    )


def not_offered(name: str, known: Collection[str]) -> SessionsError:
    return Invalid(f"no tool {quoted(name)} is offered here. There are: {', '.join(known)}.")
