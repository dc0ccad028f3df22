"""Health checks of Codex's home."""

from collections import Counter
from collections.abc import Sequence
from subprocess import DEVNULL

import anyio

from ...errors import excerpt
from ..health import CheckResult, Report
from .app_server import program_environment
from .catalogue import Catalogue, CatalogueEntry
from .open_threads import is_open

_PATIENCE = 10.0
"""How many seconds a program may take to print its version."""


def examine(catalogue: Catalogue, report: Report) -> None:
    """Pass each check to `report`. Raise `Unavailable` if the home can't be read."""
    catalogue.home.check()
    root = catalogue.home.root
    report(CheckResult("folder", str(root)))
    entries = list(catalogue.ordered("updated_desc"))
    metas = [meta for entry in entries if (meta := catalogue.facts(entry).meta) is not None]
    archived = sum(entry.file.is_archived for entry in entries)
    modes = ", ".join(f"{count:,} {mode}" for mode, count in Counter(meta.mode for meta in metas).most_common(3))
    live = sum(is_open(root, entry.id) for entry in entries)
    kinds = f" ({modes})" if modes else ""
    text = f"{len(entries):,}{kinds}, of which {archived:,} are archived and {live:,} are open in a running Codex"
    report(CheckResult("sessions", text))
    versions = Counter(meta.version for meta in metas if meta.version)
    if versions:
        shown = ", ".join(f"{version} ({count:,})" for version, count in versions.most_common(5))
        report(CheckResult("versions", f"written by Codex {shown}"))
    report(_database(catalogue, entries))
    if catalogue.unreadable:
        text = f"{catalogue.unreadable:,} can't be read, and are left out. Check their permissions"
        report(CheckResult("files", text, "warning"))


def _database(catalogue: Catalogue, entries: Sequence[CatalogueEntry]) -> CheckResult:
    if catalogue.notes:
        return CheckResult(
            "database", f"{' '.join(catalogue.notes).removesuffix('.')}. Restore it from a backup", "warning"
        )
    root = str(catalogue.home.root)
    paths = [entry.row.path for entry in entries if entry.row is not None]
    moved = sum(not path.removeprefix("\\\\?\\").startswith(root) for path in paths)
    if moved:
        text = (
            f"{moved:,} sessions are recorded at another place, so Codex won't list them: the folder was moved or "
            "copied. They are shown here. Move the folder back, and keep its database: some names are only in it"
        )
        return CheckResult("database", text, "warning")
    missing = len(entries) - len(paths)
    return CheckResult(
        "database", f"has {len(paths):,} of the sessions" + (f", and lacks {missing:,}" if missing else "")
    )


async def examine_program(program: str, report: Report) -> None:
    """Report which codex makes changes, and its version, for which the program is started."""
    version = ""
    with anyio.move_on_after(_PATIENCE):
        try:
            ended = await anyio.run_process(
                [program, "--version"], stdin=DEVNULL, stderr=DEVNULL, check=False, env=program_environment(program)
            )
            version = ended.stdout.decode(errors="replace").strip()
        except OSError:
            pass
    if version.startswith("codex"):
        report(CheckResult("program", f"{program} makes changes ({excerpt(version)})"))
    else:
        report(
            CheckResult("program", f"{program} does not tell its version. Check that it is Codex, and runs", "warning")
        )
