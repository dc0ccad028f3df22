"""`MemberCall`, one member's part in a call on several members."""

from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

import anyio

from ....errors import SessionsError, Timeout, Unavailable
from ...deadline import deadline

T = TypeVar("T")


class MemberCall(Generic[T]):
    """A call that runs in a task of its own, so that its caller can stop waiting even if it can't be cancelled.

    `label`: the member's name in errors. `work`: what to call once `wait_until_open` returns. `result` waits until
    `seconds` after this object is created.
    """

    def __init__(
        self,
        label: str,
        wait_until_open: Callable[[], Awaitable[None]],
        work: Callable[[], Awaitable[T]],
        seconds: float,
    ) -> None:
        self._wait_until_open = wait_until_open
        self._work = work
        self._seconds = seconds
        self._timeout = timeout_error(label, seconds)
        self._ends = anyio.current_time() + seconds
        self._scope = anyio.CancelScope()
        self._done = anyio.Event()
        self._result: T | Exception = closed_error(label)

    async def run(self) -> None:
        """Make the call. Start this in a task."""
        with self._scope:
            try:
                await self._wait_until_open()
                with deadline(self._seconds):
                    self._result = await self._work()
            except Exception as error:
                self._result = error
        self._done.set()

    async def result(self) -> T | Exception:
        """Return the call's result or error, or `Timeout` when time is up, even if the call can't be cancelled."""
        if not self._done.is_set():
            with anyio.move_on_after(self._ends - anyio.current_time()) as waiting:
                await self._done.wait()
            if waiting.cancelled_caught:
                return self._timeout
        return self._result

    def cancel(self) -> None:
        self._scope.cancel()


def timeout_error(label: str, seconds: float) -> Timeout:
    """Return the error for a member that took too long."""
    return Timeout(f"{label} did not answer in {seconds:g} s. Try again later.")


def closed_error(label: str) -> SessionsError:
    """Return the error for a call on a member that is closed."""
    return Unavailable(f"{label} was closed, since this server is shutting down.")
