"""The cells of the contract suite: one run of a test for each backend and operation, made at collection.

Every backend and every layer runs the whole suite once: a backend in its newest version, a layer (`Wrapper`, `Many`,
the overlay) on the backend that has most operations. What combines them again (an older version, another database,
another reading of a documentation, a layer on several backends) names the modules in which it can differ. A fake and
the real system that it stands for need not run the same modules where other tests compare their answers.
"""

import os
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from importlib import import_module

import pytest
from mcp.shared.exceptions import MCPError

from mcp_sessions.backends.base import Capability
from mcp_sessions.errors import SessionsError

from . import agentos, agentos_fake, index, opencode, overlay, postgres, several
from .claude_code import ClaudeCodeHarness
from .codex import CODEX
from .custom import JsonFolderHarness
from .embedded import RequiredOnlyHarness, SqliteHarness, WrappedSqliteHarness
from .guayaba_fake import GuayabaDefault, GuayabaMaster, GuayabaMasterOther, GuayabaOther
from .harness import Harness

VARIABLE = "MCP_SESSIONS_CONTRACT"
HARNESSES: tuple[type[Harness], ...] = (
    SqliteHarness,
    WrappedSqliteHarness,
    *postgres.REAL,
    RequiredOnlyHarness,
    JsonFolderHarness,
    *agentos_fake.FAKES,
    *agentos.REAL,
    ClaudeCodeHarness,
    *CODEX,
    GuayabaDefault,
    GuayabaOther,
    GuayabaMaster,
    GuayabaMasterOther,
    opencode.FakeOpencodeHarness,
    opencode.OpencodeDatabaseHarness,
    *opencode.REAL,
    *several.SEVERAL,
    *overlay.OVERLAYS,
    *index.INDEXES,
)

MARKS = (
    "owes(*capabilities): is owed by every backend that declares all of these operations",
    "owes_each(*capabilities, given=()): the same for each of these that a backend with those given declares",
    "refuses: is owed for each operation that a backend does not declare",
)

# How a test that is known to fail may do so: by what it asserts, or by an answer that is another one. Inside of a
# client's `async with`, it comes in groups.
_DEVIATES = pytest.RaisesGroup(
    pytest.RaisesExc((AssertionError, pytest.fail.Exception, SessionsError, MCPError)),
    flatten_subgroups=True,
    allow_unwrapped=True,
)


@dataclass(frozen=True, slots=True)
class Cell:
    """One run of a test: on one backend and, if the mark says `owes_each`, for one operation (`capability`)."""

    harness: type[Harness]
    capability: Capability | None
    marks: Sequence[pytest.MarkDecorator]

    @property
    def values(self) -> tuple[object, ...]:
        return (self.harness,) if self.capability is None else (self.harness, self.capability)

    @property
    def id(self) -> str:
        return self.harness.name if self.capability is None else f"{self.harness.name}-{self.capability}"


def harnesses() -> tuple[type[Harness], ...]:
    """Return the harnesses that the environment variable names, or those of this package."""
    named = [name.strip() for name in os.environ.get(VARIABLE, "").split(",")]
    return tuple(_imported(name) for name in named if name) or HARNESSES


def _imported(name: str) -> type[Harness]:
    module, _, attribute = name.partition(":")
    found = getattr(import_module(module), attribute)
    if not (isinstance(found, type) and issubclass(found, Harness)):
        raise pytest.UsageError(f"{VARIABLE} must name subclasses of Harness; {name} is none")
    return found


def cells(test: object) -> list[Cell] | None:
    """Return the cells of a test, or None if the test has no mark of the suite."""
    all_marks: Sequence[pytest.Mark] = getattr(test, "pytestmark", ())
    marks = [mark for mark in all_marks if mark.name in {"owes", "owes_each", "refuses"}]
    if not marks or not callable(test):
        return None
    (mark,) = marks
    return [
        Cell(harness, capability, [*_deviation(test, harness, capability), *_variant(harness)])
        for harness in harnesses()
        if not harness.modules or test.__module__.rpartition(".")[2] in harness.modules
        for capability in _owed(mark, harness)
    ]


def _variant(harness: type[Harness]) -> list[pytest.MarkDecorator]:
    return [pytest.mark.variants] if harness.is_variant else []


def _owed(mark: pytest.Mark, harness: type[Harness]) -> list[Capability | None]:
    declared, differing = harness.capabilities, harness.operations or set(Capability)
    if mark.name == "owes":
        return [None] if declared >= set(mark.args) and (differing & set(mark.args) or not mark.args) else []
    if not declared >= set(mark.kwargs.get("given", ())):
        return []
    asked = set(Capability) - declared if mark.name == "refuses" else declared & set(mark.args)
    return [capability for capability in Capability if capability in asked & differing]


def _deviation(
    test: Callable[..., object], harness: type[Harness], capability: Capability | None
) -> list[pytest.MarkDecorator]:
    return _marks(harness.deviations.get(f"{test.__name__}[{capability}]") or harness.deviations.get(test.__name__))


def is_known_deviation(item: pytest.Item, failure: BaseException) -> bool:
    """Return whether this failure is one that the harness expects of the test."""
    is_expected = item.get_closest_marker("xfail") is not None and not item.config.option.runxfail
    return is_expected and _DEVIATES.matches(failure)


def deviation_of_a_run(item: pytest.Item) -> list[pytest.MarkDecorator]:
    """Return the mark for a run whose deviation names one of its parameters, which a cell does not know."""
    run = item.callspec if isinstance(item, pytest.Function) and hasattr(item, "callspec") else None
    harness = run.params.get("system") if run else None
    if run is None or not (isinstance(harness, type) and issubclass(harness, Harness)) or "capability" in run.params:
        return []
    name = item.name.partition("[")[0]
    reasons = [harness.deviations.get(f"{name}[{part}]") for part in run.id.split("-")]
    return _marks(next(filter(None, reasons), None))


def _marks(reason: str | None) -> list[pytest.MarkDecorator]:
    # Strict: once the test passes, the entry is stale and fails the run.
    return [pytest.mark.xfail(strict=True, reason=reason, raises=_DEVIATES)] if reason else []
