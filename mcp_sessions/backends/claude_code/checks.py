"""Health checks of Claude Code's folder."""

from collections import Counter

from ..health import CheckResult, Report
from .catalogue import Catalogue
from .retention import Retention
from .running_processes import live_sessions


def examine(catalogue: Catalogue, report: Report) -> None:
    """Pass each check to `report`. Raise `Unavailable` if the folder can't be read."""
    catalogue.folder.check()
    report(CheckResult("folder", str(catalogue.folder.root)))
    entries = list(catalogue.newest_first(is_kept=False))
    live = live_sessions(catalogue.folder.root)
    report(CheckResult("sessions", f"{len(entries):,}, of which {len(live):,} are open in a running Claude Code"))
    versions = Counter(entry.facts.version for entry in entries if entry.facts.version)
    if versions:
        shown = ", ".join(f"{version} ({count:,})" for version, count in versions.most_common(5))
        report(CheckResult("versions", f"written by Claude Code {shown}"))
    kept = catalogue.of_copies().files()
    report(_retention(catalogue, [entry.file.mtime for entry in entries if entry.file.id not in kept]))
    if kept:
        removed = len(kept.keys() - {entry.file.id for entry in entries})
        report(CheckResult("copies", f"kept of {len(kept):,} sessions, of which Claude Code has removed {removed:,}"))
    if catalogue.unreadable:
        text = f"{catalogue.unreadable:,} can't be read, and are left out. Check their permissions"
        report(CheckResult("files", text, "warning"))


def _retention(catalogue: Catalogue, mtimes: list[int]) -> CheckResult:
    retention = Retention.of(catalogue.folder.root)
    if retention.days is None:
        text = (
            "cleanupPeriodDays can't be read from Claude Code's settings, so it isn't known when sessions are removed. "
            "Check the settings"
        )
        return CheckResult("retention", text, "warning")
    period = f"Claude Code removes sessions after {retention.days:g} days without a change"
    soon = sum(retention.expires_at(mtime) is not None for mtime in mtimes)
    if not soon:
        return CheckResult("retention", period)
    text = (
        f"{period}, and {soon:,} within the next 7 days. "
        "To keep them, archive them, use claude-code:?keep=all, or raise cleanupPeriodDays in its settings"
    )
    return CheckResult("retention", text, "warning")
