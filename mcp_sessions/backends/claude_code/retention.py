"""When Claude Code will remove a transcript: some days after the last change of its file.

A project's own settings are not read, since it isn't known in which project Claude Code will be started next.
"""

import sys
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ..transcripts.lines import parse

_DEFAULT_DAYS = 30
_SOON = timedelta(days=7)
_LEAST_TIME = timedelta(days=1)
_MANAGED = {
    "darwin": "/Library/Application Support/ClaudeCode/managed-settings.json",
    "win32": "C:/Program Files/ClaudeCode/managed-settings.json",
}
_MOST_BYTES = 4 * 1024 * 1024


@dataclass(frozen=True, slots=True)
class Retention:
    """How many days Claude Code keeps a transcript, None if that is not known."""

    days: float | None

    @classmethod
    def of(cls, root: Path) -> "Retention":
        """Return what the settings say. The administrator's settings take precedence."""
        managed = Path(_MANAGED.get(sys.platform, "/etc/claude-code/managed-settings.json"))
        for path in (managed, root / "settings.json"):
            try:
                with path.open("rb") as file:
                    settings = parse(file.read(_MOST_BYTES))
            except FileNotFoundError:
                continue
            except OSError:
                return cls(None)
            if settings is None:
                return cls(None)
            if "cleanupPeriodDays" in settings:
                days = settings["cleanupPeriodDays"]
                return cls(days if isinstance(days, int | float) and 0 <= days < 36_500 else None)
        return cls(_DEFAULT_DAYS)

    def expires_at(self, mtime: int) -> datetime | None:
        """Return when a file that was changed last at `mtime` (nanoseconds) will be removed, if that is soon."""
        if self.days is None:
            return None
        expires = datetime.fromtimestamp(mtime // 10**9, UTC) + timedelta(days=self.days)
        return expires if expires - datetime.now(UTC) <= _SOON else None

    def is_due(self, mtime: int) -> bool:
        """Return whether a file that was changed last at `mtime` will be removed within a day."""
        expires = self.expires_at(mtime)
        return expires is not None and expires <= datetime.now(UTC) + _LEAST_TIME
