"""The token of a request over HTTP decides what its caller sees and may do."""

from collections.abc import AsyncGenerator
from pathlib import Path
from typing import Any

import httpx2
import pytest
from mcp.client import Client
from mcp.client.streamable_http import streamable_http_client
from mcp.shared.exceptions import MCPError
from mcp.types import PromptReference, ResourceTemplateReference

from mcp_sessions import create_server, open_backend
from mcp_sessions.config.settings import Settings
from mcp_sessions.transports.auth.access import access_of
from mcp_sessions.transports.http.app import http_app
from tests.support.clients import both_eras, text_of
from tests.support.http_calls import calls
from tests.support.http_server import DEADLINE, Server, connected
from tests.support.http_tokens import answer, guarded
from tests.support.jwt_issuer import reachable

ALL = "sessions:read sessions:write sessions:delete"
READING = {"list_sessions", "get_session", "search_sessions", "get_session_history", "get_session_runs"}
DELETING = {"delete_session", "apply_to_sessions"}
WRITING = {
    *("create_session", "rename_session", "archive_session", "restore_session"),
    *("update_session_state", "update_session", "append_messages", "fork_session"),
}
OFFERED = {"reader": READING, "writer": WRITING, "deleter": DELETING, "ada": READING | WRITING | DELETING}

Served = tuple[Server, dict[str, str]]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    folder = tmp_path_factory.mktemp("auth")
    narrow = {"reader": "sessions:read", "writer": "sessions:write", "deleter": "sessions:delete"}
    async with guarded(folder, ada=ALL, bob=ALL, **narrow) as served:
        yield served


def client_of(served: Served, name: str, era: str = "2026-07-28", **headers: str) -> Any:
    server, tokens = served
    return connected(server.url, era, Authorization=f"Bearer {tokens[name]}", **headers)


async def created(client: Client, name: str) -> str:
    result = await client.call_tool("create_session", {"name": name})
    assert result.structured_content is not None, text_of(result)
    return result.structured_content["id"]


async def test_a_request_without_a_token_is_refused_without_a_redirect(served: Served) -> None:
    said = await answer(served[0].url)
    assert said.status_code == 401
    assert said.headers["www-authenticate"] == (
        'Bearer error="invalid_token", error_description="Authentication required"'
    )
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        for method in ("GET", "DELETE", "PUT", "OPTIONS", "HEAD"):
            for url in (served[0].url, f"{served[0].url}/"):
                assert (await http.request(method, url)).status_code == 401
        for path in ("/.well-known/oauth-protected-resource/mcp", "/.well-known/oauth-authorization-server"):
            assert (await http.get(served[0].root + path)).status_code == 404
        for path in ("/healthz", "/readyz"):
            assert (await http.get(served[0].root + path)).status_code == 200


@both_eras
@pytest.mark.parametrize("name", OFFERED)
async def test_a_token_can_list_and_call_only_the_tools_of_its_scopes(name: str, era: str, served: Served) -> None:
    async with client_of(served, name, era) as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == OFFERED[name]
        for scope, tools in (("read", READING), ("write", WRITING), ("delete", DELETING)):
            for tool in tools - OFFERED[name]:
                result = await client.call_tool(tool, {})
                assert result.is_error
                assert text_of(result).startswith(f"forbidden: this token lacks the scope sessions:{scope}. Ask its ")
        unknown = text_of(await client.call_tool("drop_table", {}))
        assert {tool for tool in OFFERED["ada"] if tool in unknown} == OFFERED[name]


