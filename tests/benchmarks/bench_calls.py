"""What a call through us costs beside the same request made directly: `python -m tests.benchmarks.bench_calls`.

The upstream answers next to at once, which no system does: the ratios are the worst there can be. A plain server is
the SDK's with a tool that returns what httpx2 got.
"""

import asyncio
import json
import subprocess
import sys
from collections.abc import Generator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter

import anyio
import httpx2
from pydantic_core import to_json

from mcp_sessions import open_backend
from tests.benchmarks.clients import (
    OURS,
    SDK,
    SDK_HTTP,
    HttpServer,
    StdioServer,
    http_call,
    is_whole,
    line,
    median_call,
    processor_call,
)
from tests.benchmarks.measuring import Block, Figure, in_turns, print_table, ratios
from tests.support.fakes.agentos import FakeAgentOs
from tests.support.stdio_client import call

ROUNDS = 11
CALLS = 60  # of each way in a round
CALLERS = 64
SIZES = {"2 KB": 2_000, "200 KB": 200_000}
STDIO_GOALS = {"2 KB": 1.8, "200 KB": 2.1}
PLAIN_GOALS = {"2 KB": (0.95, 0.7), "200 KB": (0.35, 0.3)}  # over HTTP and over stdio
SENTENCE = "The second option costs a little more and leaves a whole afternoon free, so I would take that one. "


@dataclass(frozen=True)
class Asked:
    """A session on the upstream whose answer has this many bytes."""

    session_id: str
    size: int

    @property
    def path(self) -> str:
        return f"/sessions/{self.session_id}"


async def recorded() -> tuple[dict[str, str], dict[str, Asked]]:
    """Return AgentOS's answers to all requests about two sessions, by target, and these sessions, by size."""
    async with FakeAgentOs() as fake, httpx2.AsyncClient(base_url=fake.url, trust_env=False, verify=False) as http:
        asked: dict[str, Asked] = {}
        for name, size in SIZES.items():
            turns = size // 810
            runs = [
                [{"role": "user", "text": "What do you suggest?"}, {"role": "assistant", "text": SENTENCE * 5}]
                for _ in range(turns)
            ]
            (session_id,) = fake.seed({"name": name, "type": "agent", "component_id": "planner", "runs": runs})
            answer = await http.get(f"/sessions/{session_id}")
            asked[name] = Asked(session_id, len(answer.content))
        with TemporaryDirectory() as folder:
            async with open_backend(f"agentos+{fake.url}", data_folder=folder) as backend:
                for each in asked.values():
                    await backend.get_session(each.session_id)
        targets = {request.target for request in fake.requests if request.method == "GET"}
        return {target: (await http.get(target)).text for target in sorted(targets)}, asked


