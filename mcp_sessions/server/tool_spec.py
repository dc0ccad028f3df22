"""How a function is declared as a tool: its toolset, the capability it needs and its effect."""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Literal, TypeVar

from mcp.types import ToolAnnotations

from ..backends.base import Capability
from ..caller import Scope
from ..models import Model

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
