"""The question before a deletion: the form that clients show, and the effect of each answer."""

import os
import sys
from collections.abc import AsyncGenerator
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any, Literal

import anyio
import pytest
from mcp.client import Client, ClientRequestContext
from mcp.client.stdio import StdioServerParameters, stdio_client
from mcp.shared.exceptions import MCPError
from mcp.types import ElicitRequestFormParams, ElicitRequestParams, ElicitResult, ErrorData, ListRootsResult

from mcp_sessions import open_backend
from tests.support import stdio_client as raw
from tests.support.clients import Peer, both_eras, serving
from tests.support.fork_server import forked

AGREEMENTS = [
    ElicitResult(action="accept"),
    ElicitResult(action="accept", content={}),
    ElicitResult(action="accept", content={"confirm": False}),
]
SAID_NO = "confirmation_required: the answer was no; nothing was changed."
UNANSWERED = (
    "confirmation_required: the question was not answered; nothing was changed. "
    "If nobody is there to answer, the operator can set --confirm code."
)
FAILED = (
    "confirmation_required: the client could not ask the user; nothing was changed. "
    "If nobody is there to answer, the operator can set --confirm code."
)
UNREADABLE = "confirmation_required: the answer could not be read; nothing was changed. Call again."
ONLY_THE_USER = (
    "Only the user can confirm a deletion here (--confirm user), in a client that shows them the question. "
    "archive_session needs no confirmation."
)
by_transport = pytest.mark.parametrize("transport", ["memory", "stdio"])
Answer = ElicitResult | ErrorData | ListRootsResult


class User:
    """Gives the same answer to every question, and keeps the forms that were shown."""

    def __init__(self, answer: Answer) -> None:
        self.answer = answer
        self.forms: list[dict[str, Any]] = []

    async def __call__(self, context: ClientRequestContext, params: ElicitRequestParams) -> Any:
        assert isinstance(params, ElicitRequestFormParams)
        self.forms.append(params.requested_schema)
        return self.answer


@asynccontextmanager
async def asking(
    user: User | None, era: str, transport: str, folder: Path, confirm: Literal["auto", "user"] = "auto"
) -> AsyncGenerator[Peer]:
    """Yield a client whose questions go to the user, connected in memory or over stdio."""
    async with AsyncExitStack() as stack:
        stack.enter_context(anyio.fail_after(30))
        if transport == "memory":
            yield await stack.enter_async_context(serving(era, elicitation=user, confirm=confirm))
            return
        url = f"sqlite:///{folder / 'sessions.db'}"
        arguments = forked("-m", "mcp_sessions", "--backend", url, "--confirm", confirm, "--toolsets", "all")[1:]
        server = StdioServerParameters(command=sys.executable, args=arguments, env=dict(os.environ))
        backend = await stack.enter_async_context(open_backend(url))
        client = Client(stdio_client(server), mode=era, elicitation_callback=user)
        yield Peer(await stack.enter_async_context(client), backend)


@pytest.fixture
def anyio_backend() -> str:
    return "asyncio"


@both_eras
@by_transport
@pytest.mark.parametrize("answer", AGREEMENTS, ids=["no content", "empty content", "a field of its own"])
async def test_accepting_a_form_without_fields_deletes(
    era: str, transport: str, answer: ElicitResult, tmp_path: Path
) -> None:
    user = User(answer)
    async with asking(user, era, transport, tmp_path) as peer:
        one, *many = [(await peer.session("hello")).id for _ in range(3)]
        assert (await peer.call("delete_session", session_id=one))["session_id"] == one
        result = await peer.call("apply_to_sessions", action="delete", session_ids=many, dry_run=False)
        assert result["succeeded"] == many
        assert (await peer.call("list_sessions"))["sessions"] == []
    assert user.forms == [{"type": "object", "properties": {}}] * 2


