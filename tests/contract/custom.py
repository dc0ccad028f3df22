"""The harness for the backend in examples/custom_backend.py, which is outside the package."""

import json
import os
from collections.abc import AsyncGenerator, Sequence
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from pathlib import Path
from tempfile import TemporaryDirectory

from examples.custom_backend import JsonFolder
from mcp_sessions.backends.base import SessionBackend

from .harness import Harness, Seed


class JsonFolderHarness(Harness):
    """A new folder for each test."""

    name = "custom"
    capabilities = JsonFolder.capabilities

    def __init__(self) -> None:
        self._folder = Path()
        self._seeded = 0

    @asynccontextmanager
    async def open(self) -> AsyncGenerator[SessionBackend]:
        with TemporaryDirectory() as folder:
            self._folder = Path(folder)
            async with JsonFolder(self._folder) as backend:
                yield backend

    async def seed(self, backend: SessionBackend, seeds: Sequence[Seed]) -> list[str]:
        return [self._write(seed) for seed in seeds]

    def _write(self, seed: Seed) -> str:
        moment = seed.moment or datetime.now(UTC)
        kept = {name: getattr(seed, name) for name in ("user_id", "name", "type", "agent_id", "state", "metadata")}
        kept["project"] = seed.project
        kept["created_at"] = moment.isoformat()
        kept["archived_at"] = moment.isoformat() if seed.archived else None
        kept["messages"] = [message.model_dump() for run in seed.runs for message in run]
        self._seeded += 1
        file = self._folder / f"s{self._seeded}.json"
        file.write_text(json.dumps(kept), encoding="utf-8")
        os.utime(file, (moment.timestamp(), moment.timestamp()))
        return file.stem
