"""A session with several ids: the backend gets only its canonical id, whichever the caller uses."""

import json
from collections.abc import AsyncGenerator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager, closing
from pathlib import Path
from typing import Any

import pytest
from mcp.client import Client
from mcp.types import ResourceTemplateReference, TextResourceContents

from mcp_sessions import create_server, open_backend
from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.layers.wrapper import Wrapper
from mcp_sessions.errors import NotFound
from mcp_sessions.models import SessionDetail, SessionFilter, SessionPage
from mcp_sessions.server.audit_log import AuditLog
from tests.contract.operations import ADDRESSED
from tests.support.clients import ALL, Peer, both_eras
from tests.support.tool_arguments import ARGUMENTS, UNNAMED

PREFIX = "name/"


class Named(Wrapper):
    """A store whose ids begin with `name/`. Callers may leave that out, but its methods accept only complete ids."""

    apply_to_sessions = SessionBackend.apply_to_sessions
    resolve_hint = SessionBackend.resolve_hint
    may_be_hint = SessionBackend.may_be_hint
    get_sessions_for_deletion = SessionBackend.get_sessions_for_deletion

    def canonical_id(self, session_id: str) -> str:
        return session_id if session_id.startswith(PREFIX) else PREFIX + session_id

    def deletion_notice(self, session_ids: Sequence[str] = ()) -> str:
        return f"This deletes {' and '.join(session_ids)}."

    async def create_session(self, **values: Any) -> SessionDetail:
        session = await self.inner.create_session(**values)
        return session.model_copy(update={"id": PREFIX + session.id})

    async def list_sessions(self, filter: SessionFilter, *, limit: int = 20, cursor: str = "") -> SessionPage:
        page = await self.inner.list_sessions(filter, limit=limit, cursor=cursor)
        named = [session.model_copy(update={"id": PREFIX + session.id}) for session in page.sessions]
        return page.model_copy(update={"sessions": tuple(named)})

    async def find_session_ids(self, prefix: str, *, limit: int = 100) -> list[str]:
        found = await self.inner.find_session_ids(prefix.removeprefix(PREFIX), limit=limit)
        return [PREFIX + session_id for session_id in found if prefix.startswith(PREFIX)]


def accepting_complete_ids(name: str) -> Callable[..., Awaitable[object]]:
    async def call(self: Named, session_id: str, *args: Any, **kwargs: Any) -> object:
        if not session_id.startswith(PREFIX):
            raise NotFound(f"{session_id} is not complete")
        result = await getattr(self.inner, name)(session_id.removeprefix(PREFIX), *args, **kwargs)
        field = "id" if isinstance(result, SessionDetail) else "session_id"
        return result.model_copy(update={field: PREFIX + getattr(result, field)})

    return call


for operation in (*ADDRESSED, "get_session_for_deletion"):
    setattr(Named, operation, accepting_complete_ids(operation))


@asynccontextmanager
async def serving(era: str = "2026-07-28", **options: Any) -> AsyncGenerator[Peer]:
    backend = Named(open_backend())
    options.setdefault("confirm", "off")
    server = create_server(backend, toolsets=ALL, **options)
    async with Client(server, mode=era) as client:
        yield Peer(client, backend)


def with_id(tool: str, session_id: str) -> dict[str, Any]:
    named = {"session_ids": [session_id]} if tool == "apply_to_sessions" else {"session_id": session_id}
    return {**named, **ARGUMENTS[tool][0]}


@both_eras
@pytest.mark.parametrize("tool", sorted(ARGUMENTS))
async def test_every_tool_accepts_any_id_and_passes_on_the_canonical_one(era: str, tool: str) -> None:
    async with serving(era) as peer:
        for prefix in ("", PREFIX):
            session = await peer.session("Hello")
            bare = session.id.removeprefix(PREFIX)
            result = await peer.call(tool, **with_id(tool, prefix + bare))
            rows = [result, *result.get("would_change", [])]
            shown = [row.get("session_id") or row.get("id") for row in rows]
            assert (session.id in shown) is (tool != "fork_session")


async def test_every_tool_with_a_session_id_is_called() -> None:
    async with serving() as peer:
        tools = (await peer.client.list_tools()).tools
        takes_id = {tool.name for tool in tools if {"session_id", "session_ids"} & set(tool.input_schema["properties"])}
        assert takes_id == set(ARGUMENTS)
        assert {tool.name for tool in tools} - takes_id == UNNAMED


