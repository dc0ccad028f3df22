"""Changes that are held against a run that undoes them: which values they set, and which those replaced.

A run of AgentOS saves, when it ends, the copy of the session that it loaded when it began. Whatever was set
meanwhile is then back at an older value. A value that is neither ours nor an older one is somebody else's change,
and so is one in the place of an object that ours is in.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from ...models import Json, JsonObject, is_object

Path = tuple[str, ...]
"""The keys that lead to a value in a session's document, from the outside in."""
Value = tuple[Json, ...]
"""A value alone, or nothing where there is none."""


_MOST_OLDS = 32
"""How many older values are known of a path: the newest, and the oldest, which a run that changes it often loaded."""


@dataclass(frozen=True)
class Held:
    """What one path was set to last (`since`, in seconds), and what it was before, the newest first."""

    path: Path
    new: Value
    olds: tuple[Value, ...]
    since: float = 0

    def is_undone(self, document: JsonObject) -> bool:
        around, current = value_at(document, self.path[:-1]), value_at(document, self.path)
        is_other = not self.holds(document) and bool(around) and is_object(around[0])
        return is_other and any(same(current, old) for old in self.olds)

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


def _olds_at(path: Path, was: Value, below: Sequence[Held]) -> tuple[Value, ...]:
    """What stood at `path` before, items at it or inside it having had their older values."""
    olds = [was]
    for item in below:
        inside = item.path[len(path) :]
        if not inside:
            olds += item.olds
        elif was and is_object(was[0]):
            olds += [(_with_value(value[0], inside, old),) for value in olds for old in item.olds]
        olds = _some(olds)
    return tuple(olds)


def _some(olds: Sequence[Value]) -> list[Value]:
    distinct = list({_text(value): value for value in olds}.values())
    half = _MOST_OLDS // 2
    return distinct if len(distinct) <= _MOST_OLDS else [*distinct[:half], *distinct[-half:]]


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
