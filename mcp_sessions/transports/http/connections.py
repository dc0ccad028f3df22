"""A uvicorn connection with a timeout for the headers of a request, which cancels the request when it is lost."""

import asyncio

import h11
from uvicorn.protocols.http.h11_impl import H11Protocol

HEADER_SECONDS = 10
"""How long a request's headers may take, from its first byte, or from when the connection was made."""

CANCEL = "mcp_sessions.cancel"
"""The key in a request's scope for the function that cancels the request."""


class HeaderTimeoutConnection(H11Protocol):
    """A connection that is closed if headers take too long, since slow clients could occupy all connections."""

    _timeout: asyncio.TimerHandle | None = None

    def connection_made(self, transport: asyncio.Transport) -> None:  # pyright: ignore[reportIncompatibleMethodOverride] # as uvicorn's own
        super().connection_made(transport)
        self._expect_headers()

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        self._expect_headers()

    def connection_lost(self, exc: Exception | None) -> None:
        super().connection_lost(exc)
        self._cancel_timeout()
        if self.cycle and not self.cycle.response_complete and CANCEL in self.cycle.scope:
            self.cycle.scope[CANCEL]()

    def _expect_headers(self) -> None:
        if self.conn.their_state is not h11.IDLE:
            self._cancel_timeout()
        elif self._timeout is None:
            self._timeout = self.loop.call_later(HEADER_SECONDS, self._close_if_idle)

    def _cancel_timeout(self) -> None:
        if self._timeout is not None:
            self._timeout.cancel()
            self._timeout = None

    def _close_if_idle(self) -> None:
        if self.conn.their_state is h11.IDLE:
            self.transport.close()
