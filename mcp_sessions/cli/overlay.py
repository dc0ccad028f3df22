"""`mcp-sessions overlay`: export what the overlay keeps to a file, or import such a file."""

import os
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TextIO

import anyio

from mcp_sessions.backends.layers.overlay import OverlayStore
from mcp_sessions.backends.layers.overlay.transfer import (
    ImportResult,
    Line,
    export_lines,
    import_lines,
    read_lines,
)
from mcp_sessions.cli.refusals import refuse
from mcp_sessions.config.build import open_overlay
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import Invalid, SessionsError, quoted, replace_unprintable

_SHOWN = 20  # lines


def run(settings: Settings, *, action: str, file: str) -> int:
    """Export or import. Return 0, 1 if it failed or left something out, 2 if it can't begin."""
    try:
        store = open_overlay(settings)
        return _export(store, Path(file)) if action == "export" else _import(store, Path(file))
    except BadSetting as error:
        return refuse(str(error))
    except Invalid as error:
        return refuse(f"{file}: {error}")
    except OSError as error:
        return refuse(f"{file}: {(error.strerror or 'it could not be used').lower()}. Name another file.")
    except SessionsError as error:
        print(f"mcp-sessions: {replace_unprintable(str(error))}", file=sys.stderr)
        return 1


def _export(store: OverlayStore, file: Path) -> int:
    """Write a new file, which only this user can read."""
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as out:
            count = anyio.run(_write, store, out)
    except BaseException:
        file.unlink()  # it is not complete
        raise
    print(f"Exported {count:,} facts to {file}.")
    return 0


async def _write(store: OverlayStore, out: TextIO) -> int:
    count = 0
    async with store:
        async for line in export_lines(store):
            out.write(line + "\n")
            count += 1
    return count


def _import(store: OverlayStore, file: Path) -> int:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("the file is not in UTF-8, so it is not an export. Name another file.") from error
    result = anyio.run(_add, store, read_lines(text.split("\n")))
    print(f"Added {result.added:,} facts; {result.equal:,} were there already.")
    if not result.different:
        return 0
    print(f"{len(result.different):,} differ from what the overlay has, which was kept:")
    _print_lines(result.different)
    return 1


async def _add(store: OverlayStore, lines: Sequence[Line]) -> ImportResult:
    async with store:
        return await import_lines(store, lines)


def _print_lines(lines: Sequence[Line]) -> None:
    for line in lines[:_SHOWN]:
        print(f"  {line.field} of {quoted(line.session_id)} in {quoted(line.source)}")
    if len(lines) > _SHOWN:
        print(f"  and {len(lines) - _SHOWN:,} more")