@both_eras
async def test_a_bulk_action_changes_a_session_once_if_it_is_named_by_two_ids(era: str) -> None:
    async with serving(era) as peer:
        session, other = await peer.session(), await peer.session()
        ids = [session.id.removeprefix(PREFIX), session.id, other.id.removeprefix(PREFIX)]
        for action in ("archive", "delete"):
            result = await peer.call("apply_to_sessions", action=action, session_ids=ids, dry_run=False)
            assert result["succeeded"] == [session.id, other.id]


@both_eras
async def test_a_code_confirms_a_deletion_by_any_of_the_sessions_ids(era: str) -> None:
    async with serving(era, confirm="code") as peer:
        session = await peer.session()
        bare = session.id.removeprefix(PREFIX)
        question = await peer.error("delete_session", session_id=bare)
        assert f"This deletes {session.id}." in question
        several = {"action": "delete", "session_ids": [bare], "dry_run": False}
        assert f"This deletes {session.id}." in await peer.error("apply_to_sessions", **several)
        code = question.rpartition('confirm="')[2][:4]
        assert (await peer.call("delete_session", session_id=session.id, confirm=code))["session_id"] == session.id


@both_eras
async def test_the_current_sessions_id_may_be_any_of_its_ids(era: str) -> None:
    async with serving(era) as peer:
        session = await peer.session("Hello")
        for hint in (session.id.removeprefix(PREFIX), session.id):
            meta: Any = {"mcp-sessions/session": hint}

            async def call(tool: str, meta: Any = meta, **arguments: Any) -> dict[str, Any]:
                result = await peer.client.call_tool(tool, arguments, meta=meta)
                return result.structured_content or {"error": result.content}

            assert (await call("get_session", session_id="current"))["id"] == session.id
            assert (await call("list_sessions"))["sessions"][0]["is_current"]
            refused = await call("delete_session", session_id=session.id)
            assert "is the current session" in str(refused["error"])


@both_eras
async def test_cursors_continue_with_any_of_the_sessions_ids(era: str) -> None:
    async with serving(era, max_chars=1_000) as peer:
        text = "".join(f"{number} " for number in range(600))
        session = await peer.session(text, "Fine")
        ids = [session.id.removeprefix(PREFIX), session.id] * 5
        texts: list[str] = []
        cursor = ""
        for session_id in ids:
            page = await peer.call("get_session_history", session_id=session_id, message_id="m1", cursor=cursor)
            texts.append(page["messages"][0]["text"])
            cursor = page.get("next_cursor", "")
            if not cursor:
                break
        assert len(texts) > 2
        assert "".join(texts) == text
        newest = await peer.call("get_session_history", session_id=ids[0], limit=1)
        older = await peer.call("get_session_history", session_id=ids[1], limit=1, cursor=newest["next_cursor"])
        assert older["messages"][0]["id"] == "m1"


@both_eras
async def test_resources_and_completion_accept_any_id(era: str) -> None:
    async with serving(era) as peer:
        session = await peer.session("Hello")
        bare = session.id.removeprefix(PREFIX)
        for named in (bare, session.id.replace("/", "%2F")):
            for uri in (f"session://{named}", f"session://{named}/transcript"):
                (content,) = (await peer.client.read_resource(uri)).contents
                assert isinstance(content, TextResourceContents)
                assert session.id in content.text
        reference = ResourceTemplateReference(uri="session://{session_id}")
        for typed in (bare, bare[:3], session.id, session.id[:7]):
            completed = await peer.client.complete(reference, {"name": "session_id", "value": typed})
            assert completed.completion.values == [session.id]


async def test_the_audit_log_has_the_canonical_id(tmp_path: Path) -> None:
    log = tmp_path / "audit.jsonl"
    with closing(AuditLog(str(log))) as audit:
        async with serving(audit=audit) as peer:
            session = await peer.session()
            await peer.call("rename_session", session_id=session.id.removeprefix(PREFIX), name="New")
            await peer.error("rename_session", session_id="absent", name="New")
    entries = [json.loads(line) for line in log.read_text().splitlines()]
    assert [entry["session_id"] for entry in entries] == [session.id, f"{PREFIX}absent"]
