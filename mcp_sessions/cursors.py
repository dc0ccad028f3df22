"""Cursors: opaque to callers, and valid only for a call with the same arguments.

A cursor is `WALK.NUMBER.NUMBER…`. WALK is a digest of the call's arguments: it identifies the list that the cursor
walks through. The numbers are the position in that list.
"""

from hashlib import blake2b

from .errors import Invalid


def digest(text: str, size: int) -> int:
    """Return a digest of `size` bytes as a number, to identify a session or message in a cursor."""
    return int.from_bytes(blake2b(text.encode(errors="backslashreplace"), digest_size=size).digest())


def walk(*arguments: object) -> str:
    """Return the WALK part of all cursors of a call with these arguments."""
    return blake2b(repr(arguments).encode(errors="backslashreplace"), digest_size=3).hexdigest()


def mark(walk: str, *position: int) -> str:
    """Return the cursor for a position in a walk."""
    return ".".join((walk, *map(str, position)))


def read(cursor: str, walk: str, length: int) -> tuple[int, ...]:
    """Return the position in a cursor, which has `length` numbers.

    Raise `Invalid` if the cursor is malformed or belongs to a call with other arguments.
    """
    prefix, *parts = cursor.split(".")
    if len(parts) == length and all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        if prefix == walk:
            return tuple(map(int, parts))
        raise Invalid('"cursor" belongs to a call with other arguments. Repeat those, or leave it out to start again.')
    raise Invalid('"cursor" is not one that this tool returned. Leave it out to start from the beginning.')
