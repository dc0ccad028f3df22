"""Our tools beside those of AgentOS's own MCP server, over HTTP, on the same sessions of the same AgentOS.

MCP_SESSIONS_AGENTOS=FOLDER python -m tests.benchmarks.bench_peer

The peer works inside AgentOS; ours is a process of its own that asks it over HTTP once more.
"""

import json
from collections.abc import Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import anyio

from tests.benchmarks.agentos_seeds import stored_sessions
from tests.benchmarks.clients import OURS, Connection, HttpServer, http_call, median_call, post
from tests.benchmarks.measuring import Figure, in_turns, print_table, ratios
from tests.support.servers.agentos_process import AgentOs, Version, running
from tests.support.stdio_client import call, initialize, notification

ROUNDS = 11
CALLS = 10
SESSIONS = 300
ERA = "2025-11-25"


@dataclass(frozen=True)
class Work:
    """The same work in both servers' words; an answer has at least so many bytes."""

    name: str
    ours: tuple[str, dict[str, Any]]
    theirs: tuple[str, dict[str, Any]]
    least: int = 200


class Peer(Connection):
    """AgentOS's own MCP server, which wants a session of the protocol's."""

    def __init__(self, server: AgentOs) -> None:
        super().__init__("127.0.0.1", server.port)
        self._headers = {"MCP-Protocol-Version": ERA}
        head, _, _ = self.ask(post(initialize(0), self._headers)).lower().partition(b"\r\n\r\n")
        fields = dict(line.split(b": ", 1) for line in head.split(b"\r\n")[1:])
        self._headers["Mcp-Session-Id"] = fields[b"mcp-session-id"].decode()
        self.ask(post(notification("notifications/initialized"), self._headers))

    def request(self, tool: str, arguments: dict[str, Any]) -> bytes:
        return post(call(1, tool, **arguments), self._headers)


def work_of(version: Version, sessions: Sequence[str]) -> list[Work]:
    """Return the calls to measure: on 3.1.10 only reads. On 2.5.6, each server changes a session of its own."""
    one, other = sessions[0], sessions[1]
    if version == "3.1.10":
        runs = ("get_session_runs", {"session_id": one})
        newest = {"limit": 20, "sort_by": "updated_at"}
        return [
            Work("list of 20", ("list_sessions", {"limit": 20, "type": "agent"}), ("get_sessions", newest)),
            Work("history", ("get_session_history", {"session_id": one}), runs),
        ]
    db = {"db_id": "main"}
    new = {"session_name": "A new name"}
    return [
        Work("get", ("get_session", {"session_id": one}), ("get_session", {"session_id": one, **db})),
        Work(
            "rename",
            ("rename_session", {"session_id": one, "name": "A new name"}),
            ("rename_session", {"session_id": other, **new, **db}),
        ),
        Work(
            "state",
            ("update_session_state", {"session_id": one, "changes": {"step": 3}}),
            ("update_session", {"session_id": other, "session_state": {"step": 3}, **db}),
        ),
    ]


def measure(folder: Path, version: Version) -> list[Figure]:
    server = running(version, "--mcp")
    sessions = list(stored_sessions(SESSIONS))
    anyio.run(server.clear)
    anyio.run(partial(server.seed, *sessions))
    agents = [session["session_id"] for session in sessions if session["type"] == "agent"]
    ours = [*OURS, "--transport", "http", "--port", "0", "--rate", "0", "--backend", server.backend_url]
    figures: list[Figure] = []
    with ExitStack() as stack:
        proxy = stack.enter_context(HttpServer(folder, [*ours, "--recheck", "off"]))
        peer = stack.enter_context(Peer(server))
        for work in work_of(version, agents):
            tool, arguments = work.ours
            taken = in_turns(
                {
                    "ours": partial(median_call, proxy, http_call(tool, **arguments), work.least),
                    "theirs": partial(median_call, peer, peer.request(*work.theirs), work.least),
                },
                rounds=ROUNDS,
                calls=CALLS,
            )
            print(json.dumps({name: round(sorted(each)[ROUNDS // 2] * 1000, 2) for name, each in taken.items()}))
            figures.append(Figure(f"{work.name} ÷ AgentOS's own, {version}", ratios(taken, "ours", "theirs"), 1.0))
    return figures


def main() -> None:
    with TemporaryDirectory() as name:
        figures = [figure for version in ("3.1.10", "2.5.6") for figure in measure(Path(name), version)]
    print_table("Beside AgentOS's own MCP server", figures)


if __name__ == "__main__":
    main()
