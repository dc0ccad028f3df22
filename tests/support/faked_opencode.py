"""What the tests on the fake opencode share: our backend on it, and sessions for it."""

from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from tempfile import TemporaryDirectory
from typing import Any

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import NewMessage

from ..contract.harness import Seed
from .fakes.opencode import FakeOpencode, seeded


@asynccontextmanager
async def backend_on(
    fake: FakeOpencode, *, query: str = "", folder: str = "", **options: Any
) -> AsyncGenerator[SessionBackend]:
    """Yield an open backend on the fake, with a folder of its own for locks unless one is given."""
    with TemporaryDirectory() as new_folder:
        url = f"opencode+{fake.origin}{query}"
        async with open_backend(url, data_folder=folder or new_folder, **options) as backend:
            yield backend


@asynccontextmanager
async def faked(
    *seeds: Seed, version: str = "1.18.33", folder: str = ""
) -> AsyncGenerator[tuple[FakeOpencode, SessionBackend, Sequence[str]]]:
    """Yield a fake with these sessions, a backend on it, and the sessions' ids."""
    async with FakeOpencode(version=version) as fake, backend_on(fake, folder=folder) as backend:
        yield fake, backend, fake.add(*map(seeded, seeds))


def said(*texts: str) -> Sequence[Sequence[NewMessage]]:
    """Return one run for each text, with only that message of the user."""
    return [[NewMessage(role="user", text=text)] for text in texts]
