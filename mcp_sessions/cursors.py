"""Cursors: opaque to callers, and good only for a call with the same arguments.

A cursor is `DIGEST.PART.PART…`: a digest of the arguments that shaped the walk, then the whole numbers that
say where it stands.
"""

from hashlib import blake2b

from .errors import Invalid


def walk(*arguments: object) -> str:
    """The prefix that every cursor of a walk with these arguments shares."""
    return blake2b(repr(arguments).encode(errors="backslashreplace"), digest_size=3).hexdigest()


def mark(walk: str, *position: int) -> str:
    """The cursor for a position in a walk."""
    return ".".join((walk, *map(str, position)))


def read(cursor: str, walk: str, length: int) -> tuple[int, ...]:
    """The position a cursor stands for: `length` whole numbers.

    Raises `Invalid` for what is no cursor, and for one of a walk with other arguments.
    """
    digest, *parts = cursor.split(".")
    if len(parts) == length and all(part.isascii() and part.isdigit() and len(part) < 19 for part in parts):
        if digest == walk:
            return tuple(map(int, parts))
        raise Invalid('"cursor" belongs to a call with other arguments. Repeat those, or leave it out to start again.')
    raise Invalid('"cursor" is not one that this tool returned. Leave it out to start from the beginning.')
