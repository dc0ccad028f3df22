"""How the stdio runner shuts down, and how it serves if stdin and stdout are not pipes."""

import json
import os
import signal
import socket
import subprocess
import tty
from pathlib import Path

import anyio
import pytest

from mcp_sessions.transports.stdio.calls_in_flight import CHANGE_STOPPED, READ_STOPPED

from ..benchmarks.bench_stdio import Server
from ..support import stdio_client
from ..support.stdio_client import Peer, call, command, initialize, modern, request, serving, text_of


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


async def begin_change(peer: Peer, request_id: str, seconds: float) -> None:
    change = call(request_id, "slow_change", seconds=seconds)
    change["params"]["_meta"] = {"progressToken": request_id}
    await peer.send(change)
    assert (await peer.receive())["method"] == "notifications/progress"


async def stop(peer: Peer, how: str) -> None:
    if how == "EOF":
        await peer.stdin.aclose()
    else:
        peer.process.send_signal(getattr(signal, how))


@pytest.mark.parametrize("how", ["EOF", "SIGTERM", "SIGINT"])
async def test_at_shutdown_reads_are_cancelled_and_changes_finish(how: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await peer.send(call("read", "slow_look"), modern("listen", "subscriptions/listen", notifications={}))
        assert (await peer.receive())["method"] == "notifications/subscriptions/acknowledged"
        await begin_change(peer, "change", 0.5)
        await stop(peer, how)
        *stopped, change = await peer.rest()
        assert {frame["id"]: frame.get("error", {}).get("code") for frame in stopped} == {
            "read": None,
            "listen": -32000,
        }
        assert text_of(next(frame for frame in stopped if frame["id"] == "read")) == READ_STOPPED
        assert text_of(change) == "changed"
        assert (tmp_path / "marker").read_text() == "done"
        assert "Traceback" not in peer.errors.read_text()


@pytest.mark.slow
async def test_the_outcome_of_a_change_too_slow_for_the_shutdown_is_unknown(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await begin_change(peer, "change", 60)
        await stop(peer, "EOF")
        await stop(peer, "SIGTERM")
        assert [text_of(frame) for frame in await peer.rest()] == [CHANGE_STOPPED]
        assert not (tmp_path / "marker").exists()


@pytest.mark.timing
async def test_a_call_that_waits_for_the_client_ends_when_stdin_is_closed(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await peer.send(call(1, "confirmed_change"))
        assert (await peer.receive())["method"] == "elicitation/create"
        await peer.stdin.aclose()
        with anyio.fail_after(4):
            assert [frame["id"] for frame in await peer.rest()] == [1]


@pytest.mark.slow
def test_a_change_finishes_even_if_the_client_stops_reading(tmp_path: Path) -> None:
    errors = tmp_path / "stderr"
    with errors.open("wb") as stderr, Server("ours", tmp_path / "marker", stderr=stderr) as server:
        change = call(1, "slow_change", seconds=0.3)
        change["params"]["_meta"] = {"progressToken": "p"}
        assert server.ask(change)["method"] == "notifications/progress"
        server.stdout.close()
        server.stdin.close()
        assert server.process.wait(stdio_client.DEADLINE) == 0
    assert (tmp_path / "marker").read_text() == "done"
    assert errors.read_text() == ""


@pytest.mark.slow
def test_a_server_whose_stdout_is_closed_ends() -> None:
    with Server("ours") as server:
        server.stdout.close()
        server.write(call(1, "look"))
        assert server.process.wait(stdio_client.DEADLINE) == 0


async def test_sigterm_during_the_start_ends_the_server(tmp_path: Path) -> None:
    async with serving(tmp_path, "slow_start") as peer:
        await peer.marked()
        peer.process.terminate()


@pytest.mark.slow
async def test_requests_from_a_file_are_served_by_the_sdks_runner(tmp_path: Path) -> None:
    requests = tmp_path / "requests"
    requests.write_text('{"jsonrpc":"2.0","id":1,"method":"server/discover"}\n')
    with requests.open() as stdin:
        ended = await anyio.run_process(command("ours"), stdin=stdin, env=stdio_client.ENVIRONMENT)
    assert b'"id":1' in ended.stdout


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["pipe", "file"])
async def test_piped_requests_are_served_before_the_shutdown(kind: str, tmp_path: Path) -> None:
    lines = "\n".join(json.dumps(frame) for frame in (initialize(1), request(2, "tools/list")))
    answers = tmp_path / "answers"
    redirected = ["/bin/sh", "-c", 'exec "$@" >"$0"' if kind == "file" else 'exec "$@" | cat >"$0"']
    await anyio.run_process(
        [*redirected, str(answers), *command("ours")], input=lines.encode(), env=stdio_client.ENVIRONMENT
    )
    assert ["result" in json.loads(line) for line in answers.read_text().splitlines()] == [True, True]


@pytest.mark.slow
async def test_without_stderr_stray_output_is_kept_off_stdout() -> None:
    lines = "\n".join(json.dumps(frame) for frame in (initialize(1), call(2, "noisy_change")))
    closed = ["/bin/sh", "-c", 'exec "$@" 2>&-', "sh", *command("ours")]
    ended = await anyio.run_process(closed, input=lines.encode(), env=stdio_client.ENVIRONMENT)
    assert [json.loads(line)["id"] for line in ended.stdout.splitlines()] == [1, 2]


@pytest.mark.slow
async def test_without_input_the_server_ends() -> None:
    ended = await anyio.run_process(command("ours"), stdin=subprocess.DEVNULL, env=stdio_client.ENVIRONMENT)
    assert ended.stdout == b""


@pytest.mark.parametrize("mode", ["trio", "thread"])
async def test_the_server_runs_on_other_event_loops_and_in_threads(mode: str, tmp_path: Path) -> None:
    async with serving(tmp_path, mode) as peer:
        await peer.start()
        await peer.works(request)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["socket", "terminal"])
async def test_the_server_runs_over_sockets_and_terminals(kind: str) -> None:
    if kind == "socket":
        ours, theirs = socket.socketpair()
        near, far = ours.detach(), theirs.detach()
    else:
        near, far = os.openpty()
        tty.setraw(far)
    environment = stdio_client.ENVIRONMENT
    process = await anyio.open_process(command("ours"), stdin=far, stdout=far, stderr=None, env=environment)
    os.close(far)
    try:
        os.write(near, b'{"jsonrpc":"2.0","id":1,"method":"ping"}\n[]\n')
        with anyio.fail_after(60):
            lines = b""
            while lines.count(b"\n") < 2:
                await anyio.wait_readable(near)
                lines += os.read(near, 65536)
            assert b"batches" in lines
            os.write(near, b"[]\n")
            await anyio.wait_readable(near)
            os.close(near)
            assert await process.wait() == 0
    finally:
        if process.returncode is None:
            process.kill()
        await process.aclose()
