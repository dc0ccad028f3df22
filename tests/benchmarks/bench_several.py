"""What several stores in one server cost beside servers with one store each.

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
MOST_OF_GET = 1.2


async def measure(folder: Path, sessions: int) -> Sequence[Figure]:
    """Compare a list and a get of three stores in one server with those of three servers, one store each."""
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

        listed = (await each[-1].call_tool("list_sessions", {"limit": 1})).structured_content
        assert listed is not None
        one = listed["sessions"][0]["id"]
        taken = await timed(
            {
                "each": call_each,
                "all": lambda: all_in_one.call_tool("list_sessions", {}),
                "get of one": lambda: each[-1].call_tool("get_session", {"session_id": one}),
                "get of all": lambda: all_in_one.call_tool("get_session", {"session_id": f"{NAMES[-1]}/{one}"}),
            },
            calls=10,
        )
    return [
        Figure(f"list of three stores ÷ lists of each, {sessions:,} sessions", ratios(taken, "all", "each"), MOST),
        Figure(
            "get from one of three stores ÷ from the only one", ratios(taken, "get of all", "get of one"), MOST_OF_GET
        ),
    ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=100_000)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        print_table("Several backends", anyio.run(measure, Path(folder), asked.sessions))


if __name__ == "__main__":
    main()
