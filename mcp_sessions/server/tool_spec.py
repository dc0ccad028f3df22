"""Declares functions as tools, with their toolset, the capability that they require and their effect."""

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
"""Operations that change only the update time of a session in the list of sessions."""

SCOPES: Mapping[Effect, Scope] = {"read": Scope.READ, "write": Scope.WRITE, "destroy": Scope.DELETE}


@dataclass(frozen=True)
class ToolSpec:
    """The declaration of a tool. Its annotations, its scope and whether it is read-only follow from `effect`."""

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
        """Whether a call may add, remove or rename a session in the list."""
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
    """A named group of tools. Functions are added with a decorator, like routes to a router."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.specs: list[ToolSpec] = []

    def tool(self, title: str, *, requires: Capability, effect: Effect, idempotent: bool = True) -> Callable[[F], F]:
        """Return a decorator that adds a function to this group and leaves the function unchanged."""

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
    """Return whether the backend supports the tool, its toolset is enabled, and its effect is allowed."""
    return (
        spec.requires in capabilities
        and toolset in toolsets
        and (spec.effect == "read" or not read_only)
        and SCOPES[spec.effect] in scopes
    )
