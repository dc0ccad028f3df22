"""Makes one long thing fit: texts are cut to a level, and of state and metadata whole values are left out, by name."""

import json
from bisect import bisect_left, bisect_right
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import NamedTuple

from ..errors import printable
from ..json_documents import Json, JsonObject, is_object

LEAST_TEXT = 160  # characters a text keeps before anything else is given up for it
_MOST_NAMED = 2000  # characters that naming what was left out may take
_LEAST_PART = 24  # characters; what is shorter is not worth being named
_MEASURED_AT_ONCE = 64

_ENCODER = json.JSONEncoder(ensure_ascii=False, separators=(",", ":"))

Place = tuple[JsonObject, str]
"""Where a value is: an object and the key there."""


def compact(value: Json) -> str:
    return _ENCODER.encode(value)


def size(value: Json) -> int:
    """How many characters a value takes in the text block."""
    return len(_ENCODER.encode(value))


def length(text: str) -> int:
    """How many characters a text takes inside its quotes."""
    return len(_ENCODER.encode(text)) - 2


def prefix(text: str, room: int) -> int:
    """How many of a text's first characters take at most `room` characters inside its quotes."""
    text = text[: max(room, 0)]
    if length(text) <= room:
        return len(text)
    return max(bisect_right(range(len(text) + 1), room, key=lambda count: length(text[:count])) - 1, 0)


def size_apart(value: Json, places: Sequence[Place]) -> int:
    """The size of a value with `""` in these places of it."""
    contents = [holder[key] for holder, key in places]
    for holder, key in places:
        holder[key] = ""
    taken = size(value)
    for (holder, key), content in zip(places, contents, strict=True):
        holder[key] = content
    return taken


def shorten(texts: Sequence[Place], room: int, least: int = 0) -> list[int]:
    """Cut texts so that together they take `room` characters: how many of its characters each lost.

    All are cut to one level, so none that is short for one that is long. Where there is room for it, each keeps its
    first `least` characters.
    """
    contents: list[str] = [holder[key] for holder, key in texts]
    floors = [length(content[:least]) for content in contents]
    if sum(floors) > room:
        floors = [0] * len(contents)
    # No character takes less than one, so that nothing beyond the level found by counting them need be measured.
    enough = _level([len(content) for content in contents], room) + 1
    rests = [length(content[:enough]) - floor for content, floor in zip(contents, floors, strict=True)]
    level = _level(rests, room - sum(floors))
    lost: list[int] = []
    for (holder, key), content, floor, rest in zip(texts, contents, floors, rests, strict=True):
        if rest > level:
            holder[key] = content[: prefix(content, floor + level)]
        lost.append(len(content) - len(holder[key]))
    return lost


def _level(sizes: Sequence[int], room: int) -> int:
    """The size to which all must be cut so that together they fit; the largest if nothing must be."""
    for place, length in enumerate(sorted(sizes)):
        level = max(room, 0) // (len(sizes) - place)
        if length > level:
            return level
        room -= length
    return max(sizes, default=0)


class _Part(NamedTuple):
    """A value that can be left out, and what that saves once the note names it."""

    holder: JsonObject
    key: str
    field: str
    pointer: str
    size: int
    mention: str
    saved: int


class _Group(NamedTuple):
    """What an object has that can be cut, as it was, and what can be left out of it."""

    holder: JsonObject
    path: str
    texts: Mapping[str, str]
    parts: Sequence[_Part]

    def spare(self, least: int) -> dict[str, int]:
        """What cutting its texts saves at most, once the note names them; not those that would save nothing."""
        found: dict[str, int] = {}
        for key, whole in self.texts.items():
            text: str = self.holder[key]
            found[key] = length(text) - length(text[:least]) - size(self.mention(key, len(whole)))
        return {key: saved for key, saved in found.items() if saved > 0}

    def mention(self, key: str, count: int) -> str:
        return f"{self.path}{key} ({count:,} characters cut)"


