"""Deletes a session by moving its files to a trash, and restores it from there."""

import os
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

from ...errors import NotFound
from ...models import Change, iso
from ..transcripts.trash import Trash
from ..validation import check_version, session_name
from .changes import SessionWriter
from .details import version_of
from .folder import is_session_id
from .protection import Protection
from .retention import Retention
from .session_files import session_files


@dataclass(frozen=True, slots=True)
class Deletion:
    """Moves sessions to a trash, and back."""

    writer: SessionWriter
    trash: Trash
    protection: Protection

    def delete(self, session_id: str, expected_version: str) -> Change:
        """Move all files of a session to the trash: its transcripts, subagents, and outputs in files of their own."""
        file, _ = self.writer.find(session_id, or_copy=True)
        check_version(session_id, version_of(file), expected_version)
        self.writer.refuse_if_live(session_id)
        self.trash.remove_old()
        if file.is_kept:
            self.protection.move_to(self.trash, session_id)
        else:
            files = session_files(self.writer.catalogue, session_id)
            with self.protection.deletion(self.trash, session_id):
                self.trash.put(session_id, files)
        until = iso(datetime.now(UTC) + timedelta(days=self.trash.days))
        return Change(
            session_id=session_id, note=f'Deleted. restore_session("{session_id}") can restore it until {until}.'
        )

    def restore(self, session_id: str, name: str) -> Change:
        """Move a session back from the trash. Raise `NotFound` if it isn't there, `Conflict` if newer files exist."""
        new = session_name(name)
        note = self._restore(session_id)
        if new:
            change = self.writer.rename(session_id, new)
            return change.model_copy(update={"note": f"{note} {change.note}".strip()})
        return Change(session_id=session_id, version=self.writer.version(session_id), note=note)

    def _restore(self, session_id: str) -> str:
        """Put the files of a session back, and return a note on that."""
        entry = self.trash.find(session_id) if is_session_id(session_id) else None
        try:
            is_kept = self.writer.find(session_id, or_copy=True).file.is_kept
        except NotFound:
            if entry is None:
                raise
            is_kept = False
        if is_kept:
            self.protection.restore(session_id)
            note = "Claude Code had removed it; now it is active again."
        elif entry is not None:
            self.trash.restore(entry)
            note = "It was deleted; now it is active again."
        else:
            self.protection.restore(session_id)
            return "It was active already."
        note += self._keep_from_removal(Path(self.writer.catalogue.find(session_id).path))
        if is_kept:
            self.protection.unprotect(session_id)
        return note

    def _keep_from_removal(self, transcript: Path) -> str:
        """Set the time of change to now if Claude Code would remove the transcript at once. Return a note on that."""
        if not Retention.of(self.writer.catalogue.folder.root).is_due(transcript.stat().st_mtime_ns):
            return ""
        os.utime(transcript)
        return " Claude Code would have removed it at once because of its age, so its file's time of change is now."
