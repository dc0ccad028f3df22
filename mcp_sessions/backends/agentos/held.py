"""Changes that are held against a run that undoes them: which values they set, and which those replaced.

A run of AgentOS saves, when it ends, the copy of the session that it loaded when it began. Whatever was set
meanwhile is then back at an older value. A value that is neither ours nor an older one is somebody else's change.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...models import Json, JsonObject, is_object

Path = tuple[str, ...]
"""The keys that lead to a value in a session's document, from the outside in."""
Value = tuple[Json, ...]
"""A value alone, or nothing where there is none."""


@dataclass(frozen=True)
class Held:
    """What one path was set to last, and all that it was before, since the first change that is still held."""

    path: Path
    new: Value
    olds: tuple[Value, ...]

    def is_undone(self, document: JsonObject) -> bool:
        current = value_at(document, self.path)
        return not same(current, self.new) and any(same(current, old) for old in self.olds)

    def is_overruled(self, document: JsonObject) -> bool:
        """Whether somebody else has set it to a value of theirs."""
        current = value_at(document, self.path)
        return not same(current, self.new) and not self.is_undone(document)


def held_after(held: Sequence[Held], before: JsonObject, after: JsonObject) -> list[Held]:
    """What is to be held once a change from `before` to `after` comes upon what is held already."""
    kept = list(held)
    for path in _differences(before, after):
        above = next((item for item in kept if path[: len(item.path)] == item.path), None)
        path = above.path if above else path
        below = [item for item in kept if item.path[: len(path)] == path]
        was = value_at(before, path)
        olds = [was, *(old for item in below for old in _olds_at(path, was, item))]
        kept = [item for item in kept if item not in below]
        kept.append(Held(path, value_at(after, path), tuple(_distinct(olds))))
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
    return _text(one) == _text(other)


def _text(value: Value) -> str:
    return json.dumps(value, sort_keys=True)


def _differences(before: Json, after: Json, path: Path = ()) -> Iterator[Path]:
    if not (is_object(before) and is_object(after)):
        yield path
        return
    for key in {**before, **after}:
        if key not in before or key not in after:
            yield (*path, key)
        elif not same((before[key],), (after[key],)):
            yield from _differences(before[key], after[key], (*path, key))


def _olds_at(path: Path, was: Value, item: Held) -> Iterator[Value]:
    """What stood at `path` while an item at it, or inside it, had its older values."""
    inside = item.path[len(path) :]
    for old in item.olds:
        if not inside:
            yield old
        elif was and is_object(was[0]):
            yield (_with_value(was[0], inside, old),)


def _distinct(values: Sequence[Value]) -> list[Value]:
    return list({_text(value): value for value in values}.values())


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
