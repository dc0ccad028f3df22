"""JSON values: types, reading members of any type, JSON Merge Patch (RFC 7396) and JSON Pointer (RFC 6901)."""

from collections.abc import Mapping
from typing import Any, TypeGuard

from .errors import Invalid, NotFound, quoted

Json = Any
JsonObject = dict[str, Json]


def is_object(value: Json) -> TypeGuard[JsonObject]:
    return isinstance(value, dict)


def is_array(value: Json) -> TypeGuard[list[Json]]:
    return isinstance(value, list)


def text_in(value: Mapping[str, Json], key: str) -> str:
    """Return the string at a key; "" for anything else."""
    found = value.get(key)
    return found if isinstance(found, str) else ""


def object_in(value: Mapping[str, Json], key: str) -> JsonObject:
    """Return the object at a key; an empty one for anything else."""
    found = value.get(key)
    return found if is_object(found) else {}


def is_equal(one: Json, other: Json) -> bool:
    """Return whether two values are the same JSON. Unlike Python, JSON tells `true` from `1`."""
    if is_object(one) and is_object(other):
        return one.keys() == other.keys() and all(is_equal(value, other[key]) for key, value in one.items())
    if is_array(one) and is_array(other):
        return len(one) == len(other) and all(map(is_equal, one, other))
    if isinstance(one, bool) or isinstance(other, bool):
        return one is other
    return one == other


def merge_patch(target: Json, patch: Json) -> Json:
    """Return `target` with the JSON Merge Patch (RFC 7396) applied. Modify neither."""
    if not is_object(patch):
        return patch
    merged: JsonObject = dict(target) if is_object(target) else {}
    for key, value in patch.items():
        if value is None:
            merged.pop(key, None)
        else:
            merged[key] = merge_patch(merged.get(key), value)
    return merged


def resolve_pointer(document: Json, pointer: str) -> Json:
    """Return the value at a JSON Pointer (RFC 6901) into a session's state.

    Raise `Invalid` if the pointer is malformed, `NotFound` if it has no value. Both errors name `state_path`.
    """
    if pointer and not pointer.startswith("/"):
        raise Invalid(f'"state_path" must be a JSON Pointer such as "/plan/steps/0", not {quoted(pointer)}.')
    value = document
    for token in pointer.split("/")[1:]:
        key = token.replace("~1", "/").replace("~0", "~")
        if is_object(value) and key in value:
            value = value[key]
        elif is_array(value) and key.isascii() and key.isdigit() and len(key) < 9 and int(key) < len(value):
            value = value[int(key)]
        else:
            raise NotFound(f"the state has nothing at {quoted(pointer)}. Call get_session without state_path.")
    return value
