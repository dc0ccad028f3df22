"""Fits one session or change into a character budget: shortens texts, and leaves out values of state and metadata."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..errors import excerpt
from ..json_documents import Json, JsonObject, is_object

MIN_TEXT = 160  # characters that each text keeps while anything else can be left out
_MAX_NAMED = 2000  # characters for the names of omitted values
_MIN_VALUE = 24  # characters; naming a shorter value would save nothing
_BATCH = 64

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

Slot = tuple[JsonObject, str]
"""An object and a key of it: where a value can be replaced."""


def compact(value: Json) -> str:
    return _ENCODER.encode(value)


def size(value: Json) -> int:
    """Return how many characters the value takes as JSON."""
    return len(_ENCODER.encode(value))


def text_size(text: str) -> int:
    """Return how many characters the text takes as a JSON string, without its quotes."""
    return len(_ENCODER.encode(text)) - 2


def prefix_length(text: str, room: int) -> int:
    """Return how many of the text's first characters fit into `room` characters of a JSON string."""
    text = text[: max(room, 0)]
    if text_size(text) <= room:
        return len(text)
    return max(bisect_right(range(len(text) + 1), room, key=lambda count: text_size(text[:count])) - 1, 0)


def size_without(value: Json, slots: Sequence[Slot]) -> int:
    """Return the size that the value would have with `""` in these slots."""
    contents = [holder[key] for holder, key in slots]
    for holder, key in slots:
        holder[key] = ""
    taken = size(value)
    for (holder, key), content in zip(slots, contents, strict=True):
        holder[key] = content
    return taken


def shorten(texts: Sequence[Slot], room: int, least: int = 0) -> list[int]:
    """Shorten the texts to `room` characters in total. Return how many characters each text lost.

    The longest texts are cut first, all to the same size. Each text keeps its first `least` characters if that many
    fit.
    """
    contents: list[str] = [holder[key] for holder, key in texts]
    floors = [text_size(content[:least]) for content in contents]
    if sum(floors) > room:
        floors = [0] * len(contents)
    # Counting characters is faster than encoding them, and no character takes less than one: so only the first
    # `enough` characters need to be encoded.
    enough = _level([len(content) for content in contents], room) + 1
    rests = [text_size(content[:enough]) - floor for content, floor in zip(contents, floors, strict=True)]
    level = _level(rests, room - sum(floors))
    lost: list[int] = []
    for (holder, key), content, floor, rest in zip(texts, contents, floors, rests, strict=True):
        if rest > level:
            holder[key] = content[: prefix_length(content, floor + level)]
        lost.append(len(content) - len(holder[key]))
    return lost


def _level(sizes: Sequence[int], room: int) -> int:
    """Return the size to which all must be cut to fit together; the largest size if none must be cut."""
    for index, size in enumerate(sorted(sizes)):
        level = max(room, 0) // (len(sizes) - index)
        if size > level:
            return level
        room -= size
    return max(sizes, default=0)


class _OmittableValue(NamedTuple):
    """A value that can be left out. `saved`: the characters that this saves, less the `mention` of it in the note."""

    holder: JsonObject
    key: str
    field: str
    pointer: str
    size: int
    mention: str
    saved: int


class _Section(NamedTuple):
    """An object of the payload: its original texts, which can be shortened, and its values that can be left out."""

    holder: JsonObject
    path: str
    texts: Mapping[str, str]
    candidates: Sequence[_OmittableValue]

    def spare(self, least: int) -> dict[str, int]:
        """Return for each text the characters saved by cutting it to `least`, less those of its mention in the note."""
        savings: dict[str, int] = {}
        for key, original in self.texts.items():
            text: str = self.holder[key]
            savings[key] = text_size(text) - text_size(text[:least]) - size(self.mention(key, len(original)))
        return {key: saved for key, saved in savings.items() if saved > 0}

    def mention(self, key: str, count: int) -> str:
        return f"{self.path}{key} ({count:,} characters cut)"