def prune_values(payload: JsonObject, limit: int, at: str = "") -> None:
    """Fit a session or a change into `limit` characters; `note` names what it lost.

    `at` is the JSON Pointer of the part of the state that the payload has. Of a change, `previous` is spared if it
    can be: nothing else holds what undoes the change.
    """
    if size(payload) <= limit:
        return
    before = payload.get("note", "")
    groups = [_group(payload[key], f"{key}.") for key in ("changed", "previous") if key in payload]
    is_change = bool(groups)
    groups.append(_group(payload, "", at))
    parts = [part for group in groups for part in group.parts]
    places = [(part.holder, part.key) for part in parts]
    values = sum(part.size - len('""') for part in parts)
    payload["note"] = _note(before, ["previous"], limit, is_change)
    over = values + size_apart(payload, places) - limit
    if over > sum(groups[0].spare(LEAST_TEXT).values()) + sum(part.saved for part in groups[0].parts):
        groups[:-1] = reversed(groups[:-1])
    lost: dict[str, str] = {}
    for group, least in ((group, least) for least in (LEAST_TEXT, 0) for group in groups):
        if over > 0:
            saved, mentions = _reduce(group, over, least, min(limit // 4, _MOST_NAMED))
            over -= saved
            lost |= mentions
    payload["note"] = _note(before, list(lost.values()), limit, is_change)


def _group(holder: JsonObject, path: str, at: str = "") -> _Group:
    texts: dict[str, str] = {}
    parts: list[_Part] = []
    for key, value in holder.items():
        if key in ("state", "metadata") or (isinstance(value, dict | list) and key not in ("changed", "previous")):
            parts.append(_part(holder, key, size(value), path + key, at if key == "state" else ""))
        elif isinstance(value, str) and key != "note":
            texts[key] = value
    return _Group(holder, path, texts, parts)


def _reduce(group: _Group, over: int, least: int, room: int) -> tuple[int, dict[str, str]]:
    """Save so many characters, by cutting texts if that can be enough, else by leaving out values too.

    Returns how many it saved, and what is gone, as the note says it in about `room` characters.
    """
    spare = group.spare(least)
    need = over - sum(spare.values())
    parts = [part for part in group.parts if part.saved > 0 and part.key in group.holder]
    left_out = _chosen(parts, need, room) or parts if need > 0 else []
    for part in left_out:
        del part.holder[part.key]
    saved = sum(part.saved for part in left_out)
    lost = {part.field + part.pointer: part.mention for part in left_out}
    if over > saved:
        cut_saved, cut = _cut(group, list(spare), over - saved, least)
        saved += cut_saved
        lost |= cut
    return saved, lost


def _cut(group: _Group, keys: Sequence[str], over: int, least: int) -> tuple[int, dict[str, str]]:
    texts: list[str] = [group.holder[key] for key in keys]
    taken = sum(map(length, texts))
    naming = sum(size(group.mention(key, len(group.texts[key]))) for key in keys)
    floors = sum(length(text[:least]) for text in texts)
    shorten([(group.holder, key) for key in keys], max(taken - over - naming, floors), least)
    counts = {key: len(group.texts[key]) - len(group.holder[key]) for key in keys}
    lost = {group.path + key: group.mention(key, count) for key, count in counts.items() if count}
    return taken - sum(length(group.holder[key]) for key in keys) - sum(map(size, lost.values())), lost


def _part(holder: JsonObject, key: str, taken: int, field: str, pointer: str) -> _Part:
    # The keys are stored text, and this is our sentence.
    mention = f"{field} {printable(pointer)} ({taken:,} characters)" if pointer else f"{field} ({taken:,} characters)"
    return _Part(holder, key, field, pointer, taken, mention, taken + size(key) + 1 - size(mention))


def _chosen(parts: Sequence[_Part], need: int, room: int) -> list[_Part]:
    """What to leave out to save so many characters: few, and each as deep inside as does it.

    None if that is more than can be named in `room` characters.
    """
    candidates = sorted((part for part in parts if part.saved > 0), key=lambda part: part.saved)
    chosen: list[_Part] = []
    while need > 0:
        if not candidates or room < 0:
            return []
        enough = bisect_left(candidates, need, key=lambda part: part.saved)
        part = candidates.pop(min(enough, len(candidates) - 1))
        need -= part.saved
        room -= len(part.mention)
        chosen.append(part)
    if room < 0:
        return []
    inside: list[_Part] = []
    for part in chosen:
        # `need` is negative by now: what the choice saves too much.
        deeper = _chosen(list(_members(part, part.saved + need)), part.saved + need, room + len(part.mention))
        if deeper:
            need += part.saved - sum(inner.saved for inner in deeper)
            room += len(part.mention) - sum(len(inner.mention) for inner in deeper)
        inside += deeper or [part]
    return inside


def _members(part: _Part, need: int) -> Iterator[_Part]:
    """What can be left out inside a part; not what is so small that no list of it would save what is needed."""
    value = part.holder[part.key]
    if not is_object(value):
        return
    rest = part.size - 1  # each member takes its own size, and one character before it
    # The last object takes what the others leave: else a deep value would be measured anew on each of its levels.
    last = next((key for key in reversed(value) if is_object(value[key])), None)
    others = ((key, child) for key, child in value.items() if key != last)
    while several := dict(islice(others, _MEASURED_AT_ONCE)):
        taken = size(several) - 1
        rest -= taken
        if taken > max(need * _LEAST_PART // _MOST_NAMED, _LEAST_PART):
            yield from (_inside(part, key, size(child)) for key, child in several.items() if _is_worth_naming(child))
    if last is not None:
        yield _inside(part, last, rest - size(last) - 2)


def _is_worth_naming(value: Json) -> bool:
    return isinstance(value, dict | list) or (isinstance(value, str) and len(value) >= _LEAST_PART)


def _inside(part: _Part, key: str, taken: int) -> _Part:
    token = key.replace("~", "~0").replace("/", "~1")
    return _part(part.holder[part.key], key, taken, part.field, f"{part.pointer}/{token}")


def _note(before: str, left_out: Sequence[str], limit: int, is_change: bool) -> str:
    listed = ", ".join(left_out)
    advice = "get_session with state_path reads a part of the state; the setting --max-chars allows more."
    if is_change:
        advice = "get_session shows what was set."
    if any(mention.startswith("previous") for mention in left_out):
        advice += " What previous lacks can't be read again, so this result can't undo the change."
    return f"{before} Left out to fit {limit:,} characters: {listed}. {advice}".strip()
