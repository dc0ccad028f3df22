"""Parses search queries, decides which texts match them, and makes snippets.

A query is a list of terms, all of which a text must contain: words, prefixes (`word*`), quoted phrases, and words
that contain symbols (`C++`, `foo.bar()`, `--flag`). A term with symbols must be in the text as it was typed, in any
case. A quotation mark that begins or ends a word, but no phrase, is ignored. An index finds the texts that contain the
words of a query; then `contains_symbols` decides by the text itself.
"""

import re
import unicodedata
from dataclasses import dataclass
from functools import cached_property

from ..errors import Invalid, quoted
from .sanitize import clean
from .validate import check_text
from .words import UNSPACED, contains_words, fold, split_words

_QUERY_LENGTH = 500
_MAX_TERMS = 16
_SNIPPET = 160  # characters
_CHUNK = 4096  # characters searched at once
_CHUNK_OVERLAP = 512

_PUNCTUATION = ".,;:!?…"
"""Characters that are ignored at the end of a word, since they usually end a sentence."""

_TERM = re.compile(rf'(?<!\S)"([^"]*)"[{_PUNCTUATION}]*(?!\S)|(\S+)')
_is_operator = re.compile(r"AND|OR|NOT|-[^\W\d]{2,}|[^\W\d]+\*[^\W\d]+").fullmatch
_CURLY_QUOTES = re.compile("[“”„]")
_VARIANTS = re.compile("([‘’])|([“”„])|[\ufe0e\ufe0f]")
_WORD_START = rf"(?:(?<![^\W_])|(?<=[{UNSPACED}]))"
_WORD_END = rf"(?:(?![^\W_])|(?=[{UNSPACED}]))"


def note_on_operators(query: str) -> str:
    """Return a note that the operators in a query are searched as they are typed, "" if it has none."""
    if not any(match[2] and _is_operator(match[2]) for match in _TERM.finditer(query)):
        return ""
    return (
        "Every term must occur: AND, OR, NOT, -word and a * inside a word are searched as they are typed. Search for "
        "each alternative on its own."
    )


@dataclass(frozen=True, slots=True)
class _Term:
    """A part of a query. `word` is looked up in the index, `pattern` is a regular expression. Either may be ""."""

    word: str
    pattern: str


