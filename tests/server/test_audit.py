"""The audit log over HTTP has a line for each change: caller, operation and result, without any content."""

import json
import re
import stat
from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import anyio
import httpx2
import pytest
from mcp.client import Client
from mcp.client.context import ClientRequestContext
from mcp.client.streamable_http import streamable_http_client
from mcp.types import ElicitRequestParams, ElicitResult

from tests.support.fakes.agentos import FakeAgentOs, Fault
from tests.support.http_calls import calls
from tests.support.http_server import DEADLINE, Server, running
from tests.support.http_tokens import ACCEPT, add, guarded
from tests.support.stdio_client import modern

ALL = "sessions:read sessions:write sessions:delete"
ERAS = pytest.mark.parametrize("era", ["2026-07-28", "2025-06-18"])


class Audited:
    """A server, its tokens and its file."""

    def __init__(self, server: Server, tokens: dict[str, str], path: Path) -> None:
        self.url = server.url
        self.tokens = tokens
        self.path = path
        self._seen = 0

    async def new(self) -> list[dict[str, Any]]:
        """Return the lines that were added since the last call, without their times, which are checked."""
        lines = (await anyio.Path(self.path).read_text(encoding="utf-8")).splitlines()
        new = [json.loads(line) for line in lines[self._seen :]]
        self._seen = len(lines)
        for line in new:
            assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", line.pop("time"))
            assert 0 <= line.pop("duration_ms") < 30_000
            assert line.pop("request_id")
        return new

    async def again(self) -> list[dict[str, Any]]:
        """Return all lines."""
        self._seen = 0
        return await self.new()


@pytest.fixture(scope="module")
async def running_server(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Audited]:
    folder = tmp_path_factory.mktemp("audit")
    async with guarded(folder, "--rate", "100000", ada=ALL, reader="sessions:read") as (server, tokens):
        yield Audited(server, tokens, folder / "audit")


@pytest.fixture
async def audited(running_server: Audited) -> Audited:
    await running_server.new()
    return running_server


@ERAS
async def test_each_change_writes_one_line_and_other_calls_write_none(era: str, audited: Audited) -> None:
    async with calls(audited.url, era, audited.tokens["ada"]) as ada:
        id = (await ada.call("create_session", name="secret name", state={"k": "secret state"}))["id"]
        said = {"subject": "ada", "session_id": id, "outcome": "ok"}
        assert await audited.new() == [{**said, "tool": "create_session"}]
        await ada.call("list_sessions", query="secret")
        await ada.call("get_session", session_id=id)
        await ada.call("search_sessions", query="secret")
        await ada.call("apply_to_sessions", action="delete", session_ids=[id])
        assert await audited.new() == []
        await ada.call("rename_session", session_id=id, name="secret name 2")
        await ada.call("append_messages", session_id=id, messages=[{"role": "user", "text": "secret text"}])
        await ada.call(
            "update_session_state", session_id="current", changes={"a": "secret"}, headers={"X-Session-Id": id}
        )
        copied = (await ada.call("fork_session", session_id=id, name="secret name 3"))["id"]
        assert await audited.new() == [
            {**said, "tool": "rename_session"},
            {**said, "tool": "append_messages"},
            {**said, "tool": "update_session_state"},
            {**said, "tool": "fork_session", "new_session_id": copied},
        ]
        done = await ada.call("apply_to_sessions", action="archive", session_ids=[id, "absent", copied], dry_run=False)
        assert len(done["succeeded"]) == 2
        assert await audited.new() == [
            {
                "subject": "ada",
                "tool": "apply_to_sessions",
                "action": "archive",
                "session_ids": [id, copied],
                "failed_session_ids": ["absent"],
                "outcome": "partial",
            }
        ]
    assert "secret" not in await anyio.Path(audited.path).read_text(encoding="utf-8")
    assert audited.tokens["ada"] not in await anyio.Path(audited.path).read_text(encoding="utf-8")