@both_eras
@by_transport
@pytest.mark.parametrize(
    ("action", "expected"), [("decline", SAID_NO), ("cancel", UNANSWERED)], ids=["decline", "cancel"]
)
async def test_the_error_after_a_refusal_does_not_say_who_refused(
    era: str, transport: str, action: Literal["decline", "cancel"], expected: str, tmp_path: Path
) -> None:
    """Unattended clients decline and cancel by themselves; Escape in a person's form is a cancel too."""
    async with asking(User(ElicitResult(action=action)), era, transport, tmp_path) as peer:
        session = await peer.session()
        assert await peer.error("delete_session", session_id=session.id, confirm="yes") == expected
        arguments = {"action": "delete", "session_ids": [session.id], "dry_run": False}
        assert await peer.error("apply_to_sessions", **arguments) == expected
        assert await peer.backend.get_session(session.id) == session


@both_eras
@by_transport
async def test_a_client_that_fails_to_ask_changes_nothing(era: str, transport: str, tmp_path: Path) -> None:
    async with asking(User(ErrorData(code=-32000, message="no window")), era, transport, tmp_path) as peer:
        session = await peer.session()
        if era == "legacy":
            assert await peer.error("delete_session", session_id=session.id) == FAILED
        else:  # the client gives up by itself and sends nothing
            with pytest.raises(MCPError, match="no window"):
                await peer.result("delete_session", session_id=session.id)
        assert await peer.backend.get_session(session.id) == session


@by_transport
async def test_an_answer_to_another_kind_of_question_changes_nothing(transport: str, tmp_path: Path) -> None:
    async with asking(User(ListRootsResult(roots=[])), "2026-07-28", transport, tmp_path) as peer:
        session = await peer.session()
        assert await peer.error("delete_session", session_id=session.id) == UNREADABLE
        assert await peer.backend.get_session(session.id) == session


async def test_an_answer_of_another_shape_changes_nothing(tmp_path: Path) -> None:
    command = [*forked("-m", "mcp_sessions", "--backend"), f"sqlite:///{tmp_path / 'sessions.db'}"]
    async with raw.serving(tmp_path, arguments=command) as peer:
        await peer.start()
        created = await peer.ask(raw.call(1, "create_session"))
        arguments = {"session_id": created["result"]["structuredContent"]["id"]}
        await peer.send(raw.call(2, "delete_session", **arguments))
        question = await peer.receive()
        await peer.send({"jsonrpc": "2.0", "id": question["id"], "result": {"action": "perhaps"}})
        assert raw.text_of(await peer.answer(2)) == UNREADABLE
        assert not (await peer.ask(raw.call(3, "get_session", **arguments)))["result"]["isError"]


@both_eras
@by_transport
async def test_with_confirm_user_the_users_answer_deletes(era: str, transport: str, tmp_path: Path) -> None:
    async with asking(User(ElicitResult(action="accept")), era, transport, tmp_path, confirm="user") as peer:
        session = await peer.session()
        await peer.call("delete_session", session_id=session.id)
        assert (await peer.call("list_sessions"))["sessions"] == []


@both_eras
@by_transport
async def test_with_confirm_user_a_client_that_cannot_ask_is_refused_and_given_no_code(
    era: str, transport: str, tmp_path: Path
) -> None:
    async with asking(None, era, transport, tmp_path, confirm="user") as peer:
        session = await peer.session()
        expected = f"confirmation_required: this client can't ask the user; nothing was changed. {ONLY_THE_USER}"
        for code in ("", "abcd"):
            assert await peer.error("delete_session", session_id=session.id, confirm=code) == expected
        arguments = {"action": "delete", "session_ids": [session.id], "dry_run": False}
        assert await peer.error("apply_to_sessions", **arguments) == expected
        assert await peer.backend.get_session(session.id) == session


@both_eras
@pytest.mark.parametrize(("action", "expected"), [("decline", SAID_NO), ("cancel", UNANSWERED)])
async def test_with_confirm_user_no_refusal_names_another_way_to_delete(
    era: str, action: Literal["decline", "cancel"], expected: str, tmp_path: Path
) -> None:
    async with asking(User(ElicitResult(action=action)), era, "memory", tmp_path, confirm="user") as peer:
        session = await peer.session()
        error = await peer.error("delete_session", session_id=session.id)
        assert error == expected.partition(" If nobody")[0] + (f" {ONLY_THE_USER}" if action == "cancel" else "")
        assert await peer.backend.get_session(session.id) == session
