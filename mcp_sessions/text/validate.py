"""Refuse text that a database could not keep as it is."""

from ..errors import Invalid


def plain(value: str, field: str, length: int) -> str:
    """Return the text if any database keeps it as it is.

    `length` is in characters. Raise `Invalid`, naming `field`, for text that is longer, has a NUL or half of a
    surrogate pair.
    """
    if not value:
        return value
    if len(value) > length:
        raise Invalid(f'"{field}" has {len(value):,} characters; at most {length:,} are stored. Shorten it.')
    if "\0" in value:
        raise Invalid(f'"{field}" has a NUL character. Remove it.')
    try:
        value.encode()
    except UnicodeEncodeError:
        raise Invalid(f'"{field}" has half of a surrogate pair, which is no text. Remove it.') from None
    return value
