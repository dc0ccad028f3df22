"""What a start costs beside the SDK's smallest server: `python -m tests.benchmarks.bench_start [ROUNDS]`."""

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tests.benchmarks.clients import OURS, SDK, StdioServer, environment, line
from tests.benchmarks.measuring import Block, Figure, in_turns, kilobytes, print_table, ratios
from tests.support.stdio_client import call, initialize, notification, request

ROUNDS = 15
CALLS = 20_000

_OPENING = b"".join(map(line, (initialize(1), notification("notifications/initialized"), request(2, "tools/list"))))


def seconds_to(answer: int, command: Sequence[str], folder: Path) -> float:
    """From the start to this answer: 1 is that to `initialize`, 2 to `tools/list`."""
    began = perf_counter()
    pipe = subprocess.PIPE
    with subprocess.Popen(
        command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=environment(folder)
    ) as process:
        assert process.stdin is not None
        assert process.stdout is not None
        process.stdin.write(_OPENING)
        process.stdin.flush()
        for number in range(1, answer + 1):
            assert json.loads(process.stdout.readline())["id"] == number
        taken = perf_counter() - began
        process.stdin.close()
        process.stdout.read()
        process.wait(timeout=30)
    return taken


def start_ratios(folder: Path, rounds: int, answer: int) -> list[float]:
    def starts(command: Sequence[str]) -> Block:
        return lambda _: seconds_to(answer, command, folder)

    return ratios(in_turns({"ours": starts(OURS), "hello": starts(SDK)}, rounds=rounds, calls=1), "ours", "hello")


def memory(folder: Path, rounds: int) -> list[float]:
    """Resident memory of ours ÷ hello's, once both have listed their tools."""

    def after_start(command: Sequence[str]) -> int:
        with StdioServer(folder, command) as server:
            server.ask(line(request(1, "tools/list")))
            return kilobytes(server.process.pid)

    return [after_start(OURS) / after_start(SDK) for _ in range(rounds)]


def growth(folder: Path, calls: int) -> float:
    """Resident memory after so many calls ÷ after a tenth of them."""
    asked = line(call(1, "list_sessions"))
    with StdioServer(folder, OURS) as server:
        at: list[int] = []
        for share in (calls // 10, calls - calls // 10):
            for _ in range(share):
                server.ask(asked)
            at.append(kilobytes(server.process.pid))
    return at[1] / at[0]


def measure(folder: Path, rounds: int) -> list[Figure]:
    return [
        Figure("start to the first reply ÷ an SDK hello server", start_ratios(folder, rounds, 1), 1.10),
        Figure("start to tools/list ÷ an SDK hello server", start_ratios(folder, rounds, 2), 1.10),
        Figure("resident memory after start ÷ an SDK hello server", memory(folder, 5), 1.10),
        Figure(f"resident memory after {CALLS:,} calls ÷ after a tenth", [growth(folder, CALLS)], 1.02),
    ]


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        print_table("Start", measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
