"""A member, which is one of several backends, and how long calls wait for it."""

import logging
from collections.abc import Awaitable, Callable, Generator
from contextlib import contextmanager, nullcontext
from typing import TypeVar

import anyio
from anyio.abc import TaskGroup

from ....errors import Internal, SessionsError, Timeout, Unavailable, Unsupported, traceback_without_message
from ...base import Capability, SessionBackend
from ...deadline import deadline
from .holder import Holder

logger = logging.getLogger(__name__)

T = TypeVar("T")

TIME_FRACTION = 0.4
"""The part of a call's time that a member may take while other members are asked too."""
PAUSE_SECONDS = 5.0
"""How long a member that failed is left out of calls that ask several members."""


class Member:
    """One of several backends. All callers' views share it.

    `label` names it in notes and errors: `NAME (SYSTEM)`, or only the system if it has no name.
    """

    def __init__(self, name: str, backend: SessionBackend) -> None:
        self.name = name
        self.backend = backend
        self.label = f"{name} ({backend.title})" if name else backend.title
        self._holder: Holder | None = None
        self._tasks: TaskGroup | None = None
        self._calls: set[anyio.CancelScope] = set()
        self._failure: SessionsError | None = None
        self._paused_until = 0.0

    def start(self, tasks: TaskGroup) -> None:
        """Begin to open the backend."""
        self._holder, self._tasks, self._failure = Holder(self.backend, self.label), tasks, None
        tasks.start_soon(self._holder.run)

    def close(self) -> None:
        """Let the backend close, and cancel the calls that still wait for it."""
        for call in self._calls:
            call.cancel()
        if self._holder is not None:
            self._holder.close()

    def can(self, capability: Capability) -> bool:
        return capability in self.backend.capabilities

    def require(self, capability: Capability) -> None:
        """Raise `Unsupported`, which names the member, if it lacks the operation."""
        if not self.can(capability):
            raise Unsupported(f"{self.label} has no {capability}.")

    async def wait_until_open(self, seconds: float, *, retry: bool = True) -> None:
        """Wait until the backend is open, and try again to open it if that failed and `retry` is set.

        Raise the error of opening it, or `Timeout` after `seconds`.
        """
        with self._limit(seconds):
            await self._wait(retry=retry)

    async def use(self, work: Callable[[], Awaitable[T]], *, has_deadline: bool = True) -> T:
        """Return the result of a call on this member only. `has_deadline`: opening the member counts as part of it."""
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

    async def ask(self, work: Callable[[], Awaitable[T]], seconds: float) -> T | SessionsError:
        """Return this member's result in a call on several members, or its error.

        The call is given up after `seconds`. If it can't be cancelled, because it waits for a thread, it isn't waited
        for. A member that doesn't answer is not asked again during the next seconds.
        """
        if self._failure is not None and anyio.current_time() < self._paused_until:
            return self._failure
        try:
            result = await self._run_in_own_task(work, min(seconds, self.backend.options.timeout))
        except SessionsError as error:
            if is_unresponsive(error):
                self._failure, self._paused_until = error, anyio.current_time() + PAUSE_SECONDS
            return error
        except Exception as error:
            return self.log_unexpected(error)
        self._failure = None
        return result

    def log_unexpected(self, error: Exception) -> Internal:
        """Log an error that is not a `SessionsError`. Return the error that callers see instead."""
        logger.error("%s failed: %s", self.label, traceback_without_message(error))
        return Internal(f"{self.label} failed unexpectedly; the error was logged.")

    async def _run_in_own_task(self, work: Callable[[], Awaitable[T]], seconds: float) -> T:
        assert self._tasks is not None, "the backends are not entered"
        results: list[T] = []
        failures: list[Exception] = []
        done, scope = anyio.Event(), anyio.CancelScope()

        async def run() -> None:
            with scope:
                try:
                    await self._wait()
                    with deadline(seconds):
                        results.append(await work())
                except Exception as error:
                    failures.append(error)
            done.set()

        self._calls.add(scope)
        self._tasks.start_soon(run)
        try:
            with self._limit(seconds):
                await done.wait()
        finally:
            scope.cancel()
            self._calls.discard(scope)
        if failures:
            raise failures[0]
        if not results:
            raise Unavailable(f"{self.label} was closed, since this server is ending.")
        return results[0]

    async def _wait(self, *, retry: bool = True) -> None:
        assert self._holder is not None, "the backends are not entered"
        await self._holder.wait(retry=retry)

    @contextmanager
    def _limit(self, seconds: float) -> Generator[None]:
        try:
            with anyio.fail_after(seconds):
                yield
        except TimeoutError:
            raise Timeout(f"{self.label} did not answer in {seconds:g} s. Try again later.") from None


def is_unresponsive(error: SessionsError) -> bool:
    """Return whether a member did not answer. Any other error is an answer."""
    return isinstance(error, Timeout | Unavailable)
