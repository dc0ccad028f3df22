"""The stdio runner over real pipes: how clients start it, and its limits."""

from pathlib import Path
from typing import Any

import anyio
import pytest

from mcp_sessions.transports.stdio.calls_in_flight import BUSY, MAX_IN_FLIGHT

from ..benchmarks.bench_stdio import latency_ratio
from ..support.stdio_client import (
    DEADLINE,
    ENVELOPE,
    Frame,
    call,
    initialize,
    modern,
    notification,
    request,
    serving,
    text_of,
)

INITIALIZED = notification("notifications/initialized")
ROOTS_CHANGED = notification("notifications/roots/list_changed")
DISCOVER = modern(0, "server/discover")
OLD_ENVELOPE = {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2025-11-25"}

# What clients send before they list tools; each list is sent at once, and all its answers awaited before the
# next. Recorded in github/copilot-cli#4525, #4888 and #4370, anthropics/claude-code#96183 and #59835,
# openai/tunnel-client#45, 7xuanlu/wenlan#761.
STARTS: dict[str, list[list[Frame]]] = {
    "claude code": [[initialize(0)], [INITIALIZED]],
    "claude code without initialized": [[initialize(0)]],
    "claude code after a probe": [[DISCOVER], [initialize(1)], [INITIALIZED]],
    "copilot, probe not answered in time": [[DISCOVER, initialize(1)], [INITIALIZED]],
    "copilot, probe answered": [[DISCOVER], [initialize(1, "2025-06-18")], [INITIALIZED]],
    "bare probe": [[request(0, "server/discover")], [initialize(1)], [INITIALIZED]],
    "antigravity": [[DISCOVER, ROOTS_CHANGED, initialize(2)], [INITIALIZED]],
    "openai tunnel": [[modern("openai-mcp-discover", "server/discover")], [initialize(1)], [initialize(2)]],
    "openai tunnel, pipelined": [[modern("d", "server/discover"), initialize(1), initialize(2)]],
    "several probes": [[DISCOVER, modern(1, "server/discover")], [DISCOVER, initialize(2)]],
    "initialize twice": [[initialize(0, "2024-11-05")], [INITIALIZED], [initialize(1)], [INITIALIZED]],
    "late probe": [[initialize(0)], [INITIALIZED], [modern(1, "server/discover")]],
    "modern": [[DISCOVER]],
    "modern without a probe": [],
}


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.parametrize("start", STARTS)
async def test_every_recorded_start_ends_in_a_working_connection(start: str, tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        for batch in STARTS[start]:
            await peer.send(*batch)
            awaited = {frame["id"] for frame in batch if "id" in frame}
            while awaited:
                answer = await peer.receive()
                assert "result" in answer or start == "bare probe"
                awaited.remove(answer["id"])
        if not start.startswith("modern"):
            await peer.works(request)
        await peer.works(modern)


async def test_calls_sent_together_with_initialize_get_responses(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.send(initialize(0), INITIALIZED, request(1, "tools/list"), call(2, "look"))
        answers = [await peer.receive() for _ in range(3)]
        assert [answer["id"] for answer in answers if "result" in answer] == [0, 1, 2]


async def test_each_request_is_served_in_the_era_it_names(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        named = modern("named", "tools/list")
        assert (await peer.ask(named))["result"]["resultType"] == "complete"
        named["params"]["_meta"] = OLD_ENVELOPE
        assert "resultType" not in (await peer.ask(named))["result"]
        named["params"]["_meta"] = {**ENVELOPE, "io.modelcontextprotocol/protocolVersion": "2099-01-01"}
        assert (await peer.ask(named))["error"]["code"] == -32022


async def test_a_call_before_any_handshake_is_refused_and_the_handshake_still_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        assert (await peer.ask(call(1, "look")))["error"]["code"] == -32602
        await peer.start()
        await peer.works(request)


async def test_clients_of_both_eras_are_asked_for_confirmation(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await peer.send(call(1, "confirmed_change"))
        question = await peer.receive()
        assert question["method"] == "elicitation/create"
        reply = {"action": "accept", "content": {"sure": True}}
        await peer.send({"jsonrpc": "2.0", "id": question["id"], "result": reply})
        assert text_of(await peer.answer(1)) == "confirmed"
        params: dict[str, Any] = {"name": "confirmed_change", "arguments": {}}
        asked = (await peer.ask(modern(2, "tools/call", **params)))["result"]
        assert asked["resultType"] == "input_required"
        params["inputResponses"] = dict.fromkeys(asked["inputRequests"], reply)
        params["requestState"] = asked["requestState"]
        assert text_of(await peer.ask(modern(3, "tools/call", **params))) == "confirmed"


async def test_progress_and_subscriptions_reach_a_client_of_the_newer_era(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        change = modern(1, "tools/call", name="slow_change", arguments={"seconds": 0})
        change["params"]["_meta"] = {**ENVELOPE, "progressToken": "p"}
        await peer.send(change)
        assert (await peer.receive())["params"]["progressToken"] == "p"
        await peer.answer(1)
        await peer.send(modern(2, "subscriptions/listen", notifications={"toolsListChanged": True}))
        assert (await peer.receive())["method"] == "notifications/subscriptions/acknowledged"


async def test_a_call_beyond_64_in_flight_is_refused_at_once(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await peer.send(*(call(number, "slow_look") for number in range(MAX_IN_FLIGHT)))
        answer = await peer.ask(call("one more", "look"))
        assert answer["result"]["isError"]
        assert text_of(answer) == BUSY
        assert BUSY == "busy: too many concurrent calls on this server (64). Try again in 1 second."
        assert (await peer.ask(request("list", "tools/list")))["error"] == {"code": -32000, "message": BUSY}
        await peer.send(notification("notifications/cancelled", requestId=7))
        while text_of(await peer.ask(call("again", "running_look"))) == BUSY:
            pass
        assert text_of(await peer.ask(call("again", "running_look"))) == str(MAX_IN_FLIGHT - 1)


async def test_many_quick_calls_sent_together_all_get_responses(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await peer.send(*(call(number, "look") for number in range(5 * MAX_IN_FLIGHT)))
        answers = [await peer.receive() for _ in range(5 * MAX_IN_FLIGHT)]
        assert {text_of(answer) for answer in answers} == {"seen"}


async def test_a_cancelled_call_ends_the_tool_and_gets_no_response(tmp_path: Path) -> None:
    async def until_running(number: str) -> None:
        while text_of(await peer.ask(call("count", "running_look"))) != number:
            pass

    async with serving(tmp_path) as peer:
        await peer.start()
        for make in (request, modern):
            await peer.send(make("slow", "tools/call", name="slow_look", arguments={}))
            with anyio.fail_after(DEADLINE):
                await until_running("1")
                await peer.send(notification("notifications/cancelled", requestId="slow"))
                await until_running("0")
        await peer.stdin.aclose()
        await peer.rest()
        assert "slow" not in [frame.get("id") for frame in peer.received]


async def test_stray_output_goes_to_stderr_and_children_cannot_read_stdin(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        assert text_of(await peer.ask(call(1, "noisy_change"))) == "child ended with 0"
        await peer.works(request)
        await peer.stdin.aclose()
        assert await peer.rest() == []
        errors = peer.errors.read_text()
        assert all(f"stray {source}\n" in errors for source in ("print", "write", "child"))


async def test_a_result_that_cannot_be_written_is_an_error_without_its_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        assert (await peer.ask(call(1, "unwritable_look")))["error"]["message"] == "Internal server error"


async def test_a_handler_that_fails_is_an_error_without_its_text(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        for make in (request, modern):
            error = (await peer.ask(make(1, "test/fail")))["error"]
            assert error == {"code": -32603, "message": "Internal server error"}
        assert "a secret" in peer.errors.read_text()


@pytest.mark.timing
def test_a_call_is_faster_than_over_the_sdks_runner() -> None:
    assert latency_ratio(rounds=5, calls=60) < 0.9
