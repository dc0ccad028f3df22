"""The log of a server over HTTP at its most verbose has no conversations and no credentials."""

import logging
from pathlib import Path

import anyio
import httpx2
import pytest

from mcp_sessions import create_server, open_backend
from mcp_sessions.server.identity import Identity
from mcp_sessions.transports.auth.access import AccessRules
from mcp_sessions.transports.auth.bearer import Authentication
from mcp_sessions.transports.http.app import http_app
from tests.support.clients import both_eras
from tests.support.faked_agentos import GuardedAgentOs, session
from tests.support.http_server import connected
from tests.support.http_tokens import add, logged
from tests.support.jwt_issuer import reachable


@both_eras
async def test_conversations_and_credentials_are_not_logged(era: str, tmp_path: Path) -> None:
    token = add(tmp_path / "tokens", "ann")
    said = [{"role": "user", "text": "canary-run"}]
    async with GuardedAgentOs() as fake:
        fake.seed(session("of-ann", user_id="ann") | {"runs": [said], "session_name": "canary-name"})
        options = ["--tokens", str(tmp_path / "tokens"), "--own-credentials", "--backend", f"agentos+{fake.url}"]
        async with logged(tmp_path, *options) as (url, log):
            headers = {"Authorization": f"Bearer {token}", "X_Backend_Authorization": "Bearer ann-credential"}
            async with connected(url, era, **headers) as ann:

                async def heard(progress: float, total: float | None, message: str | None) -> None: ...

                listed = await ann.call_tool("list_sessions", progress_callback=heard)
                assert not listed.is_error
                shown = await ann.call_tool("get_session_history", {"session_id": "of-ann"}, progress_callback=heard)
                assert "canary-run" in str(shown)
                await ann.call_tool("search_sessions", {"query": "canary"}, progress_callback=heard)
                await ann.call_tool("rename_session", {"session_id": "of-ann", "name": "canary-new"})
                await ann.call_tool("update_session_state", {"session_id": "of-ann", "changes": {"a": "canary-state"}})
                await ann.read_resource("session://of-ann/transcript")
    errors = await anyio.Path(log).read_text(encoding="utf-8")
    assert "DEBUG" in errors
    assert '"tool": "rename_session"' in errors
    for secret in ("canary", token, "ann-credential", "Authorization", "authorization: "):
        assert secret not in errors


class Careless:
    """A verifier that fails with a message that contains the token."""

    async def verify_token(self, token: str) -> Identity | None:
        if token == "good":
            return Identity(client_id="ada", subject="ada", scopes=[])
        raise RuntimeError(f"what is {token}")


async def test_a_failing_verifier_admits_nobody_and_is_logged(caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level(logging.DEBUG)
    access = AccessRules(authentication=Authentication(verifiers=[Careless(), Careless()]))
    app = http_app(create_server(open_backend()), "127.0.0.1", reachable, access, "http://127.0.0.1:8000/mcp")
    transport = httpx2.ASGITransport(app)
    async with httpx2.AsyncClient(transport=transport, base_url="http://127.0.0.1:8000") as http:
        for token, status in (("good", 405), ("hunter2", 401)):
            said = await http.get("/mcp", headers={"Authorization": f"Bearer {token}"})
            assert said.status_code == status
            assert "hunter2" not in said.text
    assert caplog.text.count("a token was refused because its verification failed: RuntimeError") == 2
    assert "hunter2" not in caplog.text
