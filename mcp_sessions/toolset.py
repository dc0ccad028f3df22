"""How a function becomes a tool: what it needs, who is offered it, and the one seam through which its results go."""

import inspect
import logging
from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from time import monotonic
from typing import Any, Literal, TypeVar

from mcp.server.mcpserver import Context
from mcp.server.mcpserver.exceptions import ToolError, UnexpectedToolError
from mcp.server.mcpserver.tools import Tool
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import PrivateAttr, ValidationError

from .arguments import explained, read_arguments
from .audit import Done
from .backends.base import Capability
from .caller import Scope
from .confirmation import UNREADABLE_ANSWER
from .context import CURRENT, AppRequest, app_of, current_session, resolve_id
from .errors import (
    ConfirmationRequired,
    Internal,
    Invalid,
    OutcomeUnknown,
    SessionsError,
    printable,
    quoted,
    whereabouts,
)
from .list_changes import announce_list_change
from .models import BulkResult, JsonObject, Model, is_array
from .render import rendered
from .schema import input_schema

logger = logging.getLogger(__name__)

Effect = Literal["read", "write", "destroy"]
ToolFunction = Callable[..., Awaitable[Model]]
F = TypeVar("F", bound=ToolFunction)

_CHANGES_INSIDE_A_SESSION = frozenset(
    {Capability.UPDATE_SESSION_STATE, Capability.UPDATE_SESSION, Capability.APPEND_MESSAGES}
)
"""What changes no more of the list of sessions than the time of an update."""

SCOPES: Mapping[Effect, Scope] = {"read": Scope.READ, "write": Scope.WRITE, "destroy": Scope.DELETE}


@dataclass(frozen=True)
class ToolSpec:
    """A tool before it belongs to a server. Read-only, annotations, scope and confirmation follow from `effect`."""

    function: ToolFunction
    title: str
    requires: Capability
    effect: Effect
    idempotent: bool

    @property
    def name(self) -> str:
        return self.function.__name__

    @property
    def changes_list(self) -> bool:
        """Whether a call may add a session to the list, remove one or rename one."""
        return self.effect != "read" and self.requires not in _CHANGES_INSIDE_A_SESSION

    @property
    def annotations(self) -> ToolAnnotations:
        return ToolAnnotations(
            read_only_hint=self.effect == "read",
            destructive_hint=self.effect == "destroy",
            idempotent_hint=self.idempotent,
            open_world_hint=False,
        )


class Toolset:
    """A named group of tools, declared like the routes of a router."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.specs: list[ToolSpec] = []

    def tool(self, title: str, *, requires: Capability, effect: Effect, idempotent: bool = True) -> Callable[[F], F]:
        """Declare a function as a tool of this group; the function itself stays as it is."""

        def declare(function: F) -> F:
            self.specs.append(ToolSpec(function, title, requires, effect, idempotent))
            return function

        return declare


def is_offered(
    spec: ToolSpec,
    toolset: str,
    *,
    capabilities: Collection[Capability],
    toolsets: Collection[str],
    read_only: bool,
    scopes: Collection[Scope],
) -> bool:
    """Whether a tool is offered: the backend has the operation, the group is asked for, the effect is allowed."""
    return (
        spec.requires in capabilities
        and toolset in toolsets
        and (spec.effect == "read" or not read_only)
        and SCOPES[spec.effect] in scopes
    )


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
            answer = result if isinstance(result, InputRequiredResult) else rendered(result, arguments, context)
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
