"""Words as a search compares them, and where they stand in a text.

Words are found whole, in any case, with or without accents; one that ends in `*` is a prefix. In scripts written
without spaces between words, each character is a word, so that any part of a text is found, as by eye.
"""

import re
import unicodedata
from collections.abc import Sequence

from ..errors import Invalid, quoted
from .sanitize import clean
from .validate import plain

# Accents of Latin, Greek and Cyrillic, points of Hebrew, vowels of Arabic: signs that writers leave out at will.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]"
)
_UNSPACED = re.compile(
    "([\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff])"
)

_QUERY_LENGTH = 500
_MOST_WORDS = 16
_SNIPPET = 160  # characters
_PART = 4096  # characters looked at together
_OVERLAP = 512


def words_of(query: str) -> list[str]:
    """The words of a query, each with something the index knows, a trailing `*` marking a prefix.

    Raises `Invalid` when there are none, or too many.
    """
    words = [
        word.rstrip("*") + "*" if word.endswith("*") else word
        for word in plain(query, "query", _QUERY_LENGTH).split()
        if any(unicodedata.category(char)[0] in "LN" for char in word)
    ]
    if not words:
        raise Invalid('"query" has no letter or digit. Give the words to search for.')
    short = next((word for word in words if word.endswith("*") and len(word) < 3), "")
    if short:
        raise Invalid(f'"query" has {quoted(short)}, too short for a prefix. Give at least two letters before the *.')
    if len(words) > _MOST_WORDS:
        raise Invalid(f'"query" has {len(words)} words; at most {_MOST_WORDS} are searched for. Give the rarest.')
    return words


def bare(text: str) -> str:
    """In lower case, without accents, compatibility forms as what they stand for."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()


def finds(text: str, words: Sequence[str]) -> bool:
    """Whether every one of the words is in a text. One of which nothing can be seen is in none."""
    said, asked = f" {tokens(text)} ", [tokens(word) for word in words]
    return all(asked) and all(
        f" {part}{'' if word.endswith('*') else ' '}" in said for word, part in zip(words, asked, strict=True)
    )


def tokens(text: str) -> str:
    """The words of a text as the index has them, one space between."""
    return " ".join(re.findall(r"[^\W_]+", bare(indexed(text))))


def indexed(text: str) -> str:
    """Text as the index holds it: what is seen of it, as bare words, characters of unspaced scripts apart."""
    text = clean(text)
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFC", bare(text)))


def folded(name: str) -> str:
    """A name as it is compared: as it is seen, in any case, with or without accents."""
    return bare(clean(name))


def first_place(text: str, words: Sequence[str]) -> tuple[int, int]:
    """The span of the first of the words that stands by itself, or is a part of another; of nothing if none is seen."""
    parts = [re.findall(r"[^\W_]+", bare(word)) for word in words]
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
        seen = bare(part)
        if not any(head in seen for head in heads):
            continue
        if found := by_itself.search(seen):
            return _span(begin, part, *found.span())
        if fallback == (0, 0) and (found := anywhere.search(seen)):
            fallback = _span(begin, part, *found.span())
    return fallback


def _span(begin: int, part: str, start: int, end: int) -> tuple[int, int]:
    """What a span of the bare part is in the text."""
    plain = len(part) if part.isascii() else next(place for place, char in enumerate(part) if not char.isascii())
    # What is ASCII differs from its bare form in case alone.
    places = [*range(plain), *(plain + place for place, char in enumerate(part[plain:]) for _ in bare(char))]
    return begin + places[start], begin + places[end - 1] + 1


def snippet(text: str, words: Sequence[str]) -> str:
    """The part of a text around the first of the words, on one line."""
    start, end = first_place(text, words)
    begin = max(0, min(start - _SNIPPET // 2, len(text) - _SNIPPET))
    stop = max(begin + _SNIPPET, end)
    part = " ".join(text[begin:stop].split())
    return f"{'…' if begin else ''}{part}{'…' if stop < len(text) else ''}"
