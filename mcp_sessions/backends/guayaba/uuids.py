"""The format of agents' ids: UUIDs."""

import re

UUID = r"[0-9a-fA-F]{8}(?:-[0-9a-fA-F]{4}){3}-[0-9a-fA-F]{12}"
"""A regular expression for a UUID."""


def is_uuid(text: str) -> bool:
    """Return whether the text is a UUID."""
    return re.fullmatch(UUID, text) is not None
