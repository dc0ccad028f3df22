"""Opens, reopens and closes a backend in a task of its own."""

import logging
from dataclasses import dataclass, field

import anyio

from ....errors import Internal, SessionsError, traceback_without_message
from ...base import SessionBackend
from .ids import copy_error
from .member_call import closed_error

logger = logging.getLogger(__name__)


@dataclass
class _OpenAttempt:
    """An attempt to open the backend. `done` is set once the backend is open, or `error` says why it is not."""

    done: anyio.Event = field(default_factory=anyio.Event)
    error: SessionsError | None = None


class Lifecycle:
    """Opens a backend, keeps it open, and closes it. If opening it fails, `wait` can request another attempt.

    A backend may enter cancel scopes and task groups, which only the task that entered them may leave. So one task, in
    `run`, enters and leaves the backend, and calls wait until it is open.
    """

    def __init__(self, backend: SessionBackend, label: str) -> None:
        self._backend = backend
        self._label = label
        self._attempt = _OpenAttempt()
        self._requested = anyio.Event()
        self._closing = anyio.Event()
        self._opening = anyio.CancelScope()

    async def run(self) -> None:
        """Open the backend and keep it open until `close` is called. After a failure, wait until asked to try again."""
        while not self._closing.is_set():
            attempt, self._opening = self._attempt, anyio.CancelScope()
            with self._opening:
                attempt.error = await self._keep_open(attempt)
            if not self._closing.is_set():
                logger.warning("%s is not available: %s", self._label, attempt.error)
                self._requested = anyio.Event()
                attempt.done.set()
                await self._requested.wait()
        self._attempt.error = closed_error(self._label)
        self._attempt.done.set()

    async def _keep_open(self, attempt: _OpenAttempt) -> SessionsError:
        """Keep the backend open until `close` is called. Return the error if it ends earlier."""
        try:
            async with self._backend:
                attempt.done.set()
                await self._closing.wait()
        except SessionsError as error:
            if self._closing.is_set():
                logger.warning("%s failed while it was closed: %s", self._label, error)
            return error
        except Exception as error:
            logger.error("%s failed: %s", self._label, traceback_without_message(error))
        return Internal(f"{self._label} failed unexpectedly; the error was logged. Try again.")

    async def wait(self, *, retry: bool) -> None:
        """Wait until the backend is open, or raise the error of opening it. `retry`: first try again if it failed."""
        can_retry = self._attempt.done.is_set() and not self._closing.is_set()
        if retry and can_retry and self._attempt.error is not None:
            self._attempt = _OpenAttempt()
            self._requested.set()
        attempt = self._attempt
        await attempt.done.wait()
        if attempt.error is not None:
            raise copy_error(attempt.error)

    def close(self) -> None:
        """Make `run` close the backend, or stop opening it, and return."""
        self._closing.set()
        self._requested.set()
        if not self._attempt.done.is_set():
            self._opening.cancel()
