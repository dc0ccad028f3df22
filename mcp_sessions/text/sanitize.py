"""Makes stored text safe to show to a model: removes invisible characters, and redacts credentials."""

import re
from bisect import bisect
from collections.abc import Callable
from itertools import pairwise

from .redact import redact

__all__ = ["clean", "redact", "sanitize"]

# A text of only these bytes is clean. Deleting them from others leaves the few characters to check.
_PLAIN = bytes(range(0x20, 0x7F)) + b"\t\n"

_CONTROL = re.compile("[\x00-\x08\x0e-\x1f\x7f-\x84\x86-\x9f]")
_C1_CONTROL = re.compile("[\x80-\x9f]")
_ESCAPE = re.compile("\x1b")
_CARRIAGE_RETURN = re.compile("\r\n?")
_LINE_BREAK = re.compile("[\v\f\x85]")
_LINE_SEPARATOR = re.compile("[\u2028\u2029]")
# A control string ends at any control character, so that an unterminated one hides nothing and the search is linear.
_STRING = "[^\x00-\x08\x0b-\x1f\x7f-\x9f]*+(?:\x07|\x1b\\\\|\x9c)"
_TWO_CHARACTERS = " [FGLMN]|[!-/]{1,3}+[0-~]|[6-9<=>@-_clmno|}~]"
_ESCAPED = re.compile(rf"\x1b(?:[\]PX^_]{_STRING}|\[[0-?]*+[ -/]*+[@-~]?|{_TWO_CHARACTERS})")
# UTF-8 that was decoded as Latin-1 contains many C1 characters that don't introduce a sequence. If they were taken for
# sequences, the text between the quotation marks of `â\x80\x9d, he said, â\x80\x9c` would be removed.
_EIGHT_BIT_OR_MISREAD = re.compile(
    "([\xc2-\xdf][\x80-\xbf]|[\xe0-\xef][\x80-\xbf]{2}|[\xf0-\xf4][\x80-\xbf]{3})"
    # In Windows-1252, the 8-bit form of `ESC [` is a quotation mark: keep a word that follows it.
    rf"|[\x90\x98\x9d-\x9f]{_STRING}|\x9b(?:[0-?]++[ -/]*+[@-~]?|[@-Zm](?![A-Za-z]))"
)

# Invisible characters that never have a meaning: most of Default_Ignorable_Code_Point in the Unicode Character
# Database, and the noncharacters.
_INVISIBLE_RUNS = (
    "\xad\u034f\u061c\u17b4\u17b5\u200b\u200e\u200f\u202a-\u202e\u2060-\u206f\ufdd0-\ufdef\ufeff\ufff0-\ufffb"
    "\ufffe\uffff"
)
_INVISIBLE = re.compile(f"[{_INVISIBLE_RUNS}]")
# Tested on high characters only, since `re` is slow with a set of many high runs.
_HIGH_RUNS = "\U0001bca0-\U0001bca3\U0001d173-\U0001d17a\U000e0000-\U000e001f\U000e0080-\U000e00ff\U000e01f0-\U000e0fff"
_HIGH_NONCHARACTERS = "".join(
    f"{chr(plane | 0xFFFE)}{chr(plane | 0xFFFF)}" for plane in range(0x10000, 0x110000, 0x10000)
)
_HIGH_INVISIBLE = re.compile(rf"[\U00010000-\U0010ffff](?<=[{_HIGH_RUNS}{_HIGH_NONCHARACTERS}])")

# The flag of a subdivision (ISO 3166-2) is a black flag, its code in tag characters and a closing tag. Tag characters
# are valid nowhere else, and five letters are too few to hide a sentence.
_TAG = re.compile("[\U000e0020-\U000e007f]")
_FLAG_OR_TAG = re.compile(
    "(\U0001f3f4[\U000e0061-\U000e007a]{2}[\U000e0030-\U000e0039\U000e0061-\U000e007a]{1,3}\U000e007f)"
    "|[\U000e0020-\U000e007f]"
)

