"""The call of a tool: from its arguments to its result or error."""

import inspect
import logging
from collections.abc import Collection
from functools import cache
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
    excerpt,
    quoted,
    traceback_without_message,
)
from ..json_documents import JsonObject, is_array
from ..models import (
    BulkResult,
    MessagePage,
    Model,
    SessionDetail,
)
from ..output.fit_pages import fit
from ..output.render import leave_out_repeated, payload_of, render
from .argument_errors import explain_validation_error, read_arguments
from .audit_log import AuditEntry
from .confirmation import UNREADABLE_ANSWER
from .context import CURRENT, Request, caller_backend, current_session, find_current, resolve_id
from .input_schema import input_schema, with_choices
from .list_changes import announce_list_change
from .tool_spec import SCOPES, ToolSpec

logger = logging.getLogger(__name__)


class SessionTool(Tool):
    """A tool of ours. It returns every failure as an error result that begins with the error's code."""

    _spec: ToolSpec = PrivateAttr()

    @classmethod
    @cache  # the SDK takes milliseconds to build each schema
    def from_spec(cls, spec: ToolSpec, create_targets: tuple[str, ...] = ()) -> "SessionTool":
        """Return the tool. `create_targets`: the names of the backends to choose from for a new session."""
        tool = cls.from_function(
            spec.function,
            title=spec.title,
            description=inspect.getdoc(spec.function),
            annotations=spec.annotations,
            structured_output=False,
        )
        assert isinstance(tool, SessionTool)  # the SDK declares that it returns a `Tool`
        tool.parameters = with_choices(input_schema(tool.parameters), "backend", create_targets)
        # There are no output schemas: those of all tools would cost a model 3,000 characters before its first call,
        # and a Python client 9 ms per call. Results explain themselves.
        tool._spec = spec
        return tool

    @property
    def scope(self) -> Scope:
        return SCOPES[self._spec.effect]

    @property
    def is_read_only(self) -> bool:
        return self._spec.effect == "read"

    @property
    def changes_list(self) -> bool:
        return self._spec.changes_list

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        spec, request = self._spec, context.request_context  # once each: an attribute of a model is slow
        app = request.lifespan_context
        audit = None if spec.effect == "read" else app.audit
        started_at = monotonic()
        result: Model | InputRequiredResult | None = None
        code = OutcomeUnknown.code  # stays if the call is cancelled
        try:
            if audit is not None:
                audit.require_writable()
            app.admit(SCOPES[spec.effect])
            # Some clients send a list as a string.
            arguments = read_arguments(self.fn_metadata.pre_parse_json(arguments), self.parameters)
            if _names_current(arguments):
                await find_current(request)
            result = await self._call_function(_resolve(arguments, request), context)
            answer = result if isinstance(result, InputRequiredResult) else _to_result(result, arguments, request)
            code = ""
        except SessionsError as error:
            code, answer = error.code, error_result(error)
        except Exception as error:
            code, answer = Internal.code, error_result(_internal_error(error, self.name, str(request.request_id)))
        finally:
            if audit is not None and not isinstance(result, InputRequiredResult):  # that result only asks the user
                target, seconds = _target(arguments, request), monotonic() - started_at
                request_id = str(request.request_id)
                entry = AuditEntry(app.subject, self.name, arguments, target, request_id, seconds, result, code)
                audit.write(entry)
        if spec.changes_list and not code and _has_changed(result):
            await announce_list_change(context)
        return answer

    async def _call_function(
        self, arguments: dict[str, Any], context: Context[Any, Any]
    ) -> Model | InputRequiredResult:
        """Return the result of the tool's function. Raise a `SessionsError` for an expected failure."""
        if all(resolver.fn is caller_backend for resolver, _ in self.resolved_params.values()):
            return await self._call_without_resolver(arguments, context)
        try:
            return await super().run(arguments, context)
        except ToolError as error:
            raise self._expected_error(error) or error.__cause__ or error from error

    async def _call_without_resolver(self, arguments: dict[str, Any], context: Context[Any, Any]) -> Model:
        """Call a function that needs nothing but the backend. The SDK's resolver takes a quarter of a call's time."""
        try:
            values = self.fn_metadata.validate_arguments(arguments)
        except ValidationError as error:
            raise explain_validation_error(error, self.parameters) from error
        given: dict[str, Any] = {name: await caller_backend(context) for name in self.resolved_params}
        if self.context_kwarg is not None:
            given[self.context_kwarg] = context
        return await self.fn_metadata.call_fn(self.fn, self.is_async, values, given)

    def _expected_error(self, error: ToolError) -> SessionsError | None:
        match error.__cause__:
            case SessionsError() as cause:
                return cause
            case ValidationError() as cause if not isinstance(error, UnexpectedToolError):
                return explain_validation_error(cause, self.parameters)
            case _ if not isinstance(error, UnexpectedToolError):
                # The SDK raises this if the client's answer to the confirmation question is malformed.
                return ConfirmationRequired(UNREADABLE_ANSWER)
            case _:
                return None


