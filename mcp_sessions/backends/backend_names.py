"""The names that backends may have."""

import re

_NAME = re.compile("[a-z][a-z0-9-]{0,15}")
NAME_RULE = "a letter a-z, then up to 15 characters of a-z, 0-9 and -"


def is_name(text: str) -> bool:
    """Return whether the text can be a backend's name."""
    return _NAME.fullmatch(text) is not None
