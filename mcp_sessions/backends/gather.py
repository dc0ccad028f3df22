"""Several requests at the same time, failing as one does."""

from collections.abc import Awaitable, Callable, Iterable
from typing import TypeVar

import anyio

T = TypeVar("T")
R = TypeVar("R")


async def each(work: Callable[[T], Awaitable[R]], items: Iterable[T]) -> list[R]:
    """What `work` makes of each item, in their order. The first failure ends the others and is raised as it is."""
    asked = list(items)
    if len(asked) == 1:
        return [await work(asked[0])]
    made: dict[int, R] = {}
    failures: list[Exception] = []
    async with anyio.create_task_group() as tasks:

        async def run(number: int, item: T) -> None:
            try:
                made[number] = await work(item)
            except Exception as error:
                failures.append(error)
                tasks.cancel_scope.cancel()

        for number, item in enumerate(asked):
            tasks.start_soon(run, number, item)
    if failures:
        raise failures[0]
    return [made[number] for number in range(len(asked))]
