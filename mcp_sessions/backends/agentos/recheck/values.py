"""Changes that are held against a run that undoes them: which values they set, and which those replaced.

A run of AgentOS saves, when it ends, the copy of the session that it loaded when it began. Whatever was set
meanwhile is then back at an older value. A value that is neither ours nor an older one is somebody else's change,
and so is one in the place of an object that ours is in.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ....json_documents import Json, JsonObject, is_object

Path = tuple[str, ...]
"""The keys that lead to a value in a session's document, from the outside in."""
Value = tuple[Json, ...]
"""A value alone, or nothing where there is none."""


_MOST_OLDS = 32
"""How many older values are known of a path: the newest, and the oldest, which a run that changes it often loaded."""


@dataclass(frozen=True)
class Old:
    """What stood at a path before a change, and what stood inside it before earlier ones, each at a path of its own."""

    value: Value
    inside: tuple[tuple[Path, tuple["Old", ...]], ...] = ()

    def is_at(self, current: Value) -> bool:
        """Whether it is back, with any of the older values inside it."""
        for path, olds in self.inside:
            if current and is_object(current[0]) and _is_back(olds, current, path):
                current = (_with_value(current[0], path, _inside(self.value, path)),)
        return same(current, self.value)


@dataclass(frozen=True)
class Held:
    """What one path was set to last (`since`, in seconds), and what it was before, the newest first."""

    path: Path
    new: Value
    olds: tuple[Old, ...]
    since: float = 0

    def is_undone(self, document: JsonObject) -> bool:
        return not self.holds(document) and _is_back(self.olds, (document,), self.path)

    def holds(self, document: JsonObject) -> bool:
        """Where it neither holds nor is undone, somebody else has set a value of theirs."""
        return same(value_at(document, self.path), self.new)


def held_after(held: Sequence[Held], before: JsonObject, after: JsonObject, now: float = 0) -> list[Held]:
    """What is to be held once a change from `before` to `after` comes upon what is held already."""
    kept = list(held)
    for path in _differences(before, after):
        above = next((item for item in kept if path[: len(item.path)] == item.path), None)
        path = above.path if above else path
        below = [item for item in kept if item.path[: len(path)] == path]
        was = value_at(before, path)
        kept = [item for item in kept if item not in below]
        kept.append(Held(path, value_at(after, path), _olds_at(path, was, below), now))
    return kept


def with_held(document: JsonObject, held: Sequence[Held]) -> JsonObject:
    """The document with these values set again."""
    for item in held:
        document = _with_value(document, item.path, item.new)
    return document


def value_at(document: Json, path: Path) -> Value:
    for key in path:
        if not is_object(document) or key not in document:
            return ()
        document = document[key]
    return (document,)


def same(one: Value, other: Value) -> bool:
    """Equal as JSON: to Python, `1`, `1.0` and `true` are the same."""
    if len(one) == len(other) == 1 and one[0] is other[0]:
        return True  # most of a document, which a change leaves as it is; a state may be large
    return _text(one) == _text(other)


def _text(value: Value) -> str:
    text = json.dumps(value, sort_keys=True)
    if "e+" in text or "-0.0" in text:
        text = json.dumps(json.loads(text, parse_float=_without_exponent), sort_keys=True)
    return text


def _without_exponent(number: str) -> int | float:
    """Read a number as AgentOS returns it from PostgreSQL, whose jsonb has no exponents and no negative zero."""
    return int(Decimal(number)) if "e+" in number else float(number) + 0.0


def _differences(before: Json, after: Json, path: Path = ()) -> Iterator[Path]:
    if not (is_object(before) and is_object(after)):
        yield path
        return
    for key in {**before, **after}:
        if key not in before or key not in after:
            yield (*path, key)
        elif not same((before[key],), (after[key],)):
            yield from _differences(before[key], after[key], (*path, key))


def _olds_at(path: Path, was: Value, below: Sequence[Held]) -> tuple[Old, ...]:
    """What stood at `path` before, items at it or inside it having had their older values."""
    if len(below) == 1 and below[0].path == path:
        return _some([Old(was), *below[0].olds])
    return (Old(was, tuple((item.path[len(path) :], item.olds) for item in below)),)


def _some(olds: Sequence[Old]) -> tuple[Old, ...]:
    half = _MOST_OLDS // 2
    return tuple(olds) if len(olds) <= _MOST_OLDS else (*olds[:half], *olds[-half:])


def _is_back(olds: Sequence[Old], around: Value, path: Path) -> bool:
    """Whether one of them stands at this path; nothing does where there is no object to stand in."""
    parent = _inside(around, path[:-1])
    return bool(parent) and is_object(parent[0]) and any(old.is_at(_inside(around, path)) for old in olds)


def _inside(value: Value, path: Path) -> Value:
    return value_at(value[0], path) if value else ()


def _with_value(document: JsonObject, path: Path, value: Value) -> JsonObject:
    key, *rest = path
    changed = dict(document)
    if rest:
        inner = changed.get(key)
        changed[key] = _with_value(inner if is_object(inner) else {}, tuple(rest), value)
    elif value:
        changed[key] = value[0]
    else:
        changed.pop(key, None)
    return changed