# Characters that have a meaning only beside certain others: joiners, variation selectors, the Mongolian vowel
# separator, and the fillers of old Korean.
_CONTEXTUAL_RUNS = "\u115f\u1160\u180b-\u180f\u200c\u200d\u3164\ufe00-\ufe0f\uffa0"
_IDEOGRAPHIC_SELECTORS = "".join(map(chr, range(0xE0100, 0xE01F0)))
_SELECTORS = "".join(map(chr, range(0xFE00, 0xFE10)))
_MONGOLIAN_SELECTORS = "\u180b\u180c\u180d\u180f"
_ALL_SELECTORS = frozenset(_SELECTORS + _MONGOLIAN_SELECTORS)

# Sets of neighbours, as sorted runs of code points: each run's first, then the one after its last. `clean` never
# removes a neighbour, so that cleaning twice changes nothing.
_ANY = ""
_JOINING = (
    "\u0600\u0e00\u0f00\u10a0\u1700\u180b\u1810\u1c50\ua800\ua960\ua980\uab00\uabc0\uac00\ufb50\ufe00\ufe70\ufeff"
    "\U00010a00\U00010b00\U00010d00\U00012000\U0001e900\U0001e960"
)
_EMOJI = (
    "\xa9\xaa\xae\xaf\u203c\u203d\u2049\u204a\u2122\u2123\u2139\u213a\u2190\u2200\u2300\u2400\u24c2\u24c3\u25a0\u27c0"
    "\u2934\u2936\u2b00\u2c00\u3030\u3031\u303d\u303e\u3297\u3298\u3299\u329a\U0001f000\U0001fb00"
)
_KEYS, _KEYCAP = "#$*+0:", "\u20e3\u20e4"
_IDEOGRAPHS = "\u3005\u3008\u3400\ua000\uf900\ufb00\U00020000\U0003fffe"
_MYANMAR_MANICHAEAN_OPERATORS = "\u1000\u10a0\u2200\u2300\u2a00\u2b00\uaa60\uaa80\U00010ac0\U00010b00"
_PHAGS_PA_HIEROGLYPHS = "\ua840\ua880\U00013000\U00013430"
_MONGOLIAN = "\u1820\u18ab"
_INITIAL_JAMO, _FINAL_JAMO = "\u1100\u115f\ua960\ua97d", "\u11a8\u1200\ud7cb\ud7fc"
_MIDDLE_JAMO = "\u1161\u11a8\ud7b0\ud7c7"
_SINGLE_JAMO, _HALF_WIDTH_JAMO = "\u3131\u3164\u3165\u318f", "\uffa1\uffdd"

# Characters, and the neighbours that each needs on its left and right.
_RULES = (
    ("\u200c", _JOINING, _JOINING),
    ("\u200d", _JOINING, _ANY),
    ("\u200d", _ANY, _JOINING),
    ("\u200d", _EMOJI, _EMOJI),
    ("\ufe0e\ufe0f", _EMOJI, _ANY),
    ("\ufe0f", _KEYS, _KEYCAP),
    ("\ufe00\ufe01\ufe02", _IDEOGRAPHS, _ANY),
    (_IDEOGRAPHIC_SELECTORS, _IDEOGRAPHS, _ANY),
    ("\ufe00", _MYANMAR_MANICHAEAN_OPERATORS, _ANY),
    (_SELECTORS, _PHAGS_PA_HIEROGLYPHS, _ANY),
    (_MONGOLIAN_SELECTORS, _MONGOLIAN, _ANY),
    ("\u180e", _MONGOLIAN, _MONGOLIAN),
    ("\u115f", _ANY, _MIDDLE_JAMO),
    ("\u1160", _INITIAL_JAMO, _ANY),
    ("\u1160", _ANY, _FINAL_JAMO),
    ("\u3164", _SINGLE_JAMO, _ANY),
    ("\u3164", _ANY, _SINGLE_JAMO),
    ("\uffa0", _HALF_WIDTH_JAMO, _ANY),
    ("\uffa0", _ANY, _HALF_WIDTH_JAMO),
)
_NEIGHBOURS = {
    character: [(left, right) for characters, left, right in _RULES if character in characters]
    for character in "".join(characters for characters, _, _ in _RULES)
}

