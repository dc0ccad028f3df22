"""How the store's operations grow from 10³ to 10⁶ sessions, and a plot of it.

python -m tests.benchmarks.bench_growth [--sizes 1000,10000,100000,1000000] [--folder PATH] [--plot growth.png]
"""

# pyright: reportUnknownMemberType=false
# matplotlib's stubs leave some types out.

import argparse
from collections.abc import Sequence
from contextlib import AsyncExitStack
from itertools import count
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import anyio

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.models import SessionFilter
from tests.benchmarks import measuring
from tests.benchmarks.bench_store import PAGE, Call, timed
from tests.benchmarks.measuring import print_table, ratios
from tests.benchmarks.store_seeds import build, session_id

SIZES = (1_000, 10_000, 100_000, 1_000_000)
FLAT = 1.1
OPERATIONS = ("list", "get", "history", "rename", "search a common word", "search a rare word")
IS_FLAT = ("list", "get", "rename")


def variants(backend: SessionBackend, sessions: int) -> dict[str, Call]:
    renamed = count()
    return {
        "list": lambda: backend.list_sessions(SessionFilter(), limit=PAGE),
        "get": lambda: backend.get_session(session_id(sessions // 2)),
        "history": lambda: backend.get_session_history(session_id(sessions), limit=PAGE),
        "rename": lambda: backend.rename_session(session_id(next(renamed) * 7 % sessions + 1), "A new name"),
        "search a common word": lambda: backend.search_sessions("w1"),
        "search a rare word": lambda: backend.search_sessions("zyzzyva"),
    }


async def measure(
    folder: Path, sizes: Sequence[int], *, operations: Sequence[str] = OPERATIONS
) -> dict[str, dict[str, list[float]]]:
    """Return the seconds per call of each round, as {operation: {size: …}}. Sizes are measured in turns."""
    async with AsyncExitStack() as stack:
        stores = {
            size: variants(await stack.enter_async_context(open_backend(f"sqlite:///{folder / f'{size}.db'}")), size)
            for size in sizes
        }
        return {
            operation: await timed({str(size): calls[operation] for size, calls in stores.items()}, calls=20)
            for operation in operations
        }


def figures_of(taken: dict[str, dict[str, list[float]]], sizes: Sequence[int]) -> list[measuring.Figure]:
    first, last = str(sizes[0]), str(sizes[-1])
    return [
        measuring.Figure(
            f"{operation}, {sizes[-1]:,} ÷ {sizes[0]:,} sessions",
            ratios(each, last, first),
            FLAT if operation in IS_FLAT else None,
        )
        for operation, each in taken.items()
    ]


def plot(taken: dict[str, dict[str, list[float]]], sizes: Sequence[int], path: Path) -> None:
    from matplotlib.figure import Figure  # here, since it takes a second that only this function needs

    figure = Figure(figsize=(8, 5))
    axes = figure.subplots()
    for operation, each in taken.items():
        axes.plot(sizes, [median(each[str(size)]) * 1000 for size in sizes], marker="o", label=operation)
    axes.set(xscale="log", yscale="log", xlabel="sessions, and as many messages", ylabel="ms a call")
    axes.legend()
    figure.savefig(path)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sizes", default=",".join(map(str, SIZES)))
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--plot", type=Path, default=Path("growth.png"))
    asked = parser.parse_args()
    sizes = [int(size) for size in asked.sizes.split(",")]
    with TemporaryDirectory() as temporary:
        folder = asked.folder or Path(temporary)
        for size in sizes:
            build(folder / f"{size}.db", size, size)
        taken = anyio.run(measure, folder, sizes)
    print_table("Growth of the embedded store", figures_of(taken, sizes))
    plot(taken, sizes, asked.plot)
    print(f"\n{asked.plot} shows each operation at each size.")


if __name__ == "__main__":
    main()
