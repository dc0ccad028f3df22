"""The real Codex lists, shows and continues what was changed here."""

import json
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import anyio
import pytest

from ...support.codex_client import CodexClient, installed_codex
from ...support.fakes.model_api import ANSWER, serving
from ...support.fakes.responses_api import ResponsesApi
from ...support.snippets import printed
from .homes import copy_fixtures_in_place, labelled, opened, texts_of

pytestmark = pytest.mark.slow
each_kind = pytest.mark.parametrize("label", ["paginated", "legacy_named"])


@pytest.fixture
def client(tmp_path: Path) -> Iterator[CodexClient]:
    (tmp_path / "project").mkdir()
    with serving(ResponsesApi()) as api:
        client = CodexClient(copy_fixtures_in_place(tmp_path), tmp_path / "project", api)
        client.configure()
        yield client


@each_kind
async def test_codex_continues_a_thread_after_each_change(client: CodexClient, label: str) -> None:
    thread_id = labelled(label)
    asked: list[str] = []

    async def goes_on(session_id: str) -> list[str]:
        """Continue a thread in Codex. Return what the model was sent, without this question and the earlier ones."""
        question = f"Question {len(asked)}"
        texts = await anyio.to_thread.run_sync(partial(client.ask, question, resume=session_id))
        assert texts[-1] == question
        assert (await texts_of(client.home, session_id))[-2:] == [question, ANSWER]
        asked.append(question)
        return texts

    async with opened(client.home, command=str(installed_codex())) as backend:
        await backend.rename_session(thread_id, "A new name")
        before = await goes_on(thread_id)
        assert client.names()[thread_id] == "A new name"
        await backend.archive_session(thread_id)
        assert thread_id not in client.names()
        await backend.restore_session(thread_id)
        assert client.names()[thread_id] == "A new name"
        assert set(before) < set(await goes_on(thread_id))
        fork = await backend.fork_session(thread_id, name="Another way")
        assert client.names()[fork.id] == "Another way"
        assert set(before) < set(await goes_on(fork.id))
        await backend.delete_session(fork.id)
        assert not client.names().keys() & {fork.id}
        assert asked[1] in await goes_on(thread_id)


async def test_codex_names_and_finds_the_thread_it_is_in(
    client: CodexClient, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("CODEX_HOME", str(client.home))
    snippet = printed(capsys, "codex")[0]
    client.configure(snippet.replace("args =", "required = true\nargs =", 1))
    known = client.names()
    client.api.calls = [
        ("rename_session", {"session_id": "current", "name": "Trip to Oslo"}),
        ("search_sessions", {"query": '"fjords by train"'}),
    ]
    await anyio.to_thread.run_sync(client.ask, "Which fjords by train?")
    (thread_id,) = client.names().keys() - known.keys()
    assert client.names()[thread_id] == "Trip to Oslo"
    renamed, found = [result_in(request) for request in client.api.requests[-2:]]
    assert (renamed["session_id"], renamed["resolved_from"]) == (thread_id, "client")
    assert [hit["session_id"] for hit in found["hits"]] == [thread_id]


async def test_a_thread_that_was_reverted_and_its_forks_are_shown_as_codex_continues_them(client: CodexClient) -> None:
    asked = 0

    def ask(thread_id: str) -> None:
        nonlocal asked
        asked += 1
        client.ask(f"Question {asked}", resume=thread_id)

    def shown(thread_id: str) -> list[str]:
        return [text for texts in client.turns(thread_id).values() for text in texts]

    thread_id = labelled("reverted")
    async with opened(client.home, command=str(installed_codex())) as backend:
        for kept in (-1, -1, 0):  # the last turn, that of the new file, and all turns
            turns = await anyio.to_thread.run_sync(client.turns, thread_id)
            await anyio.to_thread.run_sync(client.revert, thread_id, [*turns][kept])
            await anyio.to_thread.run_sync(ask, thread_id)
            fork = await backend.fork_session(thread_id)
            for session_id in (thread_id, fork.id):
                texts = await anyio.to_thread.run_sync(shown, session_id)
                assert texts[-2:] == [f"Question {asked}", ANSWER]
                assert await texts_of(client.home, session_id) == texts


def result_in(request: dict[str, Any]) -> dict[str, Any]:
    """Return the result of the last tool call, as the model gets it."""
    output = request["input"][-1]["output"]
    return json.loads(output[output.index("{") :])
