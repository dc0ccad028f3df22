"""Search on both databases: the order of hits, their snippets, and what is left out."""

from pathlib import Path

import pytest

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.database import search as store_search
from mcp_sessions.caller import Caller
from mcp_sessions.models import Attachment, NewMessage, SearchHit, ToolCall

from ...support.store_files import assert_whole


@pytest.fixture(autouse=True)
def ample_budget(monkeypatch: pytest.MonkeyPatch) -> None:
    """Give each search ten seconds, since these tests are not about its budget and the machine may be busy."""
    monkeypatch.setattr(store_search, "BUDGET", 10)


async def _say(store: SessionBackend, *texts: str, name: str = "") -> str:
    session = await store.create_session(name=name)
    if texts:
        await store.append_messages(session.id, [NewMessage(role="user", text=text) for text in texts])
    return session.id


async def _hits(store: SessionBackend, query: str, limit: int = 50) -> list[SearchHit]:
    page = await store.search_sessions(query, limit=limit)
    assert (page.complete, page.note) == (True, "")
    return list(page.hits)


async def test_names_come_first_and_each_kind_newest_first(store: SessionBackend) -> None:
    one = await _say(store, "word 1", "word 2", name="word one")
    two = await _say(store, "word 3", name="word two")
    await store.append_messages(one, [NewMessage(role="user", text="word 4")])
    places = [(hit.session_id, hit.message_id) for hit in await _hits(store, "word")]
    assert places == [(two, ""), (one, ""), (one, "m3"), (two, "m1"), (one, "m2"), (one, "m1")]


async def test_a_hit_has_the_time_of_its_message_and_its_session(store: SessionBackend) -> None:
    session_id = await _say(store, "word", name="Trip")
    (hit,) = await _hits(store, "word")
    (message,) = (await store.get_session_history(session_id)).messages
    assert (hit.session_name, hit.message_id, hit.role, hit.created_at) == ("Trip", "m1", "user", message.created_at)
    (hit,) = await _hits(store, "trip")
    session = await store.get_session(session_id)
    assert (hit.message_id, hit.role, hit.snippet, hit.created_at) == ("", "", "", session.created_at)


async def test_a_search_covers_all_roles_but_not_tool_calls_attachments_or_state(store: SessionBackend) -> None:
    session = await store.create_session(state={"hidden": "hidden"}, metadata={"hidden": "hidden"}, agent_id="hidden")
    await store.update_session(session.id, summary="hidden")
    call = ToolCall(id="hidden", name="hidden", arguments="hidden")
    attachment = Attachment(type="hidden", url="hidden")
    await store.append_messages(
        session.id,
        [
            NewMessage(role="system", text="word"),
            NewMessage(role="user", text="word", attachments=(attachment,)),
            NewMessage(role="assistant", text="word", tool_calls=(call,)),
            NewMessage(role="tool", text="word", tool_name="hidden"),
        ],
    )
    assert [hit.role for hit in await _hits(store, "word")] == ["tool", "assistant", "user", "system"]
    assert await _hits(store, "hidden") == []


WORDS = (
    *(("word", "word"), ("WORD", "word"), ("words", "word*"), ("café", "cafe"), ("cafe", "café")),
    *(("cafe\u0301", "CAFÉ"), ("Straße", "strasse"), ("strasse", "STRAẞE"), ("ﬁnal", "final"), ("final", "ﬁnal")),
    *(("北京", "北京"), ("去北京旅游", "京"), ("ﾊﾝｶｸ", "ハンカク"), ("안녕하세요", "하세"), ("नमस्ते", "नमस्ते")),
    *(
        ("ещё", "ЕЩЕ"),
        ("Καλημέρα", "ΚΑΛΗΜΕΡΑ"),
        ("foo-bar", "FOO-BAR"),
        ("don't", "don't"),
        ('"quoted"', '"quoted"'),
    ),
    *(("İstanbul", "istanbul"), ("a b", "b a")),
)
"""A word as it is said, and a query that finds it."""


@pytest.mark.parametrize(
    ("said", "query", "place"),
    [
        *((said, query, 500) for said, query in WORDS),
        *(("word", "word", place) for place in (0, 1, 100_000)),
        *(("去北京旅游", "京", place) for place in (0, 100_000)),
    ],
)
async def test_a_snippet_shows_the_word_in_its_context(
    store: SessionBackend, said: str, query: str, place: int
) -> None:
    before, after = "lorem ipsum dôlor " * (place // 18 + 1), " sit amet " * 50
    text = (before[-place:] if place else "") + f" {said} " + after
    await _say(store, text)
    (hit,) = await _hits(store, query)
    assert said in hit.snippet
    assert len(hit.snippet) <= 165
    assert hit.snippet.startswith("…") is (place >= 500)
    assert hit.snippet.endswith("…")
    assert hit.snippet.strip("…") in " ".join(text.split())


async def test_a_snippet_shows_a_very_long_word_completely(store: SessionBackend) -> None:
    await _say(store, "before " * 50 + "x" * 400 + " after" * 50)
    (hit,) = await _hits(store, "x" * 400)
    assert "x" * 400 in hit.snippet
    assert len(hit.snippet) < 500


async def test_a_snippet_prefers_a_whole_word_to_a_part_of_one(store: SessionBackend) -> None:
    await _say(store, "concatenate " * 100 + "the cat sat " + "educate " * 100)
    (hit,) = await _hits(store, "cat")
    assert "the cat sat" in hit.snippet


async def test_a_short_text_is_its_own_snippet_on_one_line(store: SessionBackend) -> None:
    await _say(store, "  One\tword\r\n\n  and   another\u2003one ")
    (hit,) = await _hits(store, "word")
    assert hit.snippet == "One word and another one"


async def test_a_renamed_session_is_found_only_by_its_new_name(store: SessionBackend, path: Path) -> None:
    session_id = await _say(store, name="Before")
    await store.rename_session(session_id, "After")
    assert await _hits(store, "before") == []
    assert len(await _hits(store, "after")) == 1
    await store.rename_session(session_id, "")
    assert await _hits(store, "after") == []
    assert_whole(path)


async def test_archived_sessions_are_found_and_deleted_ones_are_not(store: SessionBackend) -> None:
    archived, deleted = await _say(store, "word", name="word"), await _say(store, "word", name="word")
    await store.archive_session(archived)
    await store.delete_session(deleted)
    assert [hit.session_id for hit in await _hits(store, "word")] == [archived, archived]
    assert [hit.session_id for hit in await _hits(store, "word", limit=1)] == [archived]


async def test_deleted_sessions_do_not_shorten_a_page(store: SessionBackend) -> None:
    kept = await _say(store, "word")
    for _ in range(30):
        await store.delete_session(await _say(store, "word"))
    page = await store.search_sessions("word", limit=5)
    assert [hit.session_id for hit in page.hits] == [kept]
    assert page.next_cursor == ""


async def test_a_fork_is_found_by_the_messages_it_copied(store: SessionBackend, path: Path) -> None:
    ann = store.for_caller(Caller(user_id="ann"))
    source = await _say(ann, "first word", "second word", name="Trip")
    fork = (await store.fork_session(source, up_to_message_id="m1", name="Fork")).id
    assert {(hit.session_id, hit.message_id) for hit in await _hits(ann, "word")} == {
        (source, "m2"),
        (source, "m1"),
        (fork, "m1"),
    }
    assert [hit.session_id for hit in await _hits(ann, "fork")] == [fork]
    assert_whole(path)
