"""Reads files in a thread, within the time of a call."""

import time
from collections.abc import Callable
from typing import TypeVar

import anyio

from ...errors import Timeout
from ..deadline import remaining

T = TypeVar("T")


async def run_in_thread(work: Callable[[float], T], *, seconds: float, place: str) -> T:
    """Return the result of reading files at a place in a thread, which gets the time when it must stop.

    Leave the thread behind, and raise `Timeout`, if it waits for a file system that does not answer.
    """
    seconds = remaining(seconds)
    try:
        with anyio.fail_after(seconds + 1):
            return await anyio.to_thread.run_sync(work, time.monotonic() + seconds, abandon_on_cancel=True)
    except TimeoutError as error:
        raise Timeout(f"{place} did not answer in time. Raise the backend's timeout.") from error