@both_eras
async def test_prompts_resources_and_completion_follow_the_scopes(era: str, served: Served) -> None:
    async with client_of(served, "ada", era) as ada:
        assert len((await ada.list_prompts()).prompts) == 3
        session_id = await created(ada, "of ada's")
    async with client_of(served, "reader", era) as reader:
        assert [prompt.name for prompt in (await reader.list_prompts()).prompts] == ["resume_session"]
        with pytest.raises(MCPError, match='there is no prompt "tidy_sessions"'):
            await reader.get_prompt("tidy_sessions")
    async with client_of(served, "writer", era) as writer:
        assert (await writer.list_prompts()).prompts == []
        with pytest.raises(MCPError, match="forbidden: this token lacks the scope sessions:read"):
            await writer.list_resources()
        for uri in (f"session://{session_id}", f"session://{session_id}/transcript"):
            with pytest.raises(MCPError, match="forbidden: this token lacks the scope sessions:read"):
                await writer.read_resource(uri)
        template = ResourceTemplateReference(uri="session://{session_id}")
        completed = await writer.complete(template, {"name": "session_id", "value": ""})
        assert completed.completion.values == []


@both_eras
async def test_another_users_session_is_not_found_by_any_name(era: str, served: Served) -> None:
    async with client_of(served, "ada", era) as ada:
        hers = await created(ada, "canary of ada")
        await ada.call_tool("append_messages", {"session_id": hers, "messages": [{"role": "user", "text": "canary"}]})
    said: dict[str, list[str]] = {}
    for named in (hers, "absent"):
        async with client_of(served, "bob", era, X_Session_Id=named) as bob:
            results = [
                await bob.call_tool("get_session", {"session_id": "current"}),
                await bob.call_tool("get_session", {"session_id": named}),
                await bob.call_tool("get_session_history", {"session_id": named}),
                await bob.call_tool("rename_session", {"session_id": "current", "name": "mine"}),
                await bob.call_tool("archive_session", {"session_id": named}),
                await bob.call_tool("fork_session", {"session_id": named}),
            ]
            assert all(result.is_error for result in results)
            said[named] = [text_of(result).replace(named, "ID") for result in results]
            for uri in (f"session://{named}", f"session://{named}/transcript", "session://current"):
                with pytest.raises(MCPError) as failed:
                    await bob.read_resource(uri)
                said[named].append(str(failed.value).replace(named, "ID"))
            assert "canary" not in str(await bob.list_resources())
            reference = PromptReference(name="resume_session")
            assert hers not in (await bob.complete(reference, {"name": "session_id", "value": ""})).completion.values
            found = await bob.call_tool("search_sessions", {"query": "canary"})
            assert found.structured_content is not None
            assert found.structured_content["hits"] == []
    assert said[hers] == said["absent"]
    async with client_of(served, "ada", era) as ada:
        shown = (await ada.call_tool("get_session", {"session_id": hers})).structured_content
        assert shown is not None
        assert (shown["name"], shown["user_id"], shown["message_count"]) == ("canary of ada", "ada", 1)


@both_eras
async def test_a_client_with_a_new_token_is_another_caller(era: str, served: Served) -> None:
    server, tokens = served
    http = httpx2.AsyncClient(
        timeout=DEADLINE, trust_env=False, verify=False, headers={"Authorization": f"Bearer {tokens['ada']}"}
    )
    async with http, Client(streamable_http_client(server.url, http_client=http), mode=era) as client:
        hers = await created(client, "before")
        assert not (await client.call_tool("get_session", {"session_id": hers})).is_error
        http.headers["Authorization"] = f"Bearer {tokens['bob']}"
        assert text_of(await client.call_tool("get_session", {"session_id": hers})).startswith("not_found: ")
        http.headers["Authorization"] = f"Bearer {tokens['reader']}"
        assert text_of(await client.call_tool("create_session", {})).startswith("forbidden: ")
        http.headers["Authorization"] = "Bearer gone"
        with pytest.raises((MCPError, httpx2.HTTPStatusError)):
            await client.call_tool("get_session", {"session_id": hers})
        http.headers["Authorization"] = f"Bearer {tokens['ada']}"
        assert not (await client.call_tool("get_session", {"session_id": hers})).is_error