@contextmanager
def upstream(folder: Path, answers: dict[str, str]) -> Generator[str]:
    """Yield the URL of a running upstream server."""
    file = folder / "answers.json"
    file.write_bytes(to_json(answers))
    command = [sys.executable, str(Path(__file__).with_name("upstream.py")), str(file)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        yield f"http://127.0.0.1:{int(process.stdout.readline())}"
        process.communicate()


@dataclass(frozen=True)
class Direct:
    """The same request by httpx2, whose connections stay open."""

    runner: asyncio.Runner
    http: httpx2.AsyncClient
    asked: Asked

    @classmethod
    @contextmanager
    def of(cls, url: str, asked: Asked) -> Generator["Direct"]:
        with asyncio.Runner() as runner:
            limits = httpx2.Limits(max_connections=CALLERS, max_keepalive_connections=CALLERS)
            http = httpx2.AsyncClient(base_url=url, trust_env=False, verify=False, limits=limits, timeout=60)
            yield cls(runner, http, asked)
            runner.run(http.aclose())

    async def get(self) -> None:
        answer = await self.http.get(self.asked.path)
        assert len(answer.content) == self.asked.size

    def median(self, calls: int, *, rest: float = 0) -> float:
        async def block() -> list[float]:
            taken: list[float] = []
            for _ in range(calls):
                await asyncio.sleep(rest)
                began = perf_counter()
                await self.get()
                taken.append(perf_counter() - began)
            return taken

        return sorted(self.runner.run(block()))[calls // 2]

    def median_rested(self, calls: int) -> float:
        """Return the median of calls with other work between them, as in a server."""
        return self.median(calls, rest=0.0007)

    def at_once(self, calls: int) -> float:
        """Return the seconds per call of many callers at once."""

        async def block() -> float:
            async def caller() -> None:
                for _ in range(calls // CALLERS):
                    await self.get()

            began = perf_counter()
            async with anyio.create_task_group() as tasks:
                for _ in range(CALLERS):
                    tasks.start_soon(caller)
            return (perf_counter() - began) / (calls // CALLERS * CALLERS)

        return self.runner.run(block())


def posts_at_once(server: HttpServer, data: bytes, calls: int) -> float:
    """Return the seconds per call of many callers, each on a connection of its own."""

    async def block() -> float:
        connections = [await asyncio.open_connection(*server.address, limit=1 << 22) for _ in range(CALLERS)]

        async def caller(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            for _ in range(calls // CALLERS):
                writer.write(data)
                answer = b""
                while not is_whole(answer):
                    answer += await reader.read(1 << 20)
                assert b'"isError":true' not in answer
                assert answer.startswith(b"HTTP/1.1 200"), answer

        began = perf_counter()
        async with asyncio.TaskGroup() as tasks:
            for reader, writer in connections:
                tasks.create_task(caller(reader, writer))
        seconds = (perf_counter() - began) / (calls // CALLERS * CALLERS)
        for _, writer in connections:
            writer.close()
            await writer.wait_closed()
        return seconds

    return asyncio.run(block())


@contextmanager
def servers(folder: Path, url: str, asked: Asked) -> Generator[tuple[dict[str, Block], dict[str, Block]]]:
    """Start our server and a plain one over HTTP and stdio. Yield single calls, and calls at once over HTTP."""
    backend = ("--backend", f"agentos+{url}", "--recheck", "off")
    over_http = [*OURS, *backend, "--transport", "http", "--port", "0", "--rate", "0", "--max-concurrent", "1000"]
    posted = http_call("get_session", session_id=asked.session_id)
    piped = line(call(1, "get_session", session_id=asked.session_id))
    fetched = http_call("fetch", path=asked.path)
    with (
        HttpServer(folder, over_http) as http,
        StdioServer(folder, [*OURS, *backend]) as stdio,
        HttpServer(folder, [*SDK_HTTP, url]) as plain_http,
        StdioServer(folder, [*SDK, url]) as plain_stdio,
    ):
        single: dict[str, Block] = {
            "http": partial(median_call, http, posted, 300),
            "stdio": partial(median_call, stdio, piped, 300),
            "plain http": partial(median_call, plain_http, fetched, 300),
            "plain stdio": partial(median_call, plain_stdio, line(call(1, "fetch", path=asked.path)), 300),
        }
        at_once: dict[str, Block] = {
            "http": partial(posts_at_once, http, posted),
            "plain http": partial(posts_at_once, plain_http, fetched),
        }
        yield single, at_once


def ratios_to_a_plain_server(folder: Path, url: str, asked: Asked, rounds: int, calls: int) -> dict[str, list[float]]:
    """Return what a call takes through our server ÷ through a plain one, for each transport."""
    with servers(folder, url, asked) as (single, _):
        taken = in_turns(single, rounds=rounds, calls=calls)
    return {way: ratios(taken, way, f"plain {way}") for way in ("http", "stdio")}


def call_figures(folder: Path, url: str, asked: Asked, size: str) -> list[Figure]:
    with Direct.of(url, asked) as direct, servers(folder, url, asked) as (single, at_once):
        alone: dict[str, Block] = {"direct": direct.median, "rested": direct.median_rested}
        latency = in_turns(alone | single, rounds=ROUNDS, calls=CALLS)
        throughput = in_turns({"direct": direct.at_once} | at_once, rounds=ROUNDS, calls=4 * CALLERS)
    return [
        Figure(f"HTTP call ÷ direct, {size}", ratios(latency, "http", "direct"), 2.0),
        Figure(f"stdio call ÷ direct, {size}", ratios(latency, "stdio", "direct"), STDIO_GOALS[size]),
        Figure(
            f"calls a second of {CALLERS} callers ÷ direct, {size}", ratios(throughput, "direct", "http"), 0.6, True
        ),
        Figure(f"the same of a plain server, {size}", ratios(throughput, "direct", "plain http")),
        Figure(f"HTTP call ÷ a plain server's, {size}", ratios(latency, "http", "plain http"), PLAIN_GOALS[size][0]),
        Figure(f"stdio call ÷ a plain server's, {size}", ratios(latency, "stdio", "plain stdio"), PLAIN_GOALS[size][1]),
        Figure(f"a plain server's HTTP call ÷ direct, {size}", ratios(latency, "plain http", "direct")),
        Figure(f"a plain server's stdio call ÷ direct, {size}", ratios(latency, "plain stdio", "direct")),
        Figure(f"the direct request after a rest ÷ without one, {size}", ratios(latency, "rested", "direct")),
    ]


def own_figures(folder: Path) -> list[Figure]:
    """Measure calls on the embedded store. It takes little time, so the rest is spent in this package and the SDK."""
    asked = {"session_id": "current"}
    with ExitStack() as stack:
        maker = stack.enter_context(StdioServer(folder, OURS))
        made = json.loads(maker.ask(line(call(1, "create_session", name="Trip to Rome"))))["result"]
        ours = [*OURS, "--session", made["structuredContent"]["id"]]
        http = stack.enter_context(HttpServer(folder, [*ours, "--transport", "http", "--port", "0", "--rate", "0"]))
        stdio = stack.enter_context(StdioServer(folder, ours))
        empty_http = stack.enter_context(HttpServer(folder, SDK_HTTP))
        empty_stdio = stack.enter_context(StdioServer(folder, SDK))
        taken = in_turns(
            {
                "http": partial(processor_call, http, http_call("get_session", **asked)),
                "stdio": partial(processor_call, stdio, line(call(1, "get_session", **asked))),
                "empty http": partial(processor_call, empty_http, http_call("hello")),
                "empty stdio": partial(processor_call, empty_stdio, line(call(1, "hello"))),
            },
            rounds=ROUNDS,
            calls=CALLS,
        )
    return [
        Figure(
            f"processor time of get_session over {way} ÷ the SDK's empty tool", ratios(taken, key, f"empty {key}"), 1.15
        )
        for way, key in (("HTTP", "http"), ("stdio", "stdio"))
    ]


def main() -> None:
    answers, asked = anyio.run(recorded)
    with TemporaryDirectory() as name, upstream(Path(name), answers) as url:
        for size, each in asked.items():
            print_table(f"Calls, an answer of {each.size:,} bytes", call_figures(Path(name), url, each, size))
        print_table("What is ours of a call", own_figures(Path(name)))


if __name__ == "__main__":
    main()
