"""Names of backends, where there are several."""

import re

_NAME = re.compile("[a-z][a-z0-9-]{0,15}")
NAME_RULE = "a letter of a-z, then up to 15 of a-z, 0-9 and -"


def is_name(text: str) -> bool:
    """Return whether the text can be a backend's name."""
    return _NAME.fullmatch(text) is not None
