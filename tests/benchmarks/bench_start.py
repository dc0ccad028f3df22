"""What a start costs beside the SDK's smallest server: `python -m tests.benchmarks.bench_start [ROUNDS]`.

The first start stores its answers, as it does for a user, and isn't measured.
"""

import json
import resource
import subprocess
import sys
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

from tests.benchmarks.clients import OURS, SDK, StdioServer, environment, line
from tests.benchmarks.measuring import Block, Figure, in_turns, kilobytes, print_table, ratios
from tests.support.stdio_client import call, initialize, notification, request

ROUNDS = 15
CALLS = 20_000
AT_ONCE = 5

_OPENING = b"".join(map(line, (initialize(1), notification("notifications/initialized"), request(2, "tools/list"))))


def seconds_to(answer: int, command: Sequence[str], folder: Path) -> float:
    """Return the seconds from the start to an answer: 1 is that to `initialize`, 2 that to `tools/list`."""
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


def slowest_start(command: Sequence[str], folder: Path, count: int) -> float:
    """Start `count` servers at once, and return the seconds until each has listed its tools."""
    with ThreadPoolExecutor(count) as threads:
        return max(threads.map(seconds_to, [2] * count, [command] * count, [folder] * count))


def starts_at_once(folder: Path, rounds: int) -> tuple[list[float], list[float]]:
    """Return the time in which each of the servers lists its tools ÷ that of as many hello servers, and ÷ one's."""

    def starts(command: Sequence[str], count: int) -> Block:
        return lambda _: slowest_start(command, folder, count)

    variants = {"ours": starts(OURS, AT_ONCE), "hellos": starts(SDK, AT_ONCE), "hello": starts(SDK, 1)}
    taken = in_turns(variants, rounds=rounds, calls=1)
    return ratios(taken, "ours", "hellos"), ratios(taken, "ours", "hello")


def memory(folder: Path, rounds: int) -> list[float]:
    """Return the resident memory of ours ÷ hello's after the first call: before it, ours may still be loading."""

    def after_call(command: Sequence[str], tool: str) -> int:
        with StdioServer(folder, command) as server:
            server.ask(line(call(1, tool)))
            return kilobytes(server.process.pid)

    return [after_call(OURS, "list_sessions") / after_call(SDK, "hello") for _ in range(rounds)]


def command_processor_time(rounds: int) -> dict[str, list[float]]:
    """Return the processor time of each command ÷ that of importing the SDK."""

    def used(*arguments: str) -> Block:
        def block(_: int) -> float:
            before = resource.getrusage(resource.RUSAGE_CHILDREN)
            subprocess.run([sys.executable, *arguments], capture_output=True, check=True, timeout=60)
            after = resource.getrusage(resource.RUSAGE_CHILDREN)
            return after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime

        return block

    commands = {"--version": ["--version"], "--help": ["--help"], "config": ["config", "codex"]}
    variants = {name: used("-m", "mcp_sessions", *words) for name, words in commands.items()}
    taken = in_turns(variants | {"sdk": used("-c", "import mcp")}, rounds=rounds, calls=1)
    return {name: ratios(taken, name, "sdk") for name in commands}


def growth(folder: Path, calls: int) -> float:
    """Return the resident memory after so many calls ÷ that after a tenth of them."""
    asked = line(call(1, "list_sessions"))
    with StdioServer(folder, OURS) as server:
        at: list[int] = []
        for share in (calls // 10, calls - calls // 10):
            for _ in range(share):
                server.ask(asked)
            at.append(kilobytes(server.process.pid))
    return at[1] / at[0]


def measure(folder: Path, rounds: int) -> list[Figure]:
    beside_as_many, beside_one = starts_at_once(folder, rounds // 3)
    return [
        Figure("start to the first reply ÷ an SDK hello server", start_ratios(folder, rounds, 1), 0.25),
        Figure("start to tools/list ÷ an SDK hello server", start_ratios(folder, rounds, 2), 0.25),
        Figure(f"{AT_ONCE} starts at once to tools/list ÷ {AT_ONCE} hello servers", beside_as_many, 0.4),
        Figure(f"{AT_ONCE} starts at once to tools/list ÷ one hello server", beside_one, 1.0),
        Figure("resident memory after the first call ÷ an SDK hello server", memory(folder, 5), 1.0),
        *(
            Figure(f"processor time of {name} ÷ importing the SDK", values, 0.25)
            for name, values in command_processor_time(rounds // 3).items()
        ),
        Figure(f"resident memory after {CALLS:,} calls ÷ after a tenth", [growth(folder, CALLS)], 1.02),
    ]


if __name__ == "__main__":
    with TemporaryDirectory() as name:
        print_table("Start", measure(Path(name), int(sys.argv[1]) if len(sys.argv) > 1 else ROUNDS))
