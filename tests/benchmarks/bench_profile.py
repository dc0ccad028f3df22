"""Where the processor time of a call goes: `python -m tests.benchmarks.bench_profile [--calls 3000]`.

Each server is sampled by its processor time. A sample counts for the innermost function that belongs to one of `PARTS`,
so that `h11` or `contextlib` counts for the code that called it.
"""

import argparse
import json
import runpy
import signal
import sys
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from os import getloadavg
from pathlib import Path
from tempfile import TemporaryDirectory
from types import FrameType
from typing import Protocol

import anyio

from tests.benchmarks.bench_calls import recorded, upstream
from tests.benchmarks.clients import OURS, SDK, SDK_HTTP, HttpServer, StdioServer, http_call, line, processor_call
from tests.support.stdio_client import call

CALLS = 3_000
SIZE = "2 KB"
SECONDS = 0.001  # between samples; many kernels take one in 4 ms
SAMPLE = "--sample"
PARTS = {
    "/asyncio/": "event loop",
    "/selectors.py": "event loop",
    "/anyio/": "event loop",
    "/uvicorn/": "HTTP server",
    "/starlette/": "HTTP server",
    "/httpx2/": "HTTP client",
    "/httpcore2/": "HTTP client",
    "/mcp/": "SDK",
    "/mcp_types/": "SDK",
    "/pydantic/": "validation and JSON",
    "/json/": "validation and JSON",
    "/mcp_sessions/transports/": "our transports",
    "/mcp_sessions/server/": "our call",
    "/mcp_sessions/tools/": "our call",
    "/mcp_sessions/output/": "our result",
    "/mcp_sessions/text/": "our result",
    "/mcp_sessions/": "our backend",
}
ORDER = (
    *("event loop", "HTTP server", "SDK", "validation and JSON", "HTTP client"),
    *("our transports", "our call", "our result", "our backend", "others"),
)


def part_of(frame: FrameType | None) -> str:
    while frame is not None:
        file = frame.f_code.co_filename
        if found := next((part for fragment, part in PARTS.items() if fragment in file), ""):
            return found
        frame = frame.f_back
    return "others"


def run_sampled(file: Path, command: Sequence[str]) -> None:
    """Run a Python command, and count samples from one SIGUSR1 to the next, which writes them to the file."""
    counts: Counter[str] = Counter()

    def count(_: int, frame: FrameType | None) -> None:
        counts[part_of(frame)] += 1

    def switch(*_: object) -> None:
        if signal.getitimer(signal.ITIMER_PROF)[1]:
            signal.setitimer(signal.ITIMER_PROF, 0)
            file.write_text(json.dumps(counts))
        else:
            signal.setitimer(signal.ITIMER_PROF, SECONDS, SECONDS)

    signal.signal(signal.SIGPROF, count)
    signal.signal(signal.SIGUSR1, switch)
    sys.argv = [*command[command[0] == "-m" :]]
    if command[0] == "-m":
        runpy.run_module(sys.argv[0], run_name="__main__", alter_sys=True)
    else:
        runpy.run_path(sys.argv[0], run_name="__main__")


class Started(Protocol):
    def __call__(self, folder: Path, command: Sequence[str]) -> StdioServer | HttpServer: ...


@dataclass(frozen=True)
class Profile:
    """Microseconds of processor time of a call, by part."""

    parts: dict[str, float]

    @classmethod
    def of(cls, folder: Path, start: Started, command: Sequence[str], data: bytes, calls: int) -> "Profile":
        file = folder / "samples.json"
        with start(folder, [command[0], __file__, SAMPLE, str(file), *command[1:]]) as server:
            processor_call(server, data, calls // 10)
            server.process.send_signal(signal.SIGUSR1)
            seconds = processor_call(server, data, calls)
            server.process.send_signal(signal.SIGUSR1)
            assert b'"isError":true' not in server.ask(data)
            counts: dict[str, int] = json.loads(file.read_text())
        return cls({part: count / sum(counts.values()) * seconds * 1e6 for part, count in counts.items()})


def measure(folder: Path, calls: int) -> dict[str, Profile]:
    answers, asked = anyio.run(recorded)
    with ExitStack() as stack:
        url = stack.enter_context(upstream(folder, answers))
        ours = [*OURS, "--backend", f"agentos+{url}", "--recheck", "off"]
        over_http = [*ours, "--transport", "http", "--port", "0", "--rate", "0"]
        get = {"session_id": asked[SIZE].session_id}
        fetch = {"path": asked[SIZE].path}
        servers: dict[str, tuple[Started, Sequence[str], bytes]] = {
            "ours, HTTP": (HttpServer, over_http, http_call("get_session", **get)),
            "plain, HTTP": (HttpServer, [*SDK_HTTP, url], http_call("fetch", **fetch)),
            "empty, HTTP": (HttpServer, SDK_HTTP, http_call("hello")),
            "ours, stdio": (StdioServer, ours, line(call(1, "get_session", **get))),
            "plain, stdio": (StdioServer, [*SDK, url], line(call(1, "fetch", **fetch))),
            "empty, stdio": (StdioServer, SDK, line(call(1, "hello"))),
        }
        return {name: Profile.of(folder, *server, calls) for name, server in servers.items()}


def print_profiles(folder: Path, calls: int = CALLS) -> None:
    profiles = measure(folder, calls)
    print(f"\n### Where the time of a call goes (load {getloadavg()[0]:.1f})\n")
    print(f"| µs of processor time | {' | '.join(profiles)} |\n|{' --- |' * (len(profiles) + 1)}")
    for part in ORDER:
        print(f"| {part} | {' | '.join(f'{each.parts.get(part, 0):.0f}' for each in profiles.values())} |")
    print(f"| all | {' | '.join(f'{sum(each.parts.values()):.0f}' for each in profiles.values())} |", flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--calls", type=int, default=CALLS)
    asked = parser.parse_args()
    with TemporaryDirectory() as folder:
        print_profiles(Path(folder), asked.calls)


if __name__ == "__main__":
    run_sampled(Path(sys.argv[2]), sys.argv[3:]) if sys.argv[1:2] == [SAMPLE] else main()
