"""How much longer a list of several stores takes than the lists of each store.

python -m tests.benchmarks.bench_several [--sessions 100000]
"""

import argparse
from collections.abc import Sequence
from contextlib import AsyncExitStack
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio
from mcp.client import Client

from mcp_sessions import SessionBackend, create_server, open_backend
from tests.benchmarks.bench_store import timed
from tests.benchmarks.measuring import Figure, print_table, ratios
from tests.benchmarks.store_seeds import build

NAMES = ("", "b", "c")
MOST = 1.5


async def measure(folder: Path, sessions: int) -> Sequence[Figure]:
    """Compare `list_sessions` of three stores in one server with the same call of three servers, one store each."""
    for name in NAMES:
        build(folder / f"store{name}.db", sessions, 0)

    def stores() -> dict[str, SessionBackend]:
        return {name: open_backend(f"sqlite:///{folder / f'store{name}.db'}") for name in NAMES}

    async with AsyncExitStack() as stack:
        all_in_one = await stack.enter_async_context(Client(create_server(stores())))
        each = [await stack.enter_async_context(Client(create_server(store))) for store in stores().values()]

        async def call_each() -> None:
            for client in each:
                await client.call_tool("list_sessions", {})

        taken = await timed({"each": call_each, "all": lambda: all_in_one.call_tool("list_sessions", {})}, calls=10)
    name = f"list of three stores ÷ lists of each, {sessions:,} sessions"
    return [Figure(name, ratios(taken, "all", "each"), MOST)]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        print_table("Several backends", anyio.run(measure, Path(folder), asked.sessions))


if __name__ == "__main__":
    main()
