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
from mcp.server.mcpserver.utilities.func_metadata import FuncMetadata
from mcp.shared.exceptions import MCPError
from mcp.types import CallToolResult, InputRequiredResult, TextContent, ToolAnnotations
from pydantic import PrivateAttr, ValidationError

from . import arguments as argument_errors
from .audit import Done
from .backends.base import Capability
from .caller import Scope
from .context import CURRENT, AppRequest, app_of, current_session
from .errors import ConfirmationRequired, Internal, Invalid, SessionsError, printable, quoted, whereabouts
from .models import JsonObject, Model
from .render import rendered
from .schema import input_schema, output_schema

logger = logging.getLogger(__name__)

Effect = Literal["read", "write", "destroy"]
ToolFunction = Callable[..., Awaitable[Model]]
F = TypeVar("F", bound=ToolFunction)

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
        result: type[Model] = inspect.signature(spec.function).return_annotation
        # Advertised, not validated against: what is sent is that model's own dump, cut to the budget.
        tool.fn_metadata = FuncMetadata(arg_model=tool.fn_metadata.arg_model, output_schema=output_schema(result))
        tool._spec = spec
        return tool

    @property
    def scope(self) -> Scope:
        return SCOPES[self._spec.effect]

    @property
    def reads(self) -> bool:
        return self._spec.effect == "read"

    async def run(
        self, arguments: dict[str, Any], context: Context[Any, Any], convert_result: bool = False
    ) -> CallToolResult | InputRequiredResult:
        app = app_of(context)
        if app.audit is None or self.reads:
            return await self._outcome(arguments, context)
        done = Done(self.name, arguments, _target(arguments, context), context.request_id)
        began = monotonic()
        try:
            result = await self._outcome(arguments, context)
        except BaseException:
            app.audit.change(app.subject, done, None, monotonic() - began)
            raise
        if not isinstance(result, InputRequiredResult):  # which asks the user first
            app.audit.change(app.subject, done, result, monotonic() - began)
        return result

    async def _outcome(
        self, arguments: dict[str, Any], context: Context[Any, Any]
    ) -> CallToolResult | InputRequiredResult:
        try:
            app = app_of(context)
            app.admit(self.scope)
            argument_errors.check_names(arguments, self.parameters)
            # Many clients send null for what they leave out.
            arguments = {name: value for name, value in arguments.items() if value is not None}
            if isinstance(arguments.get("cursor"), str):
                arguments["cursor"] = app.opened(arguments["cursor"])
            result = await super().run(arguments, context)
            return result if isinstance(result, InputRequiredResult) else rendered(result, arguments, context)
        except SessionsError as error:
            return failed(error)
        except MCPError:
            # Only asking the user sends the client anything, and this is its refusal.
            return failed(
                ConfirmationRequired("the client could not ask the user; nothing was changed. Set --confirm code.")
            )
        except ToolError as error:
            return failed(self._foreseen(error) or _unforeseen(error.__cause__ or error, self.name, context.request_id))
        except Exception as error:
            return failed(_unforeseen(error, self.name, context.request_id))

    def _foreseen(self, error: ToolError) -> SessionsError | None:
        match error.__cause__:
            case SessionsError() as cause:
                return cause
            case ValidationError() as cause if not isinstance(error, UnexpectedToolError):
                return argument_errors.explained(cause, self.parameters)
            case _ if not isinstance(error, UnexpectedToolError):
                # Only the confirming resolver's own failures are left: an answer that fits no form.
                return ConfirmationRequired("the user's answer could not be read; nothing was changed. Call again.")
            case _:
                return None


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