_SHORT = 20  # characters; no credential of a single word is shorter

_SUSPICIOUS = re.compile(
    f"[\0-\x08\x0b-\x1f\x7f-\x9f\u2028\u2029{_INVISIBLE_RUNS}{_CONTEXTUAL_RUNS}\U00010000-\U0010ffff]"
    f"(?:(?<![\U00010000-\U0010ffff])|(?<=[\U000e0000-\U000e0fff{_HIGH_RUNS}{_HIGH_NONCHARACTERS}]))"
)


def _without_controls(match: re.Match[str]) -> str:
    """Return the visible part of UTF-8 that was decoded as Latin-1, and "" for a terminal sequence."""
    return _C1_CONTROL.sub("", match[1] or "")


# Applied in this order, each only if its first pattern matches one of the suspicious characters.
_STEPS: tuple[tuple[re.Pattern[str], re.Pattern[str], str | Callable[[re.Match[str]], str]], ...] = (
    (_INVISIBLE, _INVISIBLE, ""),
    (_HIGH_INVISIBLE, _HIGH_INVISIBLE, ""),
    (_TAG, _FLAG_OR_TAG, r"\1"),
    (_C1_CONTROL, _EIGHT_BIT_OR_MISREAD, _without_controls),
    (_ESCAPE, _ESCAPED, ""),
    (_CONTROL, _CONTROL, ""),
    (_CARRIAGE_RETURN, _CARRIAGE_RETURN, "\n"),
    (_LINE_BREAK, _LINE_BREAK, "\n"),
    (_LINE_SEPARATOR, _LINE_SEPARATOR, "\n"),
)


def sanitize(text: str, *, redact_credentials: bool) -> str:
    """Return stored text as a model may read it."""
    if len(text) < _SHORT and text.isascii() and text.isalnum():
        return text  # most types and ids
    text = clean(text)  # first, so that no hidden character splits a credential in two
    return redact(text) if redact_credentials else text


def clean(text: str) -> str:
    """Return the text without control, bidirectional and invisible characters and without terminal sequences.

    Joiners, variation selectors, tags and fillers stay where a script or an emoji needs them. Every line break
    becomes a newline, and a lone surrogate becomes U+FFFD, so that the result can be encoded.
    """
    try:
        data = text.encode()
    except UnicodeEncodeError:
        text = text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")
        data = text.encode()
    found = "".join(_SUSPICIOUS.findall(data.translate(None, _PLAIN).decode()))
    if not found:
        return text
    for sought, pattern, replacement in _STEPS:
        if sought.search(found):
            text = pattern.sub(replacement, text)
    # Sorted, since the order decides which character a joiner after several selectors belongs to.
    for character in sorted(_NEIGHBOURS.keys() & set(found)):
        text = _remove_out_of_context(text, character)
    return text


def _remove_out_of_context(text: str, character: str) -> str:
    """Remove `character` from the text unless its neighbours need it."""
    pieces = text.split(character)
    kept = pieces[:1]
    for before, after in pairwise(pieces):
        neighbour = before[-1:]
        if neighbour in _ALL_SELECTORS and character not in _ALL_SELECTORS:
            neighbour = before[-2:-1]
        for left, right in _NEIGHBOURS[character]:
            if (not left or bisect(left, neighbour) % 2) and (not right or bisect(right, after[:1]) % 2):
                kept.append(character)
                break
        kept.append(after)
    return "".join(kept)
