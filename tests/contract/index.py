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

ADDED = frozenset({Capability.SEARCH_SESSIONS})


class IndexHarness(Harness):
    """A new index on the backend of another harness, in the modules on what the index adds."""

    modules = frozenset({"test_search", "test_paging", "test_cursors", "test_scoping"})
    of: ClassVar[type[Harness]]

    def __init_subclass__(cls) -> None:
        cls.capabilities = cls.of.capabilities | ADDED
        cls.absent_id = cls.of.absent_id
        cls.deviations = cls.of.deviations

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


class IndexOnGuayaba(IndexHarness):
    name = "index-guayaba"
    is_variant = True
    operations = ADDED
    of = GuayabaMaster


class IndexOnAgentOs(IndexHarness):
    name = "index-agentos"
    is_variant = True
    operations = ADDED
    of = FakeAgentOs3


class IndexOnClaudeCode(IndexHarness):
    """An index on files."""

    name = "index-claude-code"
    of = ClaudeCodeHarness


class IndexOnCodex(IndexHarness):
    name = "index-codex"
    is_variant = True
    operations = ADDED
    of = CodexHarness


class IndexOnLegacyCodex(IndexHarness):
    name = "index-codex-legacy"
    is_variant = True
    operations = ADDED
    of = LegacyCodexHarness


INDEXES: tuple[type[Harness], ...] = (
    IndexOnCustom,
    IndexOnClaudeCode,
    IndexOnGuayaba,
    IndexOnAgentOs,
    IndexOnCodex,
    IndexOnLegacyCodex,
)
