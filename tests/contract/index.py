"""Harnesses for indexes on backends that can't search all of their sessions."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.layers.index import Indexed, IndexStore

from .agentos_fake import FakeAgentOs3
from .claude_code import ClaudeCodeHarness
from .codex import CodexHarness, LegacyCodexHarness
from .custom import JsonFolderHarness
from .guayaba_fake import GuayabaMaster
from .harness import Harness, Seed
from .several import Opened


class IndexHarness(Harness):
    """A new index on the backend of another harness, in the modules on what the index adds."""

    modules = frozenset({"test_search", "test_paging", "test_cursors", "test_scoping"})
    of: ClassVar[type[Harness]]

    def __init__(self) -> None:
        self._harness = self.of()
        self._inner = SessionBackend()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder:
            store = IndexStore(Path(folder) / "index.db")
            async with self._harness.open() as inner:
                self._inner = inner
                async with Indexed(Opened(inner), store, source="tests") as backend:
                    yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return await self._harness.seed(self._inner, seeds)


class IndexOnCustom(IndexHarness):
    """An index on a backend without a search."""

    name = "index-custom"
    of = JsonFolderHarness
    capabilities = JsonFolderHarness.capabilities | {Capability.SEARCH_SESSIONS}
    deviations: ClassVar = JsonFolderHarness.deviations


class IndexOnGuayaba(IndexHarness):
    name = "index-guayaba"
    is_variant = True
    of = GuayabaMaster
    capabilities = GuayabaMaster.capabilities
    absent_id = GuayabaMaster.absent_id
    deviations: ClassVar = GuayabaMaster.deviations


class IndexOnAgentOs(IndexHarness):
    name = "index-agentos"
    is_variant = True
    of = FakeAgentOs3
    capabilities = FakeAgentOs3.capabilities
    absent_id = FakeAgentOs3.absent_id
    deviations: ClassVar = FakeAgentOs3.deviations


class IndexOnClaudeCode(IndexHarness):
    """An index on files."""

    name = "index-claude-code"
    of = ClaudeCodeHarness
    capabilities = ClaudeCodeHarness.capabilities
    absent_id = ClaudeCodeHarness.absent_id
    deviations: ClassVar = ClaudeCodeHarness.deviations


class IndexOnCodex(IndexHarness):
    name = "index-codex"
    is_variant = True
    of = CodexHarness
    capabilities = CodexHarness.capabilities
    absent_id = CodexHarness.absent_id
    deviations: ClassVar = CodexHarness.deviations


class IndexOnLegacyCodex(IndexHarness):
    name = "index-codex-legacy"
    is_variant = True
    of = LegacyCodexHarness
    capabilities = LegacyCodexHarness.capabilities
    absent_id = LegacyCodexHarness.absent_id
    deviations: ClassVar = LegacyCodexHarness.deviations


INDEXES: tuple[type[Harness], ...] = (
    IndexOnCustom,
    IndexOnClaudeCode,
    IndexOnGuayaba,
    IndexOnAgentOs,
    IndexOnCodex,
    IndexOnLegacyCodex,
)