@dataclass(frozen=True)
class SearchQuery:
    """A parsed query.

    `words` are words, prefixes (with a trailing `*`) and phrases (several words). If a query consists of symbols only,
    there are none, and every text is a candidate.
    """

    terms: tuple[_Term, ...]

    @cached_property
    def words(self) -> tuple[str, ...]:
        return tuple(term.word for term in self.terms if term.word)

    @cached_property
    def key(self) -> tuple[tuple[str, str], ...]:
        """A value that identifies the query in cursors."""
        return tuple((term.word, term.pattern) for term in self.terms)

    @cached_property
    def _symbol_patterns(self) -> list[re.Pattern[str]]:
        return [re.compile(term.pattern) for term in self.terms if term.pattern]

    @cached_property
    def _parts(self) -> list[str]:
        return [part for word in self.words for part in split_words(fold(word))]

    def may_match(self, text: str) -> bool:
        """Return False if the text can't match. This is much faster than `matches`."""
        comparable = fold(clean(text))
        return all(part in comparable for part in self._parts)

    def matches(self, text: str) -> bool:
        """Return whether the text contains every term."""
        return contains_words(text, self.words) and self.contains_symbols(text)

    def contains_symbols(self, text: str) -> bool:
        """Return whether the text contains every term with symbols. Use this on texts that contain the words."""
        if not self._symbol_patterns:
            return True
        comparable = _comparable(clean(text))
        return all(pattern.search(comparable) for pattern in self._symbol_patterns)

    @property
    def needs_text(self) -> bool:
        """Whether the words alone don't decide if a text matches."""
        return bool(self._symbol_patterns)

    def snippet(self, text: str) -> str:
        """Return the part of a text around the first match of any term, on one line."""
        start, end = self._find_first(text)
        begin = max(0, min(start - _SNIPPET // 2, len(text) - _SNIPPET))
        stop = max(begin + _SNIPPET, end)
        part = " ".join(text[begin:stop].split())
        return f"{'…' if begin else ''}{part}{'…' if stop < len(text) else ''}"

    def _find_first(self, text: str) -> tuple[int, int]:
        """Return the span of the first whole match of any term, else of the first partial match, else (0, 0)."""
        whole, anywhere = self._patterns
        fallback = (0, 0)
        for begin in range(0, len(text), _CHUNK):
            part = text[begin : begin + _CHUNK + _CHUNK_OVERLAP]
            seen = _comparable(part)
            if found := whole.search(seen):
                return _span(begin, part, *found.span())
            if fallback == (0, 0) and (found := anywhere.search(seen)):
                fallback = _span(begin, part, *found.span())
        return fallback

    @cached_property
    def _patterns(self) -> tuple[re.Pattern[str], re.Pattern[str]]:
        """Patterns of a whole match and of a partial match of any term."""
        whole: list[str] = []
        anywhere: list[str] = []
        for term in self.terms:
            inside = term.pattern or r"[\W_]+".join(split_words(fold(term.word)))
            end = "" if term.word.endswith("*") else r"(?![^\W_])"
            if inside:
                anywhere.append(inside)
                whole.append(inside if term.pattern else rf"(?<![^\W_]){inside}{end}")
        nothing = "(?!)"
        return re.compile("|".join(whole) or nothing), re.compile("|".join(anywhere) or nothing)


def parse_query(query: str) -> SearchQuery:
    """Return the terms of a query.

    Raise `Invalid` if there are none or too many, or if a prefix is too short.
    """
    typed = _CURLY_QUOTES.sub('"', check_text(query, "query", _QUERY_LENGTH))
    terms = tuple(
        term
        for match in _TERM.finditer(typed)
        if (term := _phrase(match[1]) if match[2] is None else _word(_unquoted(match[2])))
    )
    if not terms:
        raise Invalid('"query" has no word and no symbol. Give words to search for.')
    if len(terms) > _MAX_TERMS:
        raise Invalid(f'"query" has {len(terms)} words; at most {_MAX_TERMS} are allowed. Give the rarest.')
    return SearchQuery(terms)


def _unquoted(typed: str) -> str:
    """Return a word without the quotation mark of a phrase that does not begin or end where it should."""
    if typed.count('"') % 2 == 0:
        return typed  # the word has a quotation of its own, if any
    if typed.startswith('"'):
        return typed[1:]
    return re.sub(rf'(?<!\d)"(?=[{_PUNCTUATION}]*$)', "", typed)  # 5" may be five inches


def _word(typed: str) -> _Term | None:
    """Return the term for a word, or None if it has no visible character except `*`."""
    if not _has_word(typed):
        folded = _comparable(clean(typed))
        return _Term("", re.escape(folded)) if folded.strip("*") and _has_symbol(folded) else None
    word = typed.rstrip(_PUNCTUATION)
    is_prefix = word.endswith("*")
    word = word.rstrip("*")
    if is_prefix and len(word) < 2:
        raise Invalid(
            f'"query" has {quoted(word + "*")}, too short for a prefix. Give at least two letters before the *.'
        )
    return _Term(word + "*" * is_prefix, _pattern([word], is_prefix=is_prefix))


def _phrase(typed: str) -> _Term | None:
    """Return the term for a quoted phrase. It is compared as typed if one of its words contains a symbol."""
    words = [word.rstrip(_PUNCTUATION) if _has_word(word) else word for word in typed.split()]
    pattern = _pattern(words, is_prefix=False)
    phrase = " ".join(words)
    return _Term(phrase if _has_word(phrase) else "", pattern) if pattern or _has_word(phrase) else None


def _pattern(words: list[str], *, is_prefix: bool) -> str:
    """Return a pattern that matches the words as they were typed, or "" if none of them contains a symbol."""
    folded = [part for word in words if (part := _comparable(clean(word)))]
    if not any(map(_has_symbol, folded)):
        return ""
    start = _WORD_START if _has_word(folded[0][0]) else ""
    end = _WORD_END if _has_word(folded[-1][-1]) and not is_prefix else ""
    return start + rf"[{_PUNCTUATION}]*\s+".join(map(re.escape, folded)) + end


def _has_word(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "LN" for char in text + fold(text))


def _has_symbol(text: str) -> bool:
    return any(unicodedata.category(char)[0] in "PS" or unicodedata.category(char) == "Co" for char in text)


def _comparable(text: str) -> str:
    """Return the text in the form in which symbols are compared: folded, with straight quotes, without selectors."""
    if text.isascii():
        return text.lower()
    return _VARIANTS.sub(lambda match: "'" if match[1] else '"' if match[2] else "", fold(text))


def _span(begin: int, part: str, start: int, end: int) -> tuple[int, int]:
    """Return the span in the text that belongs to a span of the folded part, which begins at `begin`."""
    ascii_length = len(part) if part.isascii() else next(i for i, char in enumerate(part) if not char.isascii())
    # Folding keeps the length of ASCII.
    origins = [*range(ascii_length)]
    origins += (ascii_length + index for index, char in enumerate(part[ascii_length:]) for _ in _comparable(char))
    return begin + origins[start], begin + origins[end - 1] + 1
