"""Search queries: their terms, the texts that match them, and snippets."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from mcp_sessions.errors import Invalid
from mcp_sessions.text.search_query import parse_query
from mcp_sessions.text.words import contains_words


@pytest.mark.parametrize(
    ("query", "words"),
    [
        ('"one two" three*', ("one two", "three*")),
        ("what, is: this?", ("what", "is", "this")),
        ('say "it is so", then', ("say", "it is so", "then")),
        ('5" and "open', ('5"', "and", "open")),
        ('say "it is', ("say", "it", "is")),
        ('it is". "', ("it", "is")),
        ('x="a b") && ("c', ('x="a', 'b")', '("c')),
        ("🚀 && ...", ()),
        ('** "" word', ("word",)),
    ],
)
def test_the_words_of_a_query_are_those_that_an_index_looks_up(query: str, words: tuple[str, ...]) -> None:
    assert parse_query(query).words == words


@pytest.mark.parametrize(
    ("query", "text", "is_found"),
    [
        ("❤️", "I ❤ it", True),
        ("foo(*args)", "call FOO(*args)", True),
        ("/*", "a /* comment", True),
        ("foo.b*", "foo.bar", True),
        ("foo.b*", "foo.car", False),
        ("c-a", "c-ab", False),
        ("c-京", "c-京都", True),
        ("京-c", "東京-c", True),
        ('"a - b"', "a -\n b", True),
        ('"a - b"', "a b", False),
        ("\u3164", "any", False),
        ("\ue0a0", "on \ue0a0 main", True),
        ("na\u200bme()", "name()", True),
        ("name()", "na\u200bme()", True),
    ],
)
def test_a_word_with_symbols_matches_as_it_was_typed(query: str, text: str, is_found: bool) -> None:
    parsed = parse_query(query)
    assert parsed.matches(text) is is_found
    assert parsed.may_match(text) or not is_found


@pytest.mark.parametrize("query", ["a*", "é*", "+*a b*"])
def test_a_short_prefix_is_refused(query: str) -> None:
    with pytest.raises(Invalid, match="too short"):
        parse_query(query)


def test_too_many_terms_are_refused() -> None:
    with pytest.raises(Invalid, match="17 words"):
        parse_query("+ " * 17)


def test_a_snippet_shows_the_first_term_that_stands_by_itself() -> None:
    text = "xc++ " + "c " * 500 + "then ’foo-bar’ at last" + " end" * 100
    assert "’foo-bar’ at last" in parse_query("'foo-bar'").snippet(text)
    assert parse_query("absent").snippet("short") == "short"


symbols = st.text(st.sampled_from("aB1é京한 +-.*\"'’“_()🚀️\u200b\n"), max_size=12)


@given(symbols, symbols, symbols)
@settings(max_examples=200, deadline=None)
def test_a_text_that_matches_also_contains_the_words_and_has_a_snippet(query: str, before: str, after: str) -> None:
    try:
        parsed = parse_query(query)
    except Invalid:
        return
    text = f"{before} {query} {after}"
    parsed.snippet(text)
    if parsed.matches(text):
        assert contains_words(text, parsed.words)
        assert parsed.may_match(text)
    assert '"' in query or "*" in query or "“" in query or parsed.matches(text)
