"""Harnesses for overlays: on the fake Guayaba, on a backend that can only be read, and as one of several backends."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import ClassVar

from mcp_sessions.backends.base import Capability, SessionBackend
from mcp_sessions.backends.layers.overlay import Overlay, OverlayStore
from mcp_sessions.backends.layers.read_only_backend import READ_OPERATIONS, ReadOnlyBackend
from mcp_sessions.caller import Caller

from ..support.servers.postgres_process import is_installed, running
from .custom import JsonFolderHarness
from .embedded import SqliteHarness
from .guayaba_fake import GuayabaMaster
from .harness import Harness, Seed
from .opencode import NO_SUMMARY, FakeOpencodeHarness
from .several import ManyHarness, Opened


class OverlayHarness(Harness):
    """An overlay in a new file, on the backend of another harness.

    What a seed has and the system can't store is written through the overlay.
    """

    of: ClassVar[type[Harness]]
    written: ClassVar[frozenset[str]]
    """The fields of a seed that are written through the overlay."""

    def __init__(self) -> None:
        self._harness = self.of()
        self._inner = SessionBackend()

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder:
            store = OverlayStore.from_url(self.url(Path(folder)))
            async with self._harness.open() as inner:
                self._inner = self.wrap(inner)
                async with Overlay(Opened(self._inner), store, source="tests") as backend:
                    yield backend

    def url(self, folder: Path) -> str:
        """Return the URL of an overlay that does not exist yet."""
        return f"sqlite:///{folder / 'overlay.db'}"

    def wrap(self, inner: SessionBackend) -> SessionBackend:
        """Return the backend that gets the overlay."""
        return inner

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        native = [replace(seed, archived=False) if "archived" in self.written else seed for seed in seeds]
        ids = await self._harness.seed(self._inner, native)
        for session_id, seed in zip(ids, seeds, strict=True):
            user = "" if backend.why_no_user_scoping() else seed.user_id
            theirs = backend.for_caller(Caller(user_id=user))
            if "state" in self.written and seed.state:
                await theirs.update_session_state(session_id, seed.state, mode="replace")
            if "metadata" in self.written and seed.metadata:
                await theirs.update_session(session_id, metadata=seed.metadata)
            if "archived" in self.written and seed.archived:
                await theirs.archive_session(session_id)
        return ids


class OverlayOnGuayaba(OverlayHarness):
    """State, metadata and summary are kept by the overlay, the rest by Guayaba."""

    name = "overlay-guayaba"
    modules = frozenset(
        {
            "test_suite",
            "test_state",
            "test_get",
            "test_unusual_ids",
            "test_changes",
            "test_bulk",
            "test_feeds",
            "test_scoping",
            "test_other_users",
        }
    )
    of = GuayabaMaster
    written = frozenset({"state", "metadata"})
    capabilities = GuayabaMaster.capabilities | {Capability.UPDATE_SESSION_STATE, Capability.UPDATE_SESSION}
    absent_id = GuayabaMaster.absent_id
    deviations: ClassVar = GuayabaMaster.deviations


class OverlayOnOpencode(OverlayHarness):
    """State and summary are kept by the overlay, metadata and the rest by opencode."""

    name = "overlay-opencode"
    modules = frozenset({"test_suite", "test_state"})
    of = FakeOpencodeHarness
    written = frozenset({"state"})
    capabilities = FakeOpencodeHarness.capabilities | {Capability.UPDATE_SESSION_STATE}
    absent_id = FakeOpencodeHarness.absent_id
    deviations: ClassVar = {
        test: reason for test, reason in FakeOpencodeHarness.deviations.items() if reason != NO_SUMMARY
    }


class OverlayOnReadOnly(OverlayHarness):
    """A folder that is only read. Its files have a state and metadata, which no call can change."""

    name = "overlay-custom-read-only"
    is_variant = True
    of = JsonFolderHarness
    written = frozenset({"archived"})
    capabilities = (JsonFolderHarness.capabilities & READ_OPERATIONS) | {
        Capability.ARCHIVE_SESSION,
        Capability.RESTORE_SESSION,
        Capability.APPLY_TO_SESSIONS,
        Capability.UPDATE_SESSION_STATE,
        Capability.UPDATE_SESSION,
    }

    deviations: ClassVar = {
        "test_a_session_can_be_restored_with_a_new_name": "a folder that is only read can't rename a session"
    }

    def wrap(self, inner: SessionBackend) -> SessionBackend:
        return ReadOnlyBackend(inner)


class OverlayInPostgres(OverlayOnReadOnly):
    """The same in a PostgreSQL database."""

    name = "overlay-postgresql"
    modules = frozenset({"test_state", "test_changes", "test_list", "test_paging", "test_other_users"})

    def url(self, folder: Path) -> str:
        server = running()
        server.sql("DROP SCHEMA IF EXISTS mcp_sessions_overlay CASCADE")
        return server.url()


class ManyWithOverlay(ManyHarness):
    """An overlay and a store as one, in the modules on what the overlay adds."""

    name = "many-overlay-sqlite"
    is_variant = True
    modules = frozenset({"test_state", "test_bulk"})
    of: ClassVar = {"guayaba": OverlayOnGuayaba, "": SqliteHarness}
    capabilities = frozenset(Capability)


OVERLAYS: tuple[type[Harness], ...] = (
    OverlayOnGuayaba,
    OverlayOnOpencode,
    OverlayOnReadOnly,
    *((OverlayInPostgres,) if is_installed() else ()),
    ManyWithOverlay,
)
