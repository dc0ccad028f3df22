"""`ReadOnlyBackend`, a layer that refuses every change."""

from typing import NoReturn

from ...errors import Unsupported
from ..base import Capability, SessionBackend
from ..health import Report
from .wrapper import Wrapper

READ_OPERATIONS = frozenset(
    {
        Capability.LIST_SESSIONS,
        Capability.GET_SESSION,
        Capability.SEARCH_SESSIONS,
        Capability.GET_SESSION_HISTORY,
        Capability.GET_SESSION_RUNS,
    }
)


class ReadOnlyBackend(Wrapper):
    """A backend with only the operations of `inner` that read. The others raise `Unsupported`."""

    create_session = SessionBackend.create_session
    rename_session = SessionBackend.rename_session
    archive_session = SessionBackend.archive_session
    restore_session = SessionBackend.restore_session
    delete_session = SessionBackend.delete_session
    update_session_state = SessionBackend.update_session_state
    update_session = SessionBackend.update_session
    append_messages = SessionBackend.append_messages
    fork_session = SessionBackend.fork_session
    apply_to_sessions = SessionBackend.apply_to_sessions

    def __init__(self, inner: SessionBackend) -> None:
        super().__init__(inner)
        self.title = f"{inner.title}, read-only"
        self.capabilities = inner.capabilities & READ_OPERATIONS

    @property
    def keeps(self) -> frozenset[str]:
        return frozenset()

    async def examine(self, report: Report) -> None:
        await self.inner.examine(lambda check: report(check.if_read_only()))

    def _refuse(self, capability: Capability) -> NoReturn:
        raise Unsupported(f"{self.inner.title} is read-only on this server, so it has no {capability}.")
