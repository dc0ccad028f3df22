"""`Member`, one of several backends: opens it, calls it, and remembers recent failures."""

import logging
from collections.abc import Awaitable, Callable
from contextlib import nullcontext
from typing import Any, TypeVar

import anyio
from anyio.abc import TaskGroup

from ....errors import Internal, SessionsError, Timeout, Unavailable, Unsupported, traceback_without_message
from ...base import Capability, SessionBackend
from ...deadline import deadline
from .ids import with_message
from .lifecycle import Lifecycle
from .member_call import MemberCall, timeout_error

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIME_FRACTION = 0.4
"""The part of a call's timeout that each member may take in a call on several members."""
PAUSE_SECONDS = 5.0
"""How long calls on several members leave out a member that did not answer."""


class Member:
    """One of several backends. The views of all callers share it.

    `label` names it in notes and errors: `NAME (SYSTEM)`, or only the system if it has no name.
    """

    def __init__(self, name: str, backend: SessionBackend) -> None:
        self.name = name
        self.backend = backend
        self.label = f"{name} ({backend.title})" if name else backend.title
        self._lifecycle: Lifecycle | None = None
        self._tasks: TaskGroup | None = None
        self._calls: set[MemberCall[Any]] = set()
        self._failure: SessionsError | None = None
        self._paused_until = 0.0

    def start(self, tasks: TaskGroup) -> None:
        """Start to open the backend, in a task of this group."""
        self._lifecycle, self._tasks, self._failure = Lifecycle(self.backend, self.label), tasks, None
        tasks.start_soon(self._lifecycle.run)

    def close(self) -> None:
        """Make the backend close, and cancel running calls on it."""
        for call in self._calls:
            call.cancel()
        if self._lifecycle is not None:
            self._lifecycle.close()

    def can(self, capability: Capability) -> bool:
        return capability in self.backend.capabilities

    def require(self, capability: Capability) -> None:
        """Raise `Unsupported`, which names the member, if the member lacks an operation."""
        if not self.can(capability):
            raise Unsupported(f"{self.label} has no {capability}.")

    async def wait_until_open(self, seconds: float, *, retry: bool = True) -> None:
        """Wait until the backend is open. `retry`: if opening it failed, first try again.

        Raise the error of opening it, or `Timeout` after `seconds`.
        """
        try:
            with anyio.fail_after(seconds):
                await self._wait(retry=retry)
        except TimeoutError:
            raise timeout_error(self.label, seconds) from None

    async def call(self, work: Callable[[], Awaitable[T]], *, has_deadline: bool = True) -> T:
        """Wait until the backend is open, call `work` and return its result. For calls on this member only.

        `has_deadline`: waiting and `work` together have the backend's timeout. If not, `work` sets its own deadlines.
        """
        with deadline(self.backend.options.timeout) if has_deadline else nullcontext():
            await self.wait_until_open(self.backend.options.timeout)
            try:
                result = await work()
            except SessionsError as error:
                if not is_unresponsive(error):
                    self._failure = None
                raise
        self._failure = None
        return result

    def recent_failure(self) -> SessionsError | None:
        """Return the member's last error if it did not answer within the last `PAUSE_SECONDS`, else None."""
        return self._failure if anyio.current_time() < self._paused_until else None

    def start_call(self, work: Callable[[], Awaitable[T]], seconds: float) -> MemberCall[T]:
        """Start this member's part in a call on several members, which waits for it at most `seconds`."""
        assert self._tasks is not None, "the backend is not entered"
        call = MemberCall(self.label, self._wait, work, min(seconds, self.backend.options.timeout))
        self._calls.add(call)
        self._tasks.start_soon(call.run)
        return call

    async def result_of(self, call: MemberCall[T]) -> T | SessionsError:
        """Return the result or error of a call. Remember whether the member answered."""
        result = await call.result()
        if isinstance(result, SessionsError):
            if is_unresponsive(result):
                self._failure, self._paused_until = result, anyio.current_time() + PAUSE_SECONDS
            return result
        if isinstance(result, Exception):
            return self.log_unexpected(result)
        self._failure = None
        return result

    def end_call(self, call: MemberCall[T]) -> None:
        """Cancel a call unless it is done."""
        call.cancel()
        self._calls.discard(call)

    def name_error(self, error: SessionsError) -> SessionsError:
        """Return a copy of an error whose message names the member."""
        message = error.message if self.label in error.message else f"{self.label}: {error.message}"
        return with_message(error, message)

    def log_unexpected(self, error: Exception) -> Internal:
        """Log an error that is not a `SessionsError`. Return the error that callers see instead."""
        logger.error("%s failed: %s", self.label, traceback_without_message(error))
        return Internal(f"{self.label} failed unexpectedly; the error was logged.")

    async def _wait(self, *, retry: bool = True) -> None:
        assert self._lifecycle is not None, "the backend is not entered"
        await self._lifecycle.wait(retry=retry)


def is_unresponsive(error: SessionsError) -> bool:
    """Return whether the error means that a member did not answer. With any other error, it did."""
    return isinstance(error, Timeout | Unavailable)