def _resolve(arguments: JsonObject, request: Request) -> JsonObject:
    """Return the arguments with canonical session ids, also for `"current"`, and the cursor decrypted."""
    resolved = dict(arguments)
    if isinstance(resolved.get("cursor"), str):
        resolved["cursor"] = request.lifespan_context.decrypt_cursor(resolved["cursor"])
    if isinstance(resolved.get("session_id"), str):
        resolved["session_id"] = resolve_id(resolved["session_id"], request)
    if is_array(resolved.get("session_ids")):
        ids = resolved["session_ids"]
        resolved["session_ids"] = [resolve_id(id, request) if isinstance(id, str) else id for id in ids]
    return resolved


def _has_changed(result: Model | InputRequiredResult | None) -> bool:
    """Return whether a call changed something, rather than asked the user or did a dry run."""
    return isinstance(result, Model) and not (isinstance(result, BulkResult) and not result.succeeded)


def _to_result(result: Model, arguments: JsonObject, request: Request) -> CallToolResult:
    """Return the model as a tool result for this caller, cut to the character budget."""
    app = request.lifespan_context
    payload = payload_of(result, app.operator.sanitize)
    if isinstance(result, SessionDetail) and arguments.get("state_path"):
        payload["state"] = result.state  # `payload_of` leaves out an empty one, but the caller asked for it
    current = current_session(request)
    if current is not None:
        if _names_current(arguments):
            payload["resolved_from"] = current.resolved_from
        _mark_current(payload, current.id)
    fit(result, payload, app.max_chars, app.encrypt_cursor)
    if isinstance(result, MessagePage):
        leave_out_repeated(payload.get("messages", ()))
    return render(payload)


def _names_current(arguments: JsonObject) -> bool:
    named = arguments.get("session_ids")
    return CURRENT in (arguments.get("session_id"), *(named if is_array(named) else ()))


def _mark_current(payload: JsonObject, session_id: str) -> None:
    for session in payload.get("sessions", (payload,)):
        if session.get("id") == session_id:
            session["is_current"] = True


def _target(arguments: JsonObject, request: Request) -> str:
    """Return the canonical id of the session that a call names; `"current"` if there is no current session."""
    session_id = arguments.get("session_id")
    if not isinstance(session_id, str):
        return ""
    try:
        return resolve_id(session_id, request)
    except Invalid:
        return session_id


def error_result(error: SessionsError) -> CallToolResult:
    return CallToolResult(content=[TextContent(type="text", text=error.text)], is_error=True)


def _internal_error(error: BaseException, tool: str, request_id: str) -> SessionsError:
    """Log an unexpected error, and return the error that the caller receives."""
    logger.error("Request %s: %s failed: %s", excerpt(request_id), tool, traceback_without_message(error))
    return Internal(
        f"the server failed unexpectedly; the error was logged as request {quoted(request_id)}. "
        "Read the session again before you repeat a change."
    )


def unknown_tool_error(name: str, known: Collection[str]) -> SessionsError:
    return Invalid(f"there is no tool {quoted(name)}. Available tools: {', '.join(known)}.")