def prune_values(payload: JsonObject, limit: int, at: str = "") -> None:
    """Fit a session or a change into `limit` characters, in place. `note` names what was cut or left out.

    `at`: the JSON Pointer of the part of the state in the payload. The `previous` values of a change are cut last,
    since they are needed to undo it.
    """
    if size(payload) <= limit:
        return
    before = payload.get("note", "")
    sections = [_section(payload[key], f"{key}.") for key in ("changed", "previous") if key in payload]
    is_change = bool(sections)
    sections.append(_section(payload, "", at))
    candidates = [candidate for section in sections for candidate in section.candidates]
    slots = [(candidate.holder, candidate.key) for candidate in candidates]
    values = sum(candidate.size - len('""') for candidate in candidates)
    payload["note"] = _note(before, ["previous"], limit, is_change)
    over = values + size_without(payload, slots) - limit
    if over > sum(sections[0].spare(MIN_TEXT).values()) + sum(candidate.saved for candidate in sections[0].candidates):
        sections[:-1] = reversed(sections[:-1])
    lost: dict[str, str] = {}
    for section, least in ((section, least) for least in (MIN_TEXT, 0) for section in sections):
        if over > 0:
            saved, mentions = _reduce(section, over, least, min(limit // 4, _MAX_NAMED))
            over -= saved
            lost |= mentions
    payload["note"] = _note(before, list(lost.values()), limit, is_change)


def _section(holder: JsonObject, path: str, at: str = "") -> _Section:
    texts: dict[str, str] = {}
    candidates: list[_OmittableValue] = []
    for key, value in holder.items():
        if key in ("state", "metadata") or (isinstance(value, dict | list) and key not in ("changed", "previous")):
            candidates.append(_candidate(holder, key, size(value), path + key, at if key == "state" else ""))
        elif isinstance(value, str) and key != "note":
            texts[key] = value
    return _Section(holder, path, texts, candidates)


def _reduce(section: _Section, over: int, least: int, room: int) -> tuple[int, dict[str, str]]:
    """Save `over` characters by shortening texts and, if that isn't enough, by leaving out values.

    Return how many characters were saved, and the mentions for the note, of about `room` characters in total.
    """
    spare = section.spare(least)
    need = over - sum(spare.values())
    candidates = [
        candidate for candidate in section.candidates if candidate.saved > 0 and candidate.key in section.holder
    ]
    left_out = _choose(candidates, need, room) or candidates if need > 0 else []
    for candidate in left_out:
        del candidate.holder[candidate.key]
    saved = sum(candidate.saved for candidate in left_out)
    lost = {candidate.field + candidate.pointer: candidate.mention for candidate in left_out}
    if over > saved:
        cut_saved, cut = _cut(section, list(spare), over - saved, least)
        saved += cut_saved
        lost |= cut
    return saved, lost


def _cut(section: _Section, keys: Sequence[str], over: int, least: int) -> tuple[int, dict[str, str]]:
    texts: list[str] = [section.holder[key] for key in keys]
    taken = sum(map(text_size, texts))
    naming = sum(size(section.mention(key, len(section.texts[key]))) for key in keys)
    floors = sum(text_size(text[:least]) for text in texts)
    shorten([(section.holder, key) for key in keys], max(taken - over - naming, floors), least)
    counts = {key: len(section.texts[key]) - len(section.holder[key]) for key in keys}
    lost = {section.path + key: section.mention(key, count) for key, count in counts.items() if count}
    return taken - sum(text_size(section.holder[key]) for key in keys) - sum(map(size, lost.values())), lost


def _candidate(holder: JsonObject, key: str, taken: int, field: str, pointer: str) -> _OmittableValue:
    # `excerpt`, since the keys are stored text.
    mention = f"{field} {excerpt(pointer)} ({taken:,} characters)" if pointer else f"{field} ({taken:,} characters)"
    return _OmittableValue(holder, key, field, pointer, taken, mention, taken + size(key) + 1 - size(mention))


def _choose(candidates: Sequence[_OmittableValue], need: int, room: int) -> list[_OmittableValue]:
    """Return values to leave out to save `need` characters: as few and as small parts of the document as is enough.

    Return none if their mentions take more than `room` characters.
    """
    remaining = sorted((candidate for candidate in candidates if candidate.saved > 0), key=lambda item: item.saved)
    chosen: list[_OmittableValue] = []
    while need > 0:
        if not remaining or room < 0:
            return []
        enough = bisect_left(remaining, need, key=lambda item: item.saved)
        candidate = remaining.pop(min(enough, len(remaining) - 1))
        need -= candidate.saved
        room -= len(candidate.mention)
        chosen.append(candidate)
    if room < 0:
        return []
    inside: list[_OmittableValue] = []
    for candidate in chosen:
        enough = candidate.saved + need  # `need` is negative here: the choice saves more than needed
        deeper = _choose(list(_nested_values(candidate, enough)), enough, room + len(candidate.mention))
        if deeper:
            need += candidate.saved - sum(inner.saved for inner in deeper)
            room += len(candidate.mention) - sum(len(inner.mention) for inner in deeper)
        inside += deeper or [candidate]
    return inside


def _nested_values(candidate: _OmittableValue, need: int) -> Iterator[_OmittableValue]:
    """Yield the values inside an object or array, without those too small to save `need` characters together."""
    value = candidate.holder[candidate.key]
    if not is_object(value):
        return
    rest = candidate.size - 1  # each member takes its own size, and one character before it
    # The size of the last object is calculated from the others: a deep value would be encoded again for each level.
    last = next((key for key in reversed(value) if is_object(value[key])), None)
    others = ((key, child) for key, child in value.items() if key != last)
    while several := dict(islice(others, _BATCH)):
        taken = size(several) - 1
        rest -= taken
        if taken > max(need * _MIN_VALUE // _MAX_NAMED, _MIN_VALUE):
            for key, child in several.items():
                if _is_worth_naming(child):
                    yield _nested_candidate(candidate, key, size(child))
    if last is not None:
        yield _nested_candidate(candidate, last, rest - size(last) - 2)


def _is_worth_naming(value: Json) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and len(value) >= _MIN_VALUE)


def _nested_candidate(candidate: _OmittableValue, key: str, taken: int) -> _OmittableValue:
    token = key.replace("~", "~0").replace("/", "~1")
    return _candidate(candidate.holder[candidate.key], key, taken, candidate.field, f"{candidate.pointer}/{token}")


def _note(before: str, left_out: Sequence[str], limit: int, is_change: bool) -> str:
    listed = ", ".join(left_out)
    advice = "get_session with state_path reads a part of the state; the setting --max-chars allows more."
    if is_change:
        advice = "get_session shows what was set."
    if any(mention.startswith("previous") for mention in left_out):
        advice += " The missing previous values can't be read any more, so this result can't undo the change."
    return f"{before} Left out to fit {limit:,} characters: {listed}. {advice}".strip()
