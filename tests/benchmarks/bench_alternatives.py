"""Our tools beside other programs that read the same files, and our start beside other MCP servers.

python -m tests.benchmarks.bench_alternatives [--sessions 2000]

The programs are in the folder that MCP_SESSIONS_PEERS names (docs/benchmarks.md says how to install them). A call of
ours is a whole call of a tool over stdio. Claude's Agent SDK is a library, so its part is a call of a function.
"""

import argparse
import json
import os
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from functools import partial
from itertools import count
from pathlib import Path
from tempfile import TemporaryDirectory
from time import perf_counter
from typing import Any, Self

from tests.benchmarks.bench_claude_code import PAGE, SESSIONS, write_long_session, write_sessions
from tests.benchmarks.bench_codex import write_long_thread, write_threads
from tests.benchmarks.bench_start import seconds_to
from tests.benchmarks.clients import OURS, StdioServer, line
from tests.benchmarks.measuring import Block, Figure, in_turns, print_table, ratios
from tests.support.stdio_client import call

VARIABLE = "MCP_SESSIONS_PEERS"
ROUNDS = 9
CALLS = 5
LONG_MEGABYTES = 20
SERVERS = {
    "mcp-server-time": "bin/mcp-server-time",
    "mcp-server-fetch": "bin/mcp-server-fetch",
    "server-memory (Node)": "node_modules/.bin/mcp-server-memory",
}

Ask = Callable[[], object]


class Program:
    """A process that answers lines with lines. Lines without an answer's mark are skipped."""

    def __init__(self, command: Sequence[str], variables: Mapping[str, str], mark: bytes) -> None:
        pipe = subprocess.PIPE
        env = {**os.environ, **variables}
        self.process = subprocess.Popen(command, stdin=pipe, stdout=pipe, stderr=subprocess.DEVNULL, env=env)
        self._mark = mark

    def read(self) -> bytes:
        assert self.process.stdout is not None
        while self._mark not in (answer := self.process.stdout.readline()):
            assert answer, "the program ended"
        return answer

    def ask(self, message: object) -> bytes:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(message).encode() + b"\n")
        self.process.stdin.flush()
        return self.read()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        self.process.stdin.close()
        self.process.wait(30)
        self.process.stdout.close()


def seconds_of(ask: Ask) -> Block:
    def block(calls: int) -> float:
        began = perf_counter()
        for _ in range(calls):
            ask()
        return (perf_counter() - began) / calls

    return block


def our_call(server: StdioServer, tool: str, **arguments: Any) -> Ask:
    """Return a call. "{}" in a name becomes a number that is new in each call."""
    numbers = count()

    def ask() -> None:
        values = {
            key: value.replace("{}", str(next(numbers))) if key == "name" else value for key, value in arguments.items()
        }
        answer = server.ask(line(call(1, tool, **values)))
        assert b'"isError":false' in answer, answer

    return ask


def compare(name: str, ours: Ask, theirs: Ask, goal: float = 1.0) -> Figure:
    taken = in_turns({"ours": seconds_of(ours), "theirs": seconds_of(theirs)}, rounds=ROUNDS, calls=CALLS)
    return Figure(name, ratios(taken, "ours", "theirs"), goal)


