"""Compares words as a search does, and finds them in a text.

Whole words match, in any case, with or without accents. A word that ends in `*` matches as a prefix. In scripts
written without spaces between words, each character is a word, so that any part of a text matches.
"""

import re
import unicodedata
from collections.abc import Sequence

from ..errors import Invalid, quoted
from .sanitize import clean
from .validate import check_text

# Signs that writers often omit: accents of Latin, Greek and Cyrillic, points of Hebrew, vowels of Arabic.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]"
)
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])"
)

_QUERY_LENGTH = 500
_MAX_WORDS = 16
_SNIPPET = 160  # characters
_PART = 4096  # characters searched at once
_OVERLAP = 512


def words_of(query: str) -> list[str]:
    """Return the words of a query that have a letter or digit. A trailing `*` marks a prefix.

    Raise `Invalid` if there are none or too many words, or if a prefix is too short.
    """
    words = [
        word.rstrip("*") + "*" if word.endswith("*") else word
        for word in check_text(query, "query", _QUERY_LENGTH).split()
        if any(unicodedata.category(char)[0] in "LN" for char in word)
    ]
    if not words:
        raise Invalid('"query" has no letter or digit. Give words to search for.')
    short = next((word for word in words if word.endswith("*") and len(word) < 3), "")
    if short:
        raise Invalid(f'"query" has {quoted(short)}, too short for a prefix. Give at least two letters before the *.')
    if len(words) > _MAX_WORDS:
        raise Invalid(f'"query" has {len(words)} words; at most {_MAX_WORDS} are allowed. Give the rarest.')
    return words


def fold(text: str) -> str:
    """Return the text in lower case, without accents, and with compatibility characters (NFKD) resolved."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()


def contains_words(text: str, words: Sequence[str]) -> bool:
    """Return whether the text contains every word. A word without letters and digits is in no text."""
    padded, wanted = f" {tokenize(text)} ", [tokenize(word) for word in words]
    return all(wanted) and all(
        f" {part}{'' if word.endswith('*') else ' '}" in padded for word, part in zip(words, wanted, strict=True)
    )


def tokenize(text: str) -> str:
    """Return the words of a text as the index stores them, separated by single spaces."""
    return " ".join(re.findall(r"[^\W_]+", fold(index_text(text))))


def index_text(text: str) -> str:
    """Return the text for the index: cleaned, folded, and with spaces between the characters of unspaced scripts."""
    text = clean(text)
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFC", fold(text)))


def fold_name(name: str) -> str:
    """Return a name in the form in which names are compared: without invisible characters, case and accents."""
    return fold(clean(name))


def find_first(text: str, words: Sequence[str]) -> tuple[int, int]:
    """Return the span of the first whole match of any of the words, else of the first partial match, else (0, 0)."""
    parts = [re.findall(r"[^\W_]+", fold(word)) for word in words]
    heads = [head for head, *_ in filter(None, parts)]
    inside = "|".join(r"[\W_]+".join(part) for part in parts if part)
    alone = "|".join(
        r"[\W_]+".join(part) + ("" if word.endswith("*") else r"(?![^\W_])")
        for part, word in zip(parts, words, strict=True)
        if part
    )
    by_itself, anywhere = re.compile(rf"(?<![^\W_])(?:{alone})"), re.compile(inside)
    fallback = (0, 0)
    for begin in range(0, len(text), _PART):
        part = text[begin : begin + _PART + _OVERLAP]
        seen = fold(part)
        if not any(head in seen for head in heads):
            continue
        if found := by_itself.search(seen):
            return _span(begin, part, *found.span())
        if fallback == (0, 0) and (found := anywhere.search(seen)):
            fallback = _span(begin, part, *found.span())
    return fallback


def _span(begin: int, part: str, start: int, end: int) -> tuple[int, int]:
    """Return the span in the text that belongs to a span of the folded part, which begins at `begin`."""
    ascii_length = len(part) if part.isascii() else next(i for i, char in enumerate(part) if not char.isascii())
    # Folding keeps the length of ASCII.
    origins = [*range(ascii_length)]
    origins += (ascii_length + index for index, char in enumerate(part[ascii_length:]) for _ in fold(char))
    return begin + origins[start], begin + origins[end - 1] + 1


def snippet(text: str, words: Sequence[str]) -> str:
    """Return the part of a text around the first match of the words, on one line."""
    start, end = find_first(text, words)
    begin = max(0, min(start - _SNIPPET // 2, len(text) - _SNIPPET))
    stop = max(begin + _SNIPPET, end)
    part = " ".join(text[begin:stop].split())
    return f"{'…' if begin else ''}{part}{'…' if stop < len(text) else ''}"
