"""Checks before Codex is asked to change a thread, since all of Codex's refusals have the same code."""

import os
import time
from collections.abc import Sequence
from pathlib import Path

from ...errors import Conflict
from .catalogue import Catalogue, CatalogueEntry
from .home import state_of
from .open_threads import is_open
from .related_threads import forks_of, listing, with_subagents

OPEN = "Codex has this session open. Close it there, then try again."
GROWING = "this session was changed in the last minute, so Codex may have it open. Close it there, and try again later."
_GROWING_SECONDS = 60


def refuse_if_moved(catalogue: Catalogue, family: Sequence[CatalogueEntry]) -> None:
    """Raise `Conflict` if the database has the files at a place outside of the home.

    Codex would not find them there, or, if the home was copied, change those of the other home.
    """
    root = os.path.realpath(catalogue.home.root)
    for entry in family:
        path = entry.row.path.removeprefix("\\\\?\\") if entry.row else ""
        if path and not Path(os.path.realpath(path)).is_relative_to(root):
            raise Conflict(
                "Codex's home was moved or copied, so Codex looks for this session's file at another place. Move the "
                "home back to change sessions. mcp-sessions doctor tells more."
            )


def refuse_if_archived(entry: CatalogueEntry) -> None:
    """Raise `Conflict` if a thread is archived, since Codex then only restores and deletes it."""
    if entry.file.is_archived:
        raise Conflict("this session is archived, and Codex can't change it then. Call restore_session first.")


def refuse_if_open(catalogue: Catalogue, family: Sequence[CatalogueEntry]) -> None:
    """Raise `Conflict` if a process has one of these threads open."""
    if any(is_open(catalogue.home.root, member.id) for member in family):
        raise Conflict(OPEN)


def refuse_if_forked(catalogue: Catalogue, family: Sequence[CatalogueEntry]) -> None:
    """Raise `Conflict` if other threads continue one of these."""
    forks = forks_of(catalogue, family)
    if forks:
        raise Conflict(
            f"{listing(forks)} {'was' if len(forks) == 1 else 'were'} forked from this session and would lose the "
            "beginning. Delete the forks first, or call archive_session, which keeps everything."
        )


def are_growing(family: Sequence[CatalogueEntry]) -> bool:
    """Return whether one of the files was changed in the last minute."""
    return any(time.time() - state_of(member.file).mtime / 10**9 < _GROWING_SECONDS for member in family)


def deletable(catalogue: Catalogue, session_id: str) -> list[CatalogueEntry]:
    """Return a thread and those of its subagents. Raise `Conflict` if Codex would not delete them."""
    family = with_subagents(catalogue, catalogue.find(session_id))
    refuse_if_moved(catalogue, family)
    refuse_if_open(catalogue, family)
    refuse_if_forked(catalogue, family)
    return family