@ERAS
async def test_a_failed_change_writes_a_line_with_its_error_code(era: str, audited: Audited) -> None:
    async with calls(audited.url, era, audited.tokens["ada"]) as ada:
        id = (await ada.call("create_session"))["id"]
        await ada.result("rename_session", session_id="absent", name="x")
        await ada.result("rename_session", session_id=id, name="x", nonsense=1)
        await ada.result("rename_session", name="x")
        await ada.result("rename_session", session_id="current", name="x")
        await ada.result("update_session", session_id=id, summary="x", expected_version="0")
        await ada.result("delete_session", session_id=id)
        await ada.result("delete_session", session_id=id, confirm="wrong")
        await ada.result("drop_table", session_id=id)
    async with calls(audited.url, era, audited.tokens["reader"]) as reader:
        await reader.result("archive_session", session_id=id)
    lines = await audited.new()
    # The newer client can be asked, which is no outcome yet.
    codes = [] if era == "2026-07-28" else [("delete_session", id, "confirmation_required")] * 2
    assert [(line["tool"], line.get("session_id"), line["outcome"]) for line in lines[1:]] == [
        ("rename_session", "absent", "not_found"),
        ("rename_session", id, "invalid"),
        ("rename_session", None, "invalid"),
        ("rename_session", "current", "invalid"),
        ("update_session", id, "conflict"),
        *codes,
        ("archive_session", id, "forbidden"),
    ]
    assert [line["subject"] for line in lines] == ["ada"] * (len(lines) - 1) + ["reader"]


async def test_a_deletion_with_a_question_writes_one_line_whatever_the_answer(audited: Audited) -> None:
    answers = iter([ElicitResult(action="decline"), ElicitResult(action="accept", content={"confirm": True})])

    async def answer(context: ClientRequestContext, params: ElicitRequestParams) -> ElicitResult:
        return next(answers)

    headers = {"Authorization": f"Bearer {audited.tokens['ada']}"}
    http = httpx2.AsyncClient(headers=headers, timeout=DEADLINE, trust_env=False, verify=False)
    async with http, Client(streamable_http_client(audited.url, http_client=http), elicitation_callback=answer) as ada:
        created = (await ada.call_tool("create_session")).structured_content
        assert created is not None
        for _ in range(2):
            await ada.call_tool("delete_session", {"session_id": created["id"]})
    said = {"subject": "ada", "tool": "delete_session", "session_id": created["id"]}
    assert (await audited.new())[1:] == [
        {**said, "outcome": "confirmation_required"},
        {**said, "outcome": "ok"},
    ]


HOSTILE = [
    'x\n{"subject": "root", "outcome": "ok"}',
    "x\r\x1b[2J\u202e\u2028\x85",
    "x" * 1000,
    '"}',
    "\x00",
]


@ERAS
@pytest.mark.parametrize("number", range(len(HOSTILE)))
async def test_a_session_id_cannot_forge_a_line(number: int, era: str, audited: Audited) -> None:
    hostile = HOSTILE[number]
    async with calls(audited.url, era, audited.tokens["ada"]) as ada:
        await ada.result("rename_session", session_id=hostile, name="x")
        await ada.result("apply_to_sessions", action=hostile, session_ids=[hostile] * 3, dry_run=False)
        await ada.result("apply_to_sessions", action=["a"], session_ids={"a": hostile}, dry_run="no")
        await ada.result("apply_to_sessions", action="archive", session_ids=[hostile] * 500, dry_run=False)
    before = (await anyio.Path(audited.path).read_text(encoding="utf-8")).splitlines()[-4:]
    lines = await audited.new()
    assert [(line["subject"], line["tool"], line["outcome"]) for line in lines] == [
        ("ada", "rename_session", lines[0]["outcome"]),
        *[("ada", "apply_to_sessions", "invalid")] * 2,
        ("ada", "apply_to_sessions", lines[3]["outcome"]),
    ]
    assert lines[0]["outcome"] in ("not_found", "invalid")
    assert all(len(line) < 60_000 and line.isprintable() for line in before)


