"""An overlay that lets its system keep the sessions that are archived in it."""

from ....errors import NotFound, SessionsError
from ....models import Change, SessionDetail
from .metadata import MetadataOverlay


class ProtectingOverlay(MetadataOverlay):
    """An overlay on a system that removes old sessions, unless they are protected.

    What is archived in the overlay is protected in the system. If that fails, `note` says so.
    """

    async def archive_session(self, session_id: str) -> Change:
        note = await self._protect(session_id, is_protected=True)  # first, so that a kill leaves it protected
        return _with_note(await super().archive_session(session_id), note)

    async def restore_session(self, session_id: str, *, name: str = "") -> Change:
        change = await super().restore_session(session_id, name=name)
        return _with_note(change, await self._protect(change.session_id, is_protected=False))

    async def _restore_in_system(self, session: SessionDetail, name: str) -> Change:
        """Restore a session in the system, and in the overlay too if it is archived in both."""
        native = await super()._restore_in_system(session, name)
        own = await super().restore_session(native.session_id)
        if not own.changed:
            return native
        changed, previous = native.changed | own.changed, native.previous | own.previous
        return native.model_copy(update={"changed": changed, "previous": previous, "version": own.version})

    async def _protect(self, session_id: str, *, is_protected: bool) -> str:
        """Let the system protect a session, or stop protecting it. Return a note if that fails."""
        if "archived_at" not in self._kept:
            return ""
        try:
            await self.inner.protect_session(session_id, is_protected=is_protected)
        except NotFound:
            if is_protected:
                raise
            return ""
        except SessionsError as error:
            what = "may remove it when it is old" if is_protected else "still keeps a copy of it"
            return f"{self.title} {what}, since {error.message}"
        return ""


def _with_note(change: Change, note: str) -> Change:
    return change.model_copy(update={"note": f"{change.note} {note}".strip()})
