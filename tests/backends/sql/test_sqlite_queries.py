"""Any query either works or is `invalid`, and never finds anything of another user."""

import unicodedata
from collections.abc import AsyncGenerator
from typing import NamedTuple

import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st

from mcp_sessions.backends.base import SessionBackend
from mcp_sessions.backends.registry import open_backend
from mcp_sessions.caller import Caller
from mcp_sessions.errors import Invalid
from mcp_sessions.models import NewMessage, SearchPage, SessionFilter
from mcp_sessions.text.sanitize import clean

WORDS = "common owner words rowid NEAR AND OR NOT name_index message_index uann uben 1 a b"

HOSTILE = [
    *("owner : uben", "owner:uben OR common", "words : common", "{owner words} : common", "- owner : common"),
    *(
        "common OR other",
        "common AND",
        "NOT common",
        "common NOT",
        "AND OR NOT",
        "NEAR(common other, 10)",
        "NEAR(",
        "NEAR/2",
    ),
    *(
        '"',
        '""',
        '"common',
        'common"',
        '"common" "',
        '" OR owner : "u',
        "'",
        "''",
        "' OR '1'='1",
        "'; DROP TABLE sessions; --",
    ),
    *("(", ")", "((common)", "common)", "(common OR", "^common", "common^", "common + common", "+", "common - other"),
    *(
        "*",
        "**",
        "common*",
        "common**",
        "*common",
        "com*mon",
        "co* *",
        "aa*",
        "11*",
        "%",
        "_",
        "c_mmon",
        "common:",
        ":common",
    ),
    *("{", "}", "[common]", "<common>", "common\\", "\\", "common;", "--common", "/* common */", "common\x01", "\x7f"),
    *("SELECT * FROM sessions", "UNION SELECT text FROM messages", "rank MATCH 'bm25'", "name_index(name_index)"),
    *("common\ncommon", "common\u2028x", "\ufeffcommon", "co\u00admmon", "＂common＂", "ﷺ", "\ufc5e", "common\u0301"),
    "common " * 16,
    "é" * 500,
    "東" * 500,
]


class Scoped(NamedTuple):
    backend: SessionBackend
    ann: SessionBackend
    anns: frozenset[str]


@pytest.fixture(scope="module")
async def scoped() -> AsyncGenerator[Scoped]:
    """Create sessions with the same words for two users and for none."""
    async with open_backend() as backend:
        for user in ("ann", "ben", ""):
            theirs = backend.for_caller(Caller(user_id=user))
            for _ in range(2):
                session = await theirs.create_session(name=WORDS)
                await theirs.append_messages(session.id, [NewMessage(role="user", text=WORDS)])
        ann = backend.for_caller(Caller(user_id="ann"))
        page = await ann.list_sessions(SessionFilter())
        yield Scoped(backend, ann, frozenset(session.id for session in page.sessions))


async def _searched(backend: SessionBackend, query: str) -> SearchPage | None:
    try:
        return await backend.search_sessions(query, limit=50)
    except Invalid as refusal:
        assert refusal.text.isprintable()
        assert '"query"' in refusal.text
        return None


async def _assert_harmless(scoped: Scoped, query: str) -> None:
    page = await _searched(scoped.ann, query)
    assert page is None or {hit.session_id for hit in page.hits} <= scoped.anns
    everything = await _searched(scoped.backend, query)
    assert (page is None) is (everything is None)


@pytest.mark.parametrize("query", HOSTILE)
async def test_a_hostile_query_finds_nothing_of_others(scoped: Scoped, query: str) -> None:
    await _assert_harmless(scoped, query)


@given(st.text(max_size=80))
@settings(max_examples=150, deadline=None)
async def test_any_query_finds_nothing_of_others(scoped: Scoped, query: str) -> None:
    await _assert_harmless(scoped, query)


@pytest.mark.slow
@given(st.lists(st.sampled_from([*WORDS.split(), *"\"'*():^+-{}[]\\,;", " ", "\t", "😀", "é", "東"]), max_size=30))
@settings(max_examples=150, deadline=None)
async def test_any_mix_of_operators_and_words_finds_nothing_of_others(scoped: Scoped, parts: list[str]) -> None:
    await _assert_harmless(scoped, "".join(parts))
    await _assert_harmless(scoped, " ".join(parts))


def _is_letter(char: str) -> bool:
    # A few letters decompose into a space and an accent, or are invisible and removed.
    return clean(char) == char and " " not in unicodedata.normalize("NFKC", char)


words = st.text(st.characters(categories=["L", "Nd"]).filter(_is_letter), min_size=1, max_size=12)


@given(words, st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\0"), max_size=50))
@settings(max_examples=60, deadline=None)
async def test_any_word_of_a_message_is_found(scoped: Scoped, word: str, others: str) -> None:
    text = f"{others} {word} {others}"
    assume(word in clean(text))  # `ESC`, a space and an `L` are a terminal sequence, which is removed
    session = await scoped.backend.create_session()
    await scoped.backend.append_messages(session.id, [NewMessage(role="user", text=text)])
    page = await scoped.backend.search_sessions(word, limit=50)
    assert session.id in {hit.session_id for hit in page.hits}


@pytest.mark.parametrize(
    "query", ["\0", "common\0", "\ud800", "x" * 501, "a*", "two c*", "東*", "a b c d e f g h i j k l m n o p q"]
)
async def test_a_query_that_cannot_be_searched_for_is_invalid(scoped: Scoped, query: str) -> None:
    assert await _searched(scoped.backend, query) is None


async def test_any_name_is_found_by_any_part_of_it(scoped: Scoped) -> None:
    for query in HOSTILE:
        name = query.strip()[:100]
        if name.isprintable() and not name.isspace():
            session = await scoped.ann.create_session(name=name)
            for part in (name, name[1:3], name[-2:]):
                page = await scoped.ann.list_sessions(SessionFilter(query=part), limit=100)
                assert session.id in [listed.id for listed in page.sessions]
                assert {listed.user_id for listed in page.sessions} == {"ann"}


async def test_a_prefix_of_one_letter_is_refused(store: SessionBackend) -> None:
    with pytest.raises(Invalid, match=r'"query" has "w.", too short for a prefix'):
        await store.search_sessions("w*")
