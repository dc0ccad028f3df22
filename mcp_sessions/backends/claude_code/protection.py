"""Keeps copies of sessions that Claude Code will remove, and puts them back."""

from collections.abc import Generator, Sequence, Set
from contextlib import contextmanager, suppress
from dataclasses import dataclass, replace
from pathlib import Path

from ...errors import NotFound
from ..transcripts.file_copies import file_error
from ..transcripts.kept_files import KeptFiles, transcripts_in
from ..transcripts.trash import Trash
from .changes import SessionWriter
from .retention import Retention
from .session_files import session_files


@dataclass(frozen=True, slots=True)
class Protection:
    """Keeps copies of sessions: of all sessions if `keeps_all` is set, else of those for which `protect` was called."""

    writer: SessionWriter
    kept: KeptFiles
    keeps_all: bool

    def protect(self, session_id: str) -> None:
        """Make copies of a session's files, or renew them. Raise `NotFound`."""
        file, _ = self.writer.find(session_id, or_copy=True)
        if not file.is_kept:
            self.kept.keep(session_files(self.writer.catalogue, session_id))

    def set(self, session_id: str, *, is_protected: bool) -> None:
        """Keep copies of a session, or stop keeping them, as an overlay asks."""
        if is_protected:
            self.protect(session_id)
        else:
            self.unprotect(session_id)

    def unprotect(self, session_id: str) -> None:
        """Put files that are missing back in their places, and remove the copies.

        They stay if all sessions are kept, and if Claude Code would remove the session at once because of its age.
        """
        self.restore(session_id)
        if not (self.keeps_all or self._is_due(session_id)):
            self.kept.release(self._copies(session_id))

    def _is_due(self, session_id: str) -> bool:
        folder = self.writer.catalogue.folder
        return Retention.of(folder.root).is_due(folder.find(session_id).mtime)

    def restore(self, session_id: str) -> None:
        """Put files that are missing back. Raise `Conflict` if Claude Code has begun another transcript."""
        copies = self._copies(session_id)
        if copies:
            self.kept.restore(copies)

    def renew(self, session_id: str) -> None:
        """Update the copies of a session, unless it is gone or no longer protected by then."""
        with suppress(NotFound):
            if self.keeps_all or self._copies(session_id):
                self.protect(session_id)

    def outdated_sessions(self) -> Sequence[str]:
        """Return the sessions whose copies may be out of date, or which should have copies and have none."""
        catalogue = self.writer.catalogue
        kept = catalogue.of_copies().files()
        if not (kept or self.keeps_all):
            return ()
        since = self.kept.renewed_at()
        found: list[str] = []
        for file in catalogue.files(is_kept=False).values():
            copy = kept.get(file.id)
            is_copied = copy is not None and (copy.state.inode == file.state.inode or copy.state[1:] == file.state[1:])
            if (copy or self.keeps_all) and not (is_copied and file.mtime < since):
                found.append(file.id)
        return found

    def move_to(self, trash: Trash, session_id: str) -> None:
        """Move the copies of a session to the trash."""
        self._of_copies(trash).put(session_id, self._copies(session_id))

    @contextmanager
    def deletion(self, trash: Trash, session_id: str) -> Generator[None]:
        """Remove the copies of a session after the block, which moves the session to the trash. Copies of a
        conversation that the session's files don't have are moved to the trash first. If the process is killed in the
        block, the session still has its copies, or `finish` removes them.
        """
        copies = self._copies(session_id)
        entry = None
        if copies and not self.kept.is_continued(copies):
            entry = self._of_copies(trash).add(session_id, copies)
        try:
            yield
        except BaseException:
            if entry is not None:
                trash.remove(entry)
            raise
        self.kept.release(copies)

    def interrupted_sessions(self, trash: Trash) -> Set[str]:
        """Return the sessions that may be half deleted or half restored, after a process was killed."""
        in_trash = trash.session_ids()
        kept = set(self.writer.catalogue.of_copies().files()) if in_trash else set[str]()
        return trash.interrupted_sessions() | self._of_copies(trash).interrupted_sessions() | (in_trash & kept)

    def finish(self, trash: Trash, session_id: str) -> None:
        """Finish deleting or restoring a session, after a process was killed while it did so."""
        of_copies = self._of_copies(trash)
        trash.remove_restored(session_id)
        trash.finish(session_id)
        of_copies.finish(session_id)
        copies = self._copies(session_id)
        if copies and self.writer.catalogue.find(session_id).is_kept:
            try:
                is_deleted = all(of_copies.contains(session_id, copy) for copy in transcripts_in(copies))
            except OSError as error:
                raise file_error(error) from error
            if is_deleted:
                self.kept.release(copies)

    def _of_copies(self, trash: Trash) -> Trash:
        """Return the trash for copies, from which they come back into Claude Code's folder."""
        return replace(trash, root=self.kept.folder)

    def _copies(self, session_id: str) -> list[Path]:
        try:
            return session_files(self.writer.catalogue.of_copies(), session_id)
        except NotFound:
            return []