def claude_figures(peers: Path, root: Path, sessions: int) -> list[Figure]:
    """Compare the tools with the functions of Claude's Agent SDK that read and change the same files."""
    write_sessions(root, sessions)
    long = write_long_session(root, LONG_MEGABYTES)
    one = next(path.stem for path in sorted((root / "projects").glob("*/*.jsonl")) if path.stem != long)
    command = [str(peers / "bin/python"), str(Path(__file__).with_name("claude_sdk.py"))]
    with ExitStack() as stack:
        ours = stack.enter_context(StdioServer(root, [*OURS, "--backend", f"claude-code://{root}"]))
        sdk = stack.enter_context(Program(command, {"CLAUDE_CONFIG_DIR": str(root)}, b"\n"))
        assert sdk.read() == b"ready\n"
        assert sdk.ask(["list_sessions", {"limit": PAGE}]) == b"%d\n" % PAGE
        numbers = count()

        def theirs(function: str, **arguments: object) -> Ask:
            return lambda: sdk.ask([function, arguments])

        def rename() -> None:
            sdk.ask(["rename_session", {"session_id": one, "title": f"their name {next(numbers)}"}])

        peer = "÷ claude-agent-sdk"
        history = partial(our_call, ours, "get_session_history", limit=PAGE)
        messages = partial(theirs, "get_session_messages", limit=PAGE)
        return [
            compare(
                f"list of {PAGE} of {sessions:,} {peer}",
                our_call(ours, "list_sessions", limit=PAGE),
                theirs("list_sessions", limit=PAGE),
            ),
            compare(f"history page {peer}", history(session_id=one), messages(session_id=one)),
            compare(f"history page of {LONG_MEGABYTES} MB {peer}", history(session_id=long), messages(session_id=long)),
            compare(f"rename {peer}", our_call(ours, "rename_session", session_id=one, name="our name {}"), rename),
        ]


def codex_figures(peers: Path, home: Path, threads: int) -> list[Figure]:
    """Compare the tools with `codex app-server` on the same files."""
    write_threads(home, threads, for_codex=True)
    long = write_long_thread(home, LONG_MEGABYTES, legacy=True)
    command = [str(peers / "node_modules/.bin/codex"), "app-server"]
    with ExitStack() as stack:
        app = stack.enter_context(Program(command, {"CODEX_HOME": str(home)}, b'"id":'))

        def request(method: str, **params: object) -> Callable[[], bytes]:
            def ask() -> bytes:
                answer = app.ask({"id": 1, "method": method, "params": params})
                assert b'"result"' in answer, answer
                return answer

            return ask

        request("initialize", clientInfo={"name": "benchmark", "title": "benchmark", "version": "1"})()
        listed = json.loads(request("thread/list", limit=PAGE)())["result"]["data"]
        assert len(listed) == PAGE
        one = next(thread["id"] for thread in listed if thread["id"] != long)
        ours = stack.enter_context(StdioServer(home, [*OURS, "--backend", f"codex://{home}"]))
        peer = "÷ codex app-server"
        history = partial(our_call, ours, "get_session_history", limit=PAGE)
        return [
            compare(
                f"list of {PAGE} of {threads:,} {peer}",
                our_call(ours, "list_sessions", limit=PAGE),
                request("thread/list", limit=PAGE),
            ),
            compare(
                f"history page {peer}", history(session_id=one), request("thread/turns/list", threadId=one, limit=PAGE)
            ),
            compare(
                f"history page of {LONG_MEGABYTES} MB {peer}",
                history(session_id=long),
                request("thread/turns/list", threadId=long, limit=PAGE),
            ),
        ]


def start_figures(peers: Path, folder: Path, rounds: int = ROUNDS) -> list[Figure]:
    """Compare the time to the answer to `tools/list` with that of other MCP servers."""
    commands: dict[str, Sequence[str]] = {name: [str(peers / program)] for name, program in SERVERS.items()}
    commands["ours"] = OURS
    taken = in_turns(
        {name: partial(_start, command, folder) for name, command in commands.items()}, rounds=rounds, calls=1
    )
    return [Figure(f"start to tools/list ÷ {name}", ratios(taken, "ours", name), 0.5) for name in SERVERS]


def _start(command: Sequence[str], folder: Path, _: int) -> float:
    return seconds_to(2, command, folder)


def measure(peers: Path, sessions: int) -> list[Figure]:
    with TemporaryDirectory() as claude, TemporaryDirectory() as codex, TemporaryDirectory() as start:
        return [
            *claude_figures(peers, Path(claude), sessions),
            *codex_figures(peers, Path(codex), sessions),
            *start_figures(peers, Path(start)),
        ]


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--sessions", type=int, default=SESSIONS)
    asked = parser.parse_args()
    if VARIABLE not in os.environ:
        sys.exit(
            f"{VARIABLE} must name the folder of the programs to compare with. docs/benchmarks.md says how to make it."
        )
    print_table("Beside other programs", measure(Path(os.environ[VARIABLE]), asked.sessions))


if __name__ == "__main__":
    main()
