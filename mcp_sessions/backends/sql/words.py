"""Words as they are compared, and where they stand in a text."""

import re
import unicodedata
from collections.abc import Sequence

# Accents of Latin, Greek and Cyrillic, points of Hebrew, vowels of Arabic: signs that writers leave out at will.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]"
)
_PART = 4096  # characters looked at together
_OVERLAP = 512


def bare(text: str) -> str:
    """In lower case, without accents, compatibility forms as what they stand for."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()


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
    places = [place for place, char in enumerate(part) for _ in bare(char)]
    return begin + places[start], begin + places[end - 1] + 1
