"""Pending values: which values a write set in a session's document, and which older values each of them replaced.

When a run of AgentOS ends, it saves the copy of the session that it loaded when it began. A value that we set in
between is then back at an older value. A value that is neither ours nor an older one was set by somebody else. So was
any value that replaced an object containing ours.
"""

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from decimal import Decimal

from ....json_documents import Json, JsonObject, is_object

Path = tuple[str, ...]
"""The keys that lead to a value in a session's document, from the outside in."""
Value = tuple[Json, ...]
"""A tuple of one value, or an empty tuple where the document has no value."""

_MAX_OLD_VALUES = 32
"""How many older values of a path are stored: the newest, and the oldest, which a long run may have loaded."""


@dataclass(frozen=True)
class OldValue:
    """The value at a path before a write.

    `inner` has the older values of paths inside it, which earlier writes had replaced.
    """

    value: Value
    inner: tuple[tuple[Path, tuple["OldValue", ...]], ...] = ()

    def matches(self, current: Value) -> bool:
        """Return whether `current` is this value, with any of the older values inside it."""
        for path, old_values in self.inner:
            if current and is_object(current[0]) and _matches_any(old_values, current, path):
                current = (_set_value(current[0], path, _value_inside(self.value, path)),)
        return json_equal(current, self.value)


@dataclass(frozen=True)
class PendingValue:
    """The value that we last wrote to a path, and the older values there, newest first."""

    path: Path
    new: Value
    old_values: tuple[OldValue, ...]
    written_at: float = 0
    """In seconds since 1970."""

    def is_overwritten(self, document: JsonObject) -> bool:
        """Return whether the document has an older value at the path."""
        return not self.is_in(document) and _matches_any(self.old_values, (document,), self.path)

    def is_in(self, document: JsonObject) -> bool:
        """Return whether the document has our value. If it has neither ours nor an older one, others wrote it."""
        return json_equal(value_at(document, self.path), self.new)


def add_pending_values(
    values: Sequence[PendingValue], before: JsonObject, after: JsonObject, now: float = 0
) -> list[PendingValue]:
    """Return these pending values and those of a write that changed `before` to `after`."""
    merged = list(values)
    for path in _changed_paths(before, after):
        outer = next((item for item in merged if path[: len(item.path)] == item.path), None)
        path = outer.path if outer else path
        inner = [item for item in merged if item.path[: len(path)] == path]
        old = value_at(before, path)
        merged = [item for item in merged if item not in inner]
        merged.append(PendingValue(path, value_at(after, path), _old_values_at(path, old, inner), now))
    return merged


def apply_pending_values(document: JsonObject, values: Sequence[PendingValue]) -> JsonObject:
    """Return the document with these values set again."""
    for item in values:
        document = _set_value(document, item.path, item.new)
    return document


def value_at(document: Json, path: Path) -> Value:
    """Return the value at a path of the document."""
    for key in path:
        if not is_object(document) or key not in document:
            return ()
        document = document[key]
    return (document,)


def json_equal(one: Value, other: Value) -> bool:
    """Return whether two values are equal as JSON. (To Python, `1`, `1.0` and `true` are equal.)"""
    if len(one) == len(other) == 1 and one[0] is other[0]:
        return True  # a write changes only a small part of a document, and a state may be large
    return _json_text(one) == _json_text(other)


def _json_text(value: Value) -> str:
    text = json.dumps(value, sort_keys=True)
    if "e+" in text or "-0.0" in text:
        text = json.dumps(json.loads(text, parse_float=_parse_float), sort_keys=True)
    return text


def _parse_float(number: str) -> int | float:
    """Return a number as AgentOS returns it from PostgreSQL, whose jsonb has no exponents and no negative zero."""
    return int(Decimal(number)) if "e+" in number else float(number) + 0.0


def _changed_paths(before: Json, after: Json, path: Path = ()) -> Iterator[Path]:
    if not (is_object(before) and is_object(after)):
        yield path
        return
    for key in {**before, **after}:
        if key not in before or key not in after:
            yield (*path, key)
        elif not json_equal((before[key],), (after[key],)):
            yield from _changed_paths(before[key], after[key], (*path, key))


def _old_values_at(path: Path, old: Value, inner: Sequence[PendingValue]) -> tuple[OldValue, ...]:
    """Return the older values at `path`: `old`, and those of the pending values at `path` or inside it."""
    if len(inner) == 1 and inner[0].path == path:
        return _limit_old_values([OldValue(old), *inner[0].old_values])
    return (OldValue(old, tuple((item.path[len(path) :], item.old_values) for item in inner)),)


def _limit_old_values(old_values: Sequence[OldValue]) -> tuple[OldValue, ...]:
    half = _MAX_OLD_VALUES // 2
    return tuple(old_values) if len(old_values) <= _MAX_OLD_VALUES else (*old_values[:half], *old_values[-half:])


def _matches_any(old_values: Sequence[OldValue], outer: Value, path: Path) -> bool:
    """Return whether an older value is at this path of `outer`; False if no object there could contain one."""
    parent = _value_inside(outer, path[:-1])
    return bool(parent) and is_object(parent[0]) and any(old.matches(_value_inside(outer, path)) for old in old_values)


def _value_inside(value: Value, path: Path) -> Value:
    return value_at(value[0], path) if value else ()


def _set_value(document: JsonObject, path: Path, value: Value) -> JsonObject:
    """Return a copy of the document with this value at the path, or without the path if the value is empty."""
    key, *rest = path
    changed = dict(document)
    if rest:
        inner = changed.get(key)
        changed[key] = _set_value(inner if is_object(inner) else {}, tuple(rest), value)
    elif value:
        changed[key] = value[0]
    else:
        changed.pop(key, None)
    return changed
