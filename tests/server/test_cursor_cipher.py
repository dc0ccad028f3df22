"""Encrypted cursors continue every list, reveal nothing, and are valid only for their user."""

import json
import re
from collections.abc import AsyncGenerator
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st
from mcp.shared.exceptions import MCPError

from mcp_sessions import cursors, open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid
from mcp_sessions.models import Message, MessagePage, NewMessage, Run, RunPage, Session, SessionPage
from mcp_sessions.output.fit_pages import fit
from mcp_sessions.output.fit_values import compact
from mcp_sessions.output.render import payload_of
from mcp_sessions.server.cursor_cipher import CursorCipher
from tests.support.clients import both_eras
from tests.support.http_calls import Calls, calls
from tests.support.http_server import Server, connected
from tests.support.http_tokens import guarded

ALL = "sessions:read sessions:write sessions:delete"
ERAS = pytest.mark.parametrize("era", ["2026-07-28", "2025-06-18"])
SESSIONS = 120
MESSAGES = 60
LEAST = 2_000

Served = tuple[Server, dict[str, str]]


@pytest.fixture(scope="module")
async def served(tmp_path_factory: pytest.TempPathFactory) -> AsyncGenerator[Served]:
    folder = tmp_path_factory.mktemp("cipher")
    url = f"sqlite:///{folder}/sessions.db"
    async with open_backend(url) as backend:
        for user in ("ada", "bob"):
            store = backend.for_caller(Caller(user_id=user))
            for number in range(SESSIONS if user == "ada" else 3):
                await store.create_session(name=f"session {number} {'long' * 20}")
            long = await store.create_session(name="the long one")
            said = [NewMessage(role="user", text=f"word {number} {'x' * 300}") for number in range(MESSAGES)]
            await store.append_messages(long.id, said)
    async with guarded(folder, "--backend", url, "--max-chars", str(LEAST), ada=ALL, bob=ALL) as served:
        yield served


def peer(served: Served, era: str, name: str = "ada") -> Any:
    return calls(served[0].url, era, served[1][name])


async def walk(ada: Calls, tool: str, **arguments: Any) -> tuple[list[dict[str, Any]], list[str]]:
    """Return the pages, and the cursors that led from one page to the next."""
    pages = [await ada.call(tool, **arguments)]
    cursors: list[str] = []
    while "next_cursor" in pages[-1]:
        cursors.append(pages[-1]["next_cursor"])
        assert len(cursors) < 500
        pages.append(await ada.call(tool, **arguments, cursor=cursors[-1]))
    for page in pages:
        assert len(json.dumps(page, ensure_ascii=False, separators=(",", ":"))) <= LEAST
    assert len(set(cursors)) == len(cursors)
    return pages, cursors


async def long_one(ada: Calls) -> str:
    return (await ada.call("list_sessions", query="the long one"))["sessions"][0]["id"]


@pytest.mark.slow
@ERAS
async def test_encrypted_cursors_continue_every_list_and_reveal_nothing(era: str, served: Served) -> None:
    async with peer(served, era) as ada:
        id = await long_one(ada)
        walked: list[str] = []
        for tool, rows, expected, arguments in (
            ("list_sessions", "sessions", SESSIONS + 1, {"limit": 100}),
            ("list_sessions", "sessions", SESSIONS, {"query": "session ", "order": "created_asc", "limit": 7}),
            ("search_sessions", "hits", MESSAGES, {"query": "word", "limit": 9}),
            ("get_session_history", "messages", MESSAGES, {"session_id": id, "limit": 100}),
            ("get_session_runs", "runs", None, {"session_id": id, "limit": 1}),
        ):
            pages, cursors = await walk(ada, tool, **arguments)
            ids = [row.get("message_id") or row["id"] for page in pages for row in page[rows]]
            assert len(ids) == len(set(ids))
            assert expected is None or len(ids) == expected
            walked += cursors
        for shown in walked:
            assert re.fullmatch(r"[A-Za-z0-9_-]+", shown)
            assert len(shown) <= 200
            assert "." not in shown
        message = (await ada.call("get_session_history", session_id=id, limit=1))["messages"][0]["id"]
        pages, _ = await walk(ada, "get_session_history", session_id=id, message_id=message)
        text = "".join(page["messages"][0]["text"] for page in pages)
        assert text == f"word {MESSAGES - 1} {'x' * 300}"


@both_eras
async def test_encrypted_cursors_continue_the_list_of_resources(era: str, served: Served) -> None:
    async with connected(served[0].url, era, Authorization=f"Bearer {served[1]['ada']}") as ada:
        page = await ada.list_resources()
        uris = [resource.uri for resource in page.resources]
        while page.next_cursor:
            assert "." not in page.next_cursor
            page = await ada.list_resources(cursor=page.next_cursor)
            uris += [resource.uri for resource in page.resources]
        assert len(uris) == len(set(uris)) == SESSIONS + 1


