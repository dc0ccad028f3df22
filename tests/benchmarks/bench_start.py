"""How long a start takes to its first reply, beside the SDK's: `python -m tests.benchmarks.bench_start [ROUNDS]`."""

import json
import os
import statistics
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path
from time import perf_counter

HELLO = [sys.executable, str(Path(__file__).parent.parent / "servers" / "hello_server.py")]
OURS = [sys.executable, "-m", "mcp_sessions"]

_OPENING = [
    {
        "jsonrpc": "2.0",
        "id": 1,
        "method": "initialize",
        "params": {
            "protocolVersion": "2025-11-25",
            "capabilities": {},
            "clientInfo": {"name": "bench", "version": "1"},
        },
    },
    {"jsonrpc": "2.0", "method": "notifications/initialized"},
    {"jsonrpc": "2.0", "id": 2, "method": "tools/list"},
]


def start(command: Sequence[str], folder: str) -> tuple[float, float]:
    """Seconds from the start to the answers to `initialize` and to `tools/list`."""
    environment = {**os.environ, "XDG_DATA_HOME": folder, "HOME": folder}
    began = perf_counter()
    with subprocess.Popen(
        command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, env=environment
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(b"".join(json.dumps(message).encode() + b"\n" for message in _OPENING))
        process.stdin.flush()
        assert json.loads(process.stdout.readline())["id"] == 1
        replied = perf_counter() - began
        assert json.loads(process.stdout.readline())["id"] == 2
        listed = perf_counter() - began
        process.stdin.close()
        process.wait(timeout=30)
    return replied, listed


def ratios(rounds: int) -> tuple[float, float]:
    """Ours ÷ hello, to the first reply and to the first `tools/list`: medians of pairs, after a start of each."""
    pairs: list[tuple[float, float]] = []
    with tempfile.TemporaryDirectory() as folder:
        for command in (HELLO, OURS):
            start(command, folder)
        for place in range(rounds):
            both = [(HELLO, 0), (OURS, 1)]
            taken = [(0.0, 0.0)] * 2
            for command, index in both if place % 2 else reversed(both):
                taken[index] = start(command, folder)
            pairs.append((taken[1][0] / taken[0][0], taken[1][1] / taken[0][1]))
    return statistics.median(first for first, _ in pairs), statistics.median(second for _, second in pairs)


if __name__ == "__main__":
    first, listed = ratios(rounds=int(sys.argv[1]) if len(sys.argv) > 1 else 15)
    print(f"first reply {first:.2f}, first tools/list {listed:.2f} of the SDK's hello server (goal: 1.10)")
