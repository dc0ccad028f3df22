"""The search index on PostgreSQL finds exactly the texts that contain the words of a search."""

from collections.abc import AsyncGenerator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.errors import Invalid
from mcp_sessions.models import NewMessage
from mcp_sessions.text.search_query import parse_query

from ...support.databases import EmptyDatabase
from .test_sqlite_queries import HOSTILE

SCRIPTS = "aA éÉ ßẞ ﬁ 京東北 한국 か゚が ไทย ـَع я ё 1٣½ Ω ' \" \\ % _ & | ! : * ( ) < > - @ \t\n 😀"
texts = st.text(st.one_of(st.sampled_from(SCRIPTS), st.characters(exclude_categories=["Cs"], exclude_characters="\0")))


@pytest.fixture
async def store(postgres: EmptyDatabase) -> AsyncGenerator[SessionBackend]:
    async with postgres.opened() as backend:
        yield backend


async def _say(store: SessionBackend, *said: str) -> str:
    session = await store.create_session()
    await store.append_messages(session.id, [NewMessage(role="user", text=text) for text in said])
    return session.id


async def _found(store: SessionBackend, query: str, limit: int = 7) -> list[str]:
    """Return the hits of all pages: with long texts, a page may end early."""
    found: list[str] = []
    cursor = ""
    while True:
        page = await store.search_sessions(query, limit=limit, cursor=cursor)
        found += [hit.message_id for hit in page.hits]
        cursor = page.next_cursor
        if not cursor:
            return found


@example(said="00000000000000000\x9b0", other="", start=17, length=2, is_open=False)
@given(said=texts, other=texts, start=st.integers(0, 30), length=st.integers(1, 12), is_open=st.booleans())
@settings(max_examples=300, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
async def test_any_query_finds_the_texts_that_contain_its_words(
    store: SessionBackend, said: str, other: str, start: int, length: int, is_open: bool
) -> None:
    query = said[start : start + length] + ("*" if is_open else "")
    try:
        parsed = parse_query(query)
    except Invalid:
        return
    session_id = await _say(store, said, other, said + other)
    page = await store.search_sessions(query, limit=50)
    found = {hit.message_id for hit in page.hits if hit.session_id == session_id}
    assert found == {f"m{number}" for number, text in enumerate((said, other, said + other), 1) if parsed.matches(text)}


@pytest.mark.parametrize("query", HOSTILE)
async def test_no_character_of_a_query_is_an_operator(store: SessionBackend, query: str) -> None:
    await _say(store, "common owner words 1 a b", query.strip()[:400])
    try:
        parsed = parse_query(query)
    except Invalid:
        return
    assert ("m1" in await _found(store, query)) is parsed.matches("common owner words 1 a b")


async def test_a_text_of_the_maximum_length_is_found(store: SessionBackend) -> None:
    words = " ".join(f"ж{number:07x}щ" for number in range(100_000))[: 1024 * 1024]
    await _say(store, words, "x" * 1024 * 1024, "京" * 1024 * 1024, "short")
    assert await _found(store, "ж0000001щ") == ["m1"]
    assert await _found(store, "ж00000*") == ["m1"]
    assert await _found(store, "ж0000001щ short") == []
    assert await _found(store, "x" * 50 + "*") == ["m2"]
    assert await _found(store, "x" * 400 + "*") == ["m2"]
    assert await _found(store, "x" * 400) == []
    assert await _found(store, "京京京") == ["m3"]


async def test_long_words_with_the_same_beginning_are_distinguished(store: SessionBackend) -> None:
    await _say(store, "y" * 150 + "a", "y" * 150 + "b")
    assert await _found(store, "y" * 150 + "a") == ["m1"]
    assert await _found(store, "y" * 150) == []
    assert await _found(store, "y" * 150 + "*") == ["m2", "m1"]


async def test_characters_without_spaces_between_must_be_adjacent(store: SessionBackend) -> None:
    await _say(store, "北京", "京北", "北 京", "北方東京")
    assert await _found(store, "北京") == ["m3", "m1"]
    assert await _found(store, "京 北") == ["m4", "m3", "m2", "m1"]


async def test_a_word_of_hidden_characters_finds_nothing(store: SessionBackend) -> None:
    await _say(store, "word", "\u3164", "")
    assert await _found(store, "\u3164") == []
    assert await _found(store, "word \u3164") == []


async def test_the_pages_of_a_search_over_many_texts_have_each_once(
    store: SessionBackend, postgres: EmptyDatabase
) -> None:
    """Uses more than one stretch of keys, so that both kinds of query plan run."""
    session_id = await _say(store, "word")
    postgres.sql(
        "INSERT INTO mcp_sessions.messages (session_key, number, run, role, created_at, tool_name, tool_calls,"
        " attachments, text) SELECT m.session_key, n, 1, 'user', m.created_at, '', '', '',"
        " CASE WHEN n % 1000 = 2 THEN 'rare word' ELSE 'word' END"
        " FROM mcp_sessions.messages m, generate_series(2, 20000) n"
    )
    postgres.sql(
        "INSERT INTO mcp_sessions.message_index SELECT key, '', ' ' || text || ' ',"
        " array_to_tsvector(string_to_array(text, ' ')) FROM mcp_sessions.messages WHERE number > 1"
    )
    postgres.sql("UPDATE mcp_sessions.sessions SET message_count = 20000 WHERE id = %s", session_id)
    assert await _found(store, "rare") == [f"m{number * 1000 + 2}" for number in range(19, -1, -1)]


async def test_frequent_pages_are_found_and_sorted_by_an_index(postgres: EmptyDatabase) -> None:
    conditions = {
        "place = 0": ("updated_at", "created_at"),
        "user_id = 'u' AND place = 0": ("updated_at", "created_at"),
        "agent_id = 'a' AND place = 0": ("updated_at",),
    }
    async with postgres.opened():
        pass
    with postgres.connected() as connection:
        connection.execute("SET enable_seqscan = off")
        connection.execute("SET enable_bitmapscan = off")
        for condition, columns in conditions.items():
            for column in columns:
                plan = connection.execute(
                    f"EXPLAIN SELECT * FROM mcp_sessions.sessions WHERE {condition} AND ({column}, key) < (1, 1)"
                    f" ORDER BY {column} DESC, key DESC LIMIT 20".encode()
                ).fetchall()
                shown = "\n".join(line for (line,) in plan)
                assert "Index Scan Backward using sessions_" in shown
                assert "Sort" not in shown
                assert f"ROW({column}, key) <" in shown.partition("Index Cond")[2]
