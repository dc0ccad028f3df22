"""`mcp-sessions overlay`: export the overlay's values, import an export, or move values into their systems."""

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TextIO

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.overlay import OverlayStore
from mcp_sessions.backends.layers.overlay.migration import MoveResult, has_facts, migrate
from mcp_sessions.backends.layers.overlay.transfer import (
    DamagedValue,
    ExportLine,
    ImportResult,
    export_lines,
    import_lines,
    read_lines,
)
from mcp_sessions.backends.registry import system_of
from mcp_sessions.caller import Caller
from mcp_sessions.cli.refusals import refuse
from mcp_sessions.config.backend_addresses import read_addresses
from mcp_sessions.config.build import build_backends, open_overlay
from mcp_sessions.config.settings import BadSetting, Settings
from mcp_sessions.errors import Invalid, SessionsError, quoted, replace_unprintable

_SHOWN = 20  # lines


def run(settings: Settings, *, action: str, file: str = "", apply: bool = False) -> int:
    """Export, import or migrate. Return 0, 1 if it failed or left something out, 2 if it can't begin."""
    try:
        store = open_overlay(settings, purges=False)
        if action == "migrate":
            return _migrate(settings, store, apply=apply)
        return _export(store, Path(file)) if action == "export" else _import(store, Path(file))
    except BadSetting as error:
        return refuse(str(error))
    except Invalid as error:
        return refuse(f"{file}: {error}" if file else str(error))
    except OSError as error:
        return refuse(f"{file}: {(error.strerror or 'it could not be used').lower()}. Name another file.")
    except SessionsError as error:
        print(f"mcp-sessions: {replace_unprintable(str(error))}", file=sys.stderr)
        return 1


def _export(store: OverlayStore, file: Path) -> int:
    """Write a new file, which only this user can read."""
    if not store.exists():
        return refuse("there is no overlay yet, so there is nothing to export. Check --overlay.")
    descriptor = os.open(file, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    try:
        with os.fdopen(descriptor, "w", encoding="utf-8", newline="\n") as out:
            count, damaged = anyio.run(_write, store, out)
    except BaseException:
        file.unlink()  # it is not complete
        raise
    print(f"Exported {count:,} values to {file}.")
    if not damaged:
        return 0
    print(f"{len(damaged):,} values were left out, since they are damaged in the overlay:")
    _print_values(damaged)
    return 1


async def _write(store: OverlayStore, out: TextIO) -> tuple[int, Sequence[DamagedValue]]:
    count, damaged = 0, list[DamagedValue]()
    async with store:
        async for line in export_lines(store, damaged):
            out.write(line + "\n")
            count += 1
    return count, damaged


def _import(store: OverlayStore, file: Path) -> int:
    try:
        text = file.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise Invalid("the file is not in UTF-8, so it is not an export. Name another file.") from error
    result = anyio.run(_add, store, read_lines(text.split("\n")))
    print(f"Added {result.added:,} values; {result.equal:,} were there already.")
    if not result.different:
        return 0
    print(f"{len(result.different):,} differ from what the overlay has, or can't be compared. Its values were kept:")
    _print_values(result.different)
    return 1


async def _add(store: OverlayStore, lines: Sequence[ExportLine]) -> ImportResult:
    async with store:
        return await import_lines(store, lines)


def _print_values(values: Sequence[ExportLine | DamagedValue]) -> None:
    for value in values[:_SHOWN]:
        print(f"  {value.field} of {quoted(value.session_id)} in {quoted(value.source)}")
    if len(values) > _SHOWN:
        print(f"  and {len(values) - _SHOWN:,} more")


def _migrate(settings: Settings, store: OverlayStore, *, apply: bool) -> int:
    moves: list[MoveResult] = []
    errors: list[SessionsError] = []
    try:
        anyio.run(_move_all, _systems(settings), store, apply, moves, errors)
    finally:  # also after Ctrl-C, since some were moved
        left = _print_moves(moves, apply=apply)
    for error in errors:
        print(f"mcp-sessions: {replace_unprintable(str(error))}", file=sys.stderr)
    return 1 if left or errors else 0


def _print_moves(moves: Sequence[MoveResult], *, apply: bool) -> bool:
    """Print what was moved, or would be. Return whether anything stays in the overlay."""
    counts = Counter(move.outcome for move in moves)
    left = [move for move in moves if move.outcome not in ("moved", "equal")]
    would = "" if apply else "would be "
    print(f"{counts['moved']:,} values {would}moved into their system; {counts['equal']:,} were there already.")
    if left:
        print(f"{len(left):,} {'' if apply else 'would '}stay in the overlay:")
    reason = {"different": "the system has another value", "not found": "the session was not found"}
    for move in left[:_SHOWN]:
        text = f"  {move.field} of {quoted(move.session_id)}: {reason.get(move.outcome, move.error)}"
        print(replace_unprintable(text))
    if len(left) > _SHOWN:
        print(f"  and {len(left) - _SHOWN:,} more")
    if not apply:
        print("Nothing was changed. Add --apply to move them.")
    return bool(left)


def _systems(settings: Settings) -> Mapping[str, SessionBackend]:
    """Return the backends without an overlay, by what identifies their system."""
    sources = {address.name: system_of(address.url) for address in read_addresses(settings.backend)}
    backends = build_backends(replace(settings, overlay="off"))
    caller = Caller(user_id=settings.user)
    return {sources[name]: backend.for_caller(caller) for name, backend in backends.items()}


async def _move_all(
    systems: Mapping[str, SessionBackend],
    store: OverlayStore,
    apply: bool,
    moves: list[MoveResult],
    errors: list[SessionsError],
) -> None:
    """Move the values of each system, and add what became of them to `moves`. A system that fails ends only its own."""
    async with store:
        for source, system in systems.items():
            try:
                if not await has_facts(store, source):
                    continue  # entering its backend may create a store
                async with system:
                    async for move in migrate(system, store, source=source, apply=apply):
                        moves.append(move)
            except SessionsError as error:
                errors.append(error)
