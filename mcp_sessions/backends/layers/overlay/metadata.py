"""An overlay on a system that stores some keys of a session's metadata, and no others."""

from collections.abc import Sequence

from ....errors import SessionsError
from ....json_documents import JsonObject
from ....models import Change, Clearable
from ...session_updates import check_update
from .backend import Overlay


class MetadataOverlay(Overlay):
    """An overlay that changes the metadata of a session in its system, as far as the system can store it."""

    async def update_session(
        self,
        session_id: str,
        *,
        metadata: JsonObject | None = None,
        summary: str = "",
        clear: Sequence[Clearable] = (),
        expected_version: str = "",
    ) -> Change:
        """Change metadata and summary. What the system stores is changed first, since that fails more often."""
        if not (self._stores_metadata and (metadata or "metadata" in clear)):
            return await super().update_session(
                session_id, metadata=metadata, summary=summary, clear=clear, expected_version=expected_version
            )
        check_update(metadata, summary, clear)
        before = await self._read(await self._find(session_id))
        cleared: JsonObject = {key: None for key in before.system_metadata if "metadata" in clear}
        native = cleared | {key: value for key, value in (metadata or {}).items() if key in before.system_metadata}
        rest = {key: value for key, value in (metadata or {}).items() if key not in native}
        expected, change = expected_version, Change(session_id=session_id)
        if native:
            own = await self._system_version(session_id, expected)
            change = await self.inner.update_session(session_id, metadata=native, expected_version=own)
            expected = f"{change.version}+{expected.rpartition('+')[2]}" if expected else ""
        if rest or summary or clear:
            try:
                change = await super().update_session(
                    session_id, metadata=rest, summary=summary, clear=clear, expected_version=expected
                )
            except SessionsError as error:
                if not native:
                    raise
                note = f"Only {', '.join(native)} was changed, which {self.title} stores. {error.text}"
                change = change.model_copy(update={"note": note})
        try:
            after = await self.get_session(session_id)
        except SessionsError as error:
            return change.model_copy(
                update={"note": f"{change.note} It could not be read afterwards. {error.text}".strip()}
            )
        update = {
            "changed": change.changed | {"metadata": after.metadata},
            "previous": change.previous | {"metadata": before.metadata},
            "version": after.version,
        }
        return change.model_copy(update=update)

    @property
    def _stores_metadata(self) -> bool:
        return "metadata" in self._kept and any(field.startswith("metadata.") for field in self.inner.keeps)
