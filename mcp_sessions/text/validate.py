"""Checks that a database can store a text unchanged."""

from ..errors import Invalid


def check_text(value: str, field: str, length: int) -> str:
    """Return the text, or raise `Invalid` naming `field` if not every database can store it.

    That is text of more than `length` characters, or with a NUL or half of a surrogate pair.
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
        raise Invalid(f'"{field}" has half of a surrogate pair, which is not a character. Remove it.') from None
    return value
