"""The stdio runner with input that is malformed, endless or left without a response."""

import json
import random
from collections import Counter
from pathlib import Path

import anyio
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from mcp.types import JSONRPCError

from mcp_sessions.transports.frames import MAX_LINE, LineSplitter, LongLine, Refusal, read_frame

from ..support.stdio_client import DEADLINE, Peer, call, command, request, serving, text_of
from ..support.stdio_mutations import DEEP, FRAMES, expected, mutated

PARSE_ERROR, INVALID_REQUEST = -32700, -32600
DEEPER = b'{"a":' * 100_000 + b"1" + b"}" * 100_000
MEMBERS = b'"method":"tools/call","jsonrpc":"2.0"'
CALL = b'{"jsonrpc":"2.0","id":"x","method":"tools/call","params":{"name":"look","arguments":{"text":%s}}}'
OTHER = b'{"method":"tools/list","params":{"cursor":%s},"jsonrpc":"2.0","id":"x"}'
REPLY = b'{"jsonrpc":"2.0","id":"x","result":{"content":%s}}'

# Each line, the id it is answered under, and the code.
MALFORMED: list[tuple[bytes, object, int]] = [
    (b"not json", None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"tools/list"', None, PARSE_ERROR),
    (b'\xef\xbb\xbf{"jsonrpc":"2.0","id":1,"method":"tools/list"}', None, PARSE_ERROR),
    (b'{"jsonrpc":"2.0","id":1,"method":"\x01"}', None, PARSE_ERROR),
    (b"[]", None, INVALID_REQUEST),
    (b'[{"jsonrpc":"2.0","id":1,"method":"tools/list"}]', None, INVALID_REQUEST),
    (b"17", None, INVALID_REQUEST),
    (b'{"id":"x","method":"tools/list"}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"1.0","id":"x","method":"tools/list"}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"x"}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"x","params":{}}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"x","method":7}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"x","method":7,"result":{}}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"x","method":"tools/list","params":[]}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"x","method":"ping","error":{"code":1,"message":""}}', "x", INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":null,"method":"tools/list"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1.5,"method":"tools/list"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1.0,"method":"tools/list"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":true,"method":"tools/list"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":{},"method":"tools/list"}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","method":"notifications/initialized","params":7}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":1,"result":7}', None, INVALID_REQUEST),
    (b'{"jsonrpc":"2.0","id":"\\ud800","method":"tools/list"}', "\ud800", INVALID_REQUEST),
    (OTHER % b'"\\udc00"', "x", INVALID_REQUEST),
    (OTHER % b'"\xff"', "x", INVALID_REQUEST),
    (OTHER % DEEP, "x", INVALID_REQUEST),
    (OTHER % DEEPER, "x", INVALID_REQUEST),
    (OTHER % (b"9" * 5000), "x", INVALID_REQUEST),
    (REPLY % DEEPER, None, INVALID_REQUEST),
]
UNREADABLE = [b'"\\ud83d"', b'"\xe9"', DEEP, DEEPER, b"9" * 5000]


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@pytest.mark.slow
async def test_every_kind_of_malformed_line_gets_an_error_and_the_next_call_works(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        for line, request_id, code in MALFORMED:
            await peer.send(line)
            answer = await peer.receive()
            assert (answer["id"], answer["error"]["code"]) == (request_id, code), line[:200]
            await peer.send(b"", b"  \r", call("good", "look"))
            assert (await peer.receive())["id"] == "good"


async def test_a_malformed_tool_call_returns_an_invalid_error(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        for value in UNREADABLE:
            await peer.send(CALL % value)
            result = (await peer.answer("x"))["result"]
            assert result["isError"]
            assert result["content"][0]["text"].startswith("invalid: the message ")


async def test_a_malformed_reply_ends_the_call_that_waits_for_it(tmp_path: Path) -> None:
    async with serving(tmp_path) as peer:
        await peer.start()
        await peer.send(call(1, "confirmed_change"))
        question = await peer.receive()
        assert question["method"] == "elicitation/create"
        await peer.send(b'{"jsonrpc":"2.0","id":%d,"result":{"action":"\\ud800"}}' % question["id"])
        assert (await peer.answer(1)).keys() & {"result", "error"}


@pytest.mark.slow
async def test_a_line_over_4_mib_is_refused_without_buffering_it(tmp_path: Path) -> None:
    async with serving(tmp_path, arguments=command("ours")) as peer:
        await peer.start()
        before = peer.kilobytes("VmRSS")
        for start, end, answered in [
            (b'{"jsonrpc":"2.0","id":"first","method":"tools/call","params":{"a":"', b'"}}', "first"),
            (b'{"method":"tools/call","params":{"a":"', b'"},"jsonrpc":"2.0","id":17}', 17),
            (b'{"method":"tools/call","params":{"a":"', b'","id":1},"jsonrpc":"2.0","id":null}', None),
        ]:
            with anyio.fail_after(DEADLINE):
                await peer.stdin.send(start)
                for _ in range(60):
                    await peer.stdin.send(b"x" * 1_000_000)
            await peer.send(end, request("next", "ping"))
            refused = await peer.receive()
            assert (refused["id"], refused["error"]["code"]) == (answered, INVALID_REQUEST)
            assert await peer.receive() == {"jsonrpc": "2.0", "id": "next", "result": {}}
        assert peer.kilobytes("VmHWM") - before < 8 * 1024


@pytest.mark.slow
async def test_a_client_that_reads_nothing_does_not_fill_the_memory(tmp_path: Path) -> None:
    async with serving(tmp_path, arguments=command("ours")) as peer:
        await peer.start()
        before = peer.kilobytes("VmRSS")
        await peer.send(*(call(number, "large_look", size=500_000) for number in range(100)))
        await peer.idle()
        assert peer.kilobytes("VmHWM") - before < 24 * 1024
        answers = [await peer.receive() for _ in range(100)]
        assert sorted(answer["id"] for answer in answers if "result" in answer) == list(range(100))


@pytest.mark.slow
async def test_the_server_stops_reading_from_a_client_that_reads_no_errors(tmp_path: Path) -> None:
    async with serving(tmp_path, arguments=command("ours")) as peer:
        await peer.start()
        before = peer.kilobytes("VmRSS")

        async def flood() -> None:
            for _ in range(2_000):
                await peer.stdin.send(b"x\n" * 5_000)

        async with anyio.create_task_group() as tasks:
            tasks.start_soon(flood)
            await peer.idle()
            assert peer.kilobytes("VmHWM") - before < 24 * 1024
            tasks.cancel_scope.cancel()
        peer.process.terminate()


async def exchange(peer: Peer, lines: list[bytes], number: int) -> None:
    owed = Counter(answered for line in lines for answered in expected(line))
    owed[json.dumps(f"good {number}")] += 1
    await peer.send(*lines, call(f"good {number}", "look"))
    while owed.total():
        frame = await peer.receive()
        answered = json.dumps(frame["id"])
        assert owed[answered] > 0, (frame, lines)
        owed[answered] -= 1
        if answered == json.dumps(f"good {number}"):
            assert text_of(frame) == "seen"


@pytest.mark.slow
async def test_mutated_frames_get_an_error_and_the_next_call_works(tmp_path: Path) -> None:
    chance = random.Random(20_260_728)
    async with serving(tmp_path) as peer:
        await peer.start()
        for number in range(0, FRAMES, 40):
            lines = [mutated(number + offset, chance) for offset in range(40)]
            await exchange(peer, lines, number)
        await peer.stdin.aclose()
        assert await peer.rest() == []


@given(st.lists(st.binary(max_size=40)), st.lists(st.integers(1, 30)))
@settings(max_examples=100)
def test_lines_do_not_depend_on_how_the_bytes_arrive(lines: list[bytes], sizes: list[int]) -> None:
    splitter = LineSplitter()
    wire = b"\n".join(lines)
    got: list[bytes | LongLine] = []
    for size in sizes:
        got += splitter.feed(wire[:size])
        wire = wire[size:]
    got += splitter.feed(wire) + splitter.finish()
    assert got == [line for line in b"\n".join(lines).split(b"\n") if line.strip()]


@pytest.mark.slow
def test_nesting_too_deep_for_the_parser_is_refused_with_the_requests_id() -> None:
    for depth in range(300, 3000, 7):
        refusal = read_frame(OTHER % (b"[" * depth + b"]" * depth))
        assert isinstance(refusal, Refusal)
        assert json.loads(refusal.answer)["id"] == "x"


@given(st.binary(), st.binary())
@settings(max_examples=100)
def test_no_input_makes_the_reader_fail(start: bytes, end: bytes) -> None:
    read_frame(start)
    read_frame(b'{"jsonrpc":"2.0","id":' + start + b',"method":' + end + b"}")
    read_frame(LongLine(start, end))


def test_a_line_of_exactly_4_mib_is_read_and_one_byte_more_is_not() -> None:
    assert LineSplitter().feed(b"x" * MAX_LINE + b"\n") == [b"x" * MAX_LINE]
    (long,) = LineSplitter().feed(b"x" * (MAX_LINE + 1) + b"\n")
    assert isinstance(long, LongLine)


def test_a_malformed_reply_counts_as_an_error_of_its_request() -> None:
    refusal = read_frame(b'{"jsonrpc":"2.0","id":5,"result":7}')
    assert isinstance(refusal, Refusal)
    assert isinstance(refusal.substitute_reply, JSONRPCError)
    assert refusal.substitute_reply.id == 5


@pytest.mark.parametrize(
    ("tail", "request_id"),
    [
        (b'","id":1}', 1),
        (b'"}, "id" : "a b" } ', "a b"),
        (b'","note":"x,\\"id\\":1}', None),
        (b'","id":1}}', None),
        (b'","id":"a\\"b"}', None),
        (b'","grid":1}', None),
    ],
)
def test_an_id_at_the_end_of_a_long_line_is_read_if_unambiguous(tail: bytes, request_id: object) -> None:
    refusal = read_frame(LongLine(b'{"method":"tools/call","params":{"a":"' + b"x" * 4000, tail))
    assert isinstance(refusal, Refusal)
    assert json.loads(refusal.answer)["id"] == request_id


@pytest.mark.parametrize(
    ("head", "request_id"),
    [
        (b'{"id":12', None),
        (b'{"id":12,', 12),
        (b'{"params":{"id":1,"a":[{"id":2}]},"id":3,"x":"', 3),
        (b'{"params":"\\"id\\":1,', None),
        (b'{"params":"cut \\"id\\":1, "id', None),
        (b'{1:2,"id":nonsense,"id":4,', 4),
    ],
)
def test_an_id_at_the_start_of_a_long_line_is_read_if_unambiguous(head: bytes, request_id: object) -> None:
    refusal = read_frame(LongLine(head, b""))
    assert isinstance(refusal, Refusal)
    assert json.loads(refusal.answer)["id"] == request_id