async def test_a_request_id_cannot_forge_a_line(audited: Audited) -> None:
    id = 'r\n{"outcome": "ok"}\x1b' + "r" * 1000
    arguments = {"session_id": "absent", "name": "x"}
    named = {"MCP-Protocol-Version": "2026-07-28", "Mcp-Method": "tools/call", "Mcp-Name": "rename_session"}
    headers = {**ACCEPT, **named, "Authorization": f"Bearer {audited.tokens['ada']}"}
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        frame = modern(id, "tools/call", name="rename_session", arguments=arguments)
        assert (await http.post(audited.url, json=frame, headers=headers)).json()["id"] == id
    last = json.loads((await anyio.Path(audited.path).read_text(encoding="utf-8")).splitlines()[-1])
    assert last["request_id"].startswith('r�{"outcome": "ok"}�rrr')
    assert (last["outcome"], len(last["request_id"])) == ("not_found", 512)


async def test_a_change_whose_client_disconnects_writes_a_line(tmp_path: Path) -> None:
    async with FakeAgentOs() as fake:
        fake.seed({"session_id": "one", "user_id": "ada", "component_id": "planner", "runs": []})
        async with guarded(tmp_path, "--backend", f"agentos+{fake.url}", ada=ALL) as (server, tokens):
            async with calls(server.url, token=tokens["ada"]) as ada:
                await ada.call("list_sessions")
                fault = Fault("hold", path="/sessions/one/rename")
                fake.faults.append(fault)
                async with anyio.create_task_group() as tasks:
                    tasks.start_soon(lambda: ada.call("rename_session", session_id="one", name="x"))
                    with anyio.fail_after(5):
                        await fault.entered.wait()
                    tasks.cancel_scope.cancel()
            audited = Audited(server, tokens, tmp_path / "audit")
            with anyio.fail_after(5):
                while not (lines := await audited.new()):  # noqa: ASYNC110 - it is a process
                    await anyio.sleep(0.02)
            fault.released.set()
    (line,) = lines
    assert line == {"subject": "ada", "tool": "rename_session", "session_id": "one", "outcome": "outcome_unknown"}


async def test_the_file_is_readable_only_by_its_owner_and_can_be_rotated(audited: Audited) -> None:
    assert stat.S_IMODE(audited.path.stat().st_mode) == 0o600
    async with calls(audited.url, token=audited.tokens["ada"]) as ada:
        await ada.call("create_session")
        rotated = audited.path.with_name("audit.1")
        await anyio.Path(audited.path).rename(rotated)
        await ada.call("create_session")
    assert (await audited.again())[0]["outcome"] == "ok"
    assert stat.S_IMODE(audited.path.stat().st_mode) == 0o600


@pytest.mark.parametrize("given", [["--audit", "-"], []])
async def test_lines_go_to_stderr_by_default(given: list[str], tmp_path: Path) -> None:
    token = add(tmp_path / "tokens", "ada")
    options = ["--port", "0", "--tokens", str(tmp_path / "tokens"), *given]
    async with running(tmp_path, *options) as server:
        async with calls(server.url, token=token) as ada:
            await ada.call("create_session")
        server.process.terminate()
        status, out, errors = await server.rest()
    assert (status, out) == (0, "")
    assert json.loads(errors)["tool"] == "create_session"


async def test_without_authentication_lines_are_written_only_to_a_configured_file(tmp_path: Path) -> None:
    for given, expected in (([], 0), (["--audit", str(tmp_path / "audit")], 1)):
        async with running(tmp_path, "--port", "0", *given) as server:
            async with calls(server.url) as anybody:
                await anybody.call("create_session")
            server.process.terminate()
            assert (await server.rest())[2] == ""
        path = anyio.Path(tmp_path / "audit")
        assert ((await path.read_text(encoding="utf-8")).count("operator") if await path.exists() else 0) == expected
