"""Deleting a session, that is moving its files to a trash, and restoring it."""

import os
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ...errors import Unsupported
from ...models import Change, iso
from ..transcripts.trash import Trash
from ..validation import check_version, session_name
from .changes import Changes
from .details import version_of
from .folder import is_session_id
from .retention import Retention
from .subagents import agent_files

_LEAST_TIME = timedelta(days=1)
"""A restored session that Claude Code would remove before this counts as changed now."""


@dataclass(frozen=True, slots=True)
class Deletion:
    """Moves sessions to a trash, and back."""

    changes: Changes
    trash: Trash

    def delete(self, session_id: str, expected_version: str) -> Change:
        """Move all files of a session to the trash: its transcripts, subagents, and outputs in files of their own."""
        file, _ = self.changes.find(session_id)
        check_version(session_id, version_of(file), expected_version)
        self.changes.refuse_if_live(session_id)
        self.trash.remove_old()
        self.trash.put(session_id, list(self._files(session_id, Path(file.path))))
        until = iso(datetime.now(UTC) + timedelta(days=self.trash.days))
        return Change(
            session_id=session_id, note=f'Deleted. restore_session("{session_id}") can restore it until {until}.'
        )

    def _files(self, session_id: str, transcript: Path) -> Iterator[Path]:
        """Yield the files of a session: the transcript first, each once."""
        catalogue = self.changes.catalogue
        found = [transcript, *map(Path, catalogue.folder.copies(session_id))]
        for project in catalogue.folder.project_folders():
            found += _files_in(Path(project) / session_id)
        found += [Path(file.path) for file in agent_files(catalogue, session_id)]
        seen: set[str] = set()
        for path in found:
            real = os.path.join(os.path.realpath(path.parent), path.name)  # noqa: PTH118 - `path` itself may be a link
            if real not in seen:
                seen.add(real)
                yield path

    def restore(self, session_id: str, name: str) -> Change:
        """Move a session back from the trash. Raise `NotFound` if it is not there, `Conflict` for a newer one."""
        new = session_name(name)
        entry = self.trash.find(session_id) if is_session_id(session_id) else None
        if entry is None:
            self.changes.find(session_id)
            note = "It was active already."
        else:
            note = "It was deleted; now it is active again."
            self.trash.restore(entry)
            note += self._keep_from_removal(Path(self.trash.root / entry.paths[0]))
        if new:
            change = self.changes.rename(session_id, new)
            return change.model_copy(update={"note": f"{note} {change.note}".strip()})
        return Change(session_id=session_id, version=self.changes.version(session_id), note=note)

    def _keep_from_removal(self, transcript: Path) -> str:
        """Let a transcript that Claude Code would remove at once count as changed now, and return a note on that."""
        expires = Retention.of(self.changes.catalogue.folder.root).expires_at(transcript.stat().st_mtime_ns)
        if expires is None or expires > datetime.now(UTC) + _LEAST_TIME:
            return ""
        os.utime(transcript)
        return " Claude Code would have removed it at once because of its age, so its file counts as changed now."


def _files_in(folder: Path) -> Iterator[Path]:
    """Yield the files in a folder and the folders in it. Raise `Unsupported` if one of these is a link."""
    if folder.is_symlink():
        raise Unsupported("the folder of this session is a link, so it is not deleted. Delete it yourself.")
    for parent, folders, files in os.walk(folder):
        if any(Path(parent, name).is_symlink() for name in folders):
            raise Unsupported("the folder of this session has a link in it, so it is not deleted. Delete it yourself.")
        for name in files:
            yield Path(parent, name)