def altered(encrypted: str) -> list[str]:
    """Return changed copies of an encrypted cursor."""
    half = len(encrypted) // 2
    flipped = "B" if encrypted[half] == "A" else "A"
    plain = cursors.mark(cursors.walk("x"), 1)
    return [
        *(
            encrypted[:-4],
            encrypted[4:],
            encrypted[:half] + flipped + encrypted[half + 1 :],
            encrypted * 2,
            plain,
            "A",
            "AAAA",
            "é",
        ),
        *("A" * 22, "A" * 100_000, "\x00", "=", "....", encrypted[::-1]),
    ]


@ERAS
async def test_an_altered_cursor_and_one_of_another_user_are_refused(era: str, served: Served) -> None:
    async with peer(served, era) as ada, peer(served, era, "bob") as bob:
        for tool, arguments in (
            ("list_sessions", {"limit": 2}),
            ("search_sessions", {"query": "word", "limit": 2}),
            ("get_session_history", {"session_id": await long_one(ada), "limit": 2}),
        ):
            encrypted = (await ada.call(tool, **arguments))["next_cursor"]
            assert (await ada.call(tool, **arguments, cursor=encrypted))["next_cursor"] != encrypted
            for told in altered(encrypted):
                result = await ada.result(tool, **arguments, cursor=told)
                assert result["content"][0]["text"].startswith(
                    'invalid: "cursor" is not one that this tool returned to'
                )
            result = await bob.result(tool, **arguments, cursor=encrypted)
            assert result["content"][0]["text"].startswith('invalid: "cursor" is not one that this tool returned to')
        other = await ada.result(
            "search_sessions", query="word", cursor=(await ada.call("list_sessions"))["next_cursor"]
        )
        assert other["content"][0]["text"].startswith('invalid: "cursor" ')
        assert "sessions" in await ada.call("list_sessions", cursor=None)
        wrongs: list[Any] = [5, ["x"], {}]
        for wrong in wrongs:
            result = await ada.result("list_sessions", cursor=wrong)
            assert result["content"][0]["text"].startswith("invalid: ")


@both_eras
async def test_a_cursor_of_another_user_lists_no_resources(era: str, served: Served) -> None:
    async with connected(served[0].url, era, Authorization=f"Bearer {served[1]['ada']}") as ada:
        encrypted = (await ada.list_resources()).next_cursor
    assert encrypted
    async with connected(served[0].url, era, Authorization=f"Bearer {served[1]['bob']}") as bob:
        for told in (encrypted, "x", "1.2.3"):
            with pytest.raises(MCPError, match='invalid: "cursor" is not one'):
                await bob.list_resources(cursor=told)


@given(st.sampled_from(["m", "r", "s"]), st.integers(1, 40), st.integers(1, 400), st.integers(1_000, 8_000))
def test_a_page_with_encrypted_cursors_of_any_length_fits(kind: str, count: int, length: int, limit: int) -> None:
    cipher = CursorCipher(b"secret")
    marks = [f"{number:0{length}}" for number in range(count)]
    page: MessagePage | RunPage | SessionPage
    if kind == "m":
        messages = [Message(id=mark[-3:], role="user", text="x" * 300, cursor=mark) for mark in marks]
        page = MessagePage(session_id="s", messages=tuple(messages), next_cursor=marks[0])
    elif kind == "r":
        runs = [Run(id=mark[-3:], input="x" * 300, cursor=mark) for mark in marks]
        page = RunPage(session_id="s", runs=tuple(runs), next_cursor=marks[-1])
    else:
        sessions = [Session(id=mark[-3:], name="x" * 300, cursor=mark) for mark in marks]
        page = SessionPage(sessions=tuple(sessions), next_cursor=marks[-1])
    payload = fit(page, payload_of(page, str), limit, lambda cursor: cipher.encrypt(cursor, "ada"))
    assert len(compact(payload)) <= limit
    assert cipher.decrypt(payload["next_cursor"], "ada") in marks


@given(st.integers(2_000, 20_000), st.integers(1_000, 1_500))
def test_a_part_of_a_long_message_with_an_encrypted_cursor_fits(length: int, limit: int) -> None:
    cipher = CursorCipher(b"secret")
    page = MessagePage(session_id="s", messages=(Message(id="m1", role="user", text="x" * length),), part=0)
    payload = fit(page, payload_of(page, str), limit, lambda cursor: cipher.encrypt(cursor, "ada"))
    assert limit - 80 <= len(compact(payload)) <= limit
    walk = cursors.walk("part", "s", "m1")
    (position,) = cursors.read(cipher.decrypt(payload["next_cursor"], "ada"), walk, 1)
    assert position == len(payload["messages"][0]["text"]) + 1


def test_a_cursor_can_be_decrypted_only_with_the_same_secret() -> None:
    encrypted = CursorCipher(b"secret").encrypt("a.1", "ada")
    assert CursorCipher(b"secret").encrypt("a.1", "ada") == encrypted
    assert CursorCipher(b"secret").decrypt(encrypted, "ada") == "a.1"
    for secret, user in ((b"other", "ada"), (b"secret", "bob"), (b"secret", "")):
        with pytest.raises(Invalid):
            CursorCipher(secret).decrypt(encrypted, user)
