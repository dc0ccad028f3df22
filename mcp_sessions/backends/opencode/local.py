"""The backend that reads opencode's own database on this machine."""

from pathlib import Path

from ..base import REQUIRED, Capability
from ..health import Check, Report
from ..options import BackendOptions
from .database import Database
from .reading import ReadingBackend
from .source import Source


class LocalOpencodeBackend(ReadingBackend):
    """Sessions in opencode's database, which is only read. No program has to run."""

    title = "opencode's database"
    capabilities = REQUIRED | {Capability.GET_SESSION_RUNS, Capability.SEARCH_SESSIONS}

    def __init__(self, path: Path, options: BackendOptions) -> None:
        self.options = options
        self._database = Database(path, timeout=options.timeout)

    async def examine(self, report: Report) -> None:
        await self.check_reachable()
        report(Check("backend", f"{self._database.path} can be read"))

    @property
    def _source(self) -> Source:
        return self._database
