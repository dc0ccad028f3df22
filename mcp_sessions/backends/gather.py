"""Concurrent requests."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


async def map_concurrently(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """Return the results of `work` for all items, in the order of the items.

    The first failure cancels the others and is raised as it is, not in an exception group.
    """
    inputs = list(items)
    if len(inputs) == 1:
        return [await work(inputs[0])]
    results: dict[int, R] = {}
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def run(number: int, item: T) -> None:
            try:
                results[number] = await work(item)
            except Exception as error:
                failures.append(error)
                tasks.cancel_scope.cancel()

        for number, item in enumerate(inputs):
            tasks.start_soon(run, number, item)
    if failures:
        raise failures[0]
    return [results[number] for number in range(len(inputs))]