@pytest.mark.parametrize("era", ["2026-07-28", "2025-06-18"])
async def test_two_users_on_one_connection_are_kept_apart(era: str, served: Served) -> None:
    server, tokens = served
    async with calls(server.url, era) as shared:
        for number in range(10):
            for name in ("ada", "bob"):
                headers = {"Authorization": f"Bearer {tokens[name]}"}
                made = await shared.call("create_session", headers=headers, name=f"{name} {era} {number}")
                assert made["user_id"] == name
        for name in ("ada", "bob"):
            headers = {"Authorization": f"Bearer {tokens[name]}"}
            page = await shared.call("list_sessions", headers=headers, query=f" {era} ", limit=100)
            assert {session["user_id"] for session in page["sessions"]} == {name}
            assert len(page["sessions"]) == 10


async def test_all_callers_see_the_sessions_of_the_configured_user(tmp_path: Path) -> None:
    async with guarded(tmp_path, "--user", "team", ada=ALL, reader="sessions:read") as served:
        async with client_of(served, "ada") as ada:
            session_id = await created(ada, "ours")
        async with client_of(served, "reader") as reader:
            shown = (await reader.call_tool("get_session", {"session_id": session_id})).structured_content
            assert shown is not None
            assert shown["user_id"] == "team"
            assert text_of(await reader.call_tool("delete_session", {"session_id": session_id})).startswith("forbidden")
    assert '"subject": "ada"' in (tmp_path / "audit").read_text(encoding="utf-8")


@both_eras
async def test_a_malformed_request_without_a_token_is_unauthorized(era: str, served: Served) -> None:
    async with httpx2.AsyncClient(trust_env=False, verify=False) as http:
        version = {"MCP-Protocol-Version": era if era != "legacy" else "2025-06-18"}
        for body in (b"{", b"[]", b"\xff", b"[" * 100_000):
            headers = {"Content-Type": "application/json", "Accept": "application/json, text/event-stream", **version}
            assert (await http.post(served[0].url, content=body, headers=headers)).status_code == 401
            headers["Authorization"] = f"Bearer {served[1]['ada']}"
            assert (await http.post(served[0].url, content=body, headers=headers)).status_code == 400


@pytest.mark.parametrize(
    ("audience", "hosts", "resource"),
    [
        ("sessions", [], "http://127.0.0.1:8000/mcp"),
        ("sessions", ["sessions.example"], "https://sessions.example/mcp"),
        ("sessions", ["[2001:db8::1]:8443"], "https://[2001:db8::1]:8443/mcp"),
        ("https://sessions.example/mcp", ["other.example"], "https://sessions.example/mcp"),
        ("https://sessions.example/team/mcp/", [], "https://sessions.example/team/mcp/"),
        ("https://sessions.example", [], "https://sessions.example"),
    ],
)
async def test_a_client_without_a_token_gets_the_url_of_the_resource_metadata(
    audience: str, hosts: list[str], resource: str
) -> None:
    flags: dict[str, str | list[str] | None] = {"jwt_audience": audience, "allowed_host": hosts}
    flags |= {"jwt_issuer": "https://issuer.example", "jwt_jwks": "https://issuer.example/keys"}
    access = access_of(Settings.read(flags, {}))
    app = http_app(create_server(open_backend()), "127.0.0.1", reachable, access, "http://127.0.0.1:8000/mcp")
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        told = (await http.get("/mcp")).headers["www-authenticate"].partition('resource_metadata="')[2].rstrip('"')
        url = httpx2.URL(told)
        assert told.startswith(f"{httpx2.URL(resource).copy_with(raw_path=b'')}/.well-known/oauth-protected-resource")
        assert url.path == "/.well-known/oauth-protected-resource" + httpx2.URL(resource).path.rstrip("/")
        document = await http.get(url.path)
        assert document.json()["resource"] == resource
        assert document.json()["authorization_servers"] == ["https://issuer.example"]
        assert (await http.get(url.path, headers={"Host": "evil.example"})).status_code == 421
