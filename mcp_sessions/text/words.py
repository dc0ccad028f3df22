"""Splits texts into words and compares words, for searches and indexes.

Whole words match, in any case, with or without accents. A word that ends in `*` matches as a prefix. In scripts
written without spaces between words, each character is a word, so that any part of a text matches.
"""

import re
import unicodedata
from collections.abc import Sequence

from .sanitize import clean

# Signs that writers often omit: accents of Latin, Greek and Cyrillic, points of Hebrew, vowels of Arabic.
_ACCENTS = re.compile(
    "[\u0300-\u036f\u0483-\u0487\u0591-\u05bd\u05bf\u05c1\u05c2\u05c4\u05c5\u05c7\u0610-\u061a\u064b-\u065f\u0670]"
)
UNSPACED = (
    "\u0e00-\u0eff\u1000-\u109f\u1100-\u11ff\u1780-\u17ff\u3005-\u3007\u3040-\u30ff\u3130-\u318f\u31f0-\u31ff"
    "\u3400-\u4dbf\u4e00-\u9fff\ua960-\ua97f\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff"
)
"""Runs of characters of scripts without spaces between words, for a set in a regular expression."""

_WORD = re.compile(r"[^\W_]+")
_UNSPACED = re.compile(f"([{UNSPACED}])")


def fold(text: str) -> str:
    """Return the text in lower case, without accents, and with compatibility characters (NFKD) resolved."""
    if text.isascii():
        return text.lower()
    return _ACCENTS.sub("", unicodedata.normalize("NFKD", text)).casefold()


def contains_words(text: str, words: Sequence[str]) -> bool:
    """Return whether the text contains every word. A word without letters and digits is in no text."""
    if not words:
        return True
    padded, wanted = f" {tokenize(text)} ", [tokenize(word) for word in words]
    return all(wanted) and all(
        f" {part}{'' if word.endswith('*') else ' '}" in padded for word, part in zip(words, wanted, strict=True)
    )


def tokenize(text: str) -> str:
    """Return the words of a text as the index stores them, separated by single spaces."""
    return " ".join(split_words(fold(index_text(text))))


def split_words(folded: str) -> list[str]:
    """Return the runs of letters and digits in a folded text."""
    return _WORD.findall(folded)


def index_text(text: str) -> str:
    """Return the text for the index: cleaned, folded, and with spaces between the characters of unspaced scripts."""
    text = clean(text)
    return text if text.isascii() else _UNSPACED.sub(r" \1 ", unicodedata.normalize("NFC", fold(text)))


def fold_name(name: str) -> str:
    """Return a name in the form in which names are compared: without invisible characters, case and accents."""
    return fold(clean(name))
