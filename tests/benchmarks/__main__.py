"""All benchmarks in one run, and a table of each: `python -m tests.benchmarks [--sessions 1000000] [--plot PNG]`.

What is compared is measured in turns within the run, so that ratios hold on a busy machine; times don't. With
MCP_SESSIONS_AGENTOS also beside real AgentOS servers (`.ci/agentos FOLDER` makes their environments), and with
MCP_SESSIONS_PEERS beside other programs (docs/benchmarks.md). It takes some five minutes.
"""

import argparse
import os
from pathlib import Path
from tempfile import TemporaryDirectory

import anyio

from tests.benchmarks import (
    bench_alternatives,
    bench_calls,
    bench_claude_code,
    bench_codex,
    bench_growth,
    bench_index,
    bench_overlay,
    bench_peer,
    bench_profile,
    bench_search,
    bench_several,
    bench_size,
    bench_start,
    bench_store,
)
from tests.benchmarks.measuring import print_table
from tests.benchmarks.store_seeds import build
from tests.support.servers.agentos_process import are_installed


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=1_000_000, help="of the largest store, with as many messages")
    parser.add_argument("--plot", type=Path, default=Path("growth.png"))
    asked = parser.parse_args()
    sizes = [size for size in bench_growth.SIZES if size < asked.sessions] + [asked.sessions]
    with TemporaryDirectory() as name:
        folder = Path(name)
        bench_calls.main()
        bench_profile.print_profiles(folder)
        if are_installed():
            bench_peer.main()
        if peers := os.environ.get(bench_alternatives.VARIABLE):
            print_table("Beside other programs", bench_alternatives.measure(Path(peers), bench_alternatives.SESSIONS))
        print_table("Start and memory", bench_start.measure(folder, bench_start.ROUNDS))
        print_table("What results take of a model's context", anyio.run(bench_size.measure))
        print_table("Several backends", anyio.run(bench_several.measure, folder, 100_000))
        print_table("An overlay", anyio.run(bench_overlay.measure, folder, 10_000))
        title = f"Claude Code, {bench_claude_code.SESSIONS:,} sessions of {bench_claude_code.KILOBYTES} KB"
        print_table(title, bench_claude_code.measure(bench_claude_code.SESSIONS))
        title = f"Codex, {bench_codex.SESSIONS:,} threads of {bench_codex.KILOBYTES} KB"
        print_table(title, bench_codex.measure(bench_codex.SESSIONS))
        print_table(f"The search index of {bench_index.MEGABYTES} MB of each kind", bench_index.measure(folder))
        print_table("A search beside others", bench_search.measure(folder / "search"))
        for size in sizes:
            build(folder / f"{size}.db", size, size)
        largest = folder / f"{sizes[-1]}.db"
        title = f"The embedded store, {sizes[-1]:,} sessions and messages"
        print_table(
            title, [*bench_store.calls_of(folder, largest), *anyio.run(bench_store.measure, largest, sizes[-1])]
        )
        taken = anyio.run(bench_growth.measure, folder, sizes)
        print_table("Growth of the embedded store", bench_growth.figures_of(taken, sizes))
        bench_growth.plot(taken, sizes, asked.plot)
        print(f"\n{asked.plot} shows each operation at each size.")


if __name__ == "__main__":
    main()
