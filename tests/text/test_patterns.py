"""The regular expressions of the package."""

import re
from pathlib import Path

import mcp_sessions

_POSSESSIVE_GROUP = re.compile(r"(?<!\\)\)(?:[*+?]|\{\d*,?\d*\})\+")


def test_no_pattern_has_a_possessive_group() -> None:
    """Python before 3.11.5 matches some of them wrongly: https://github.com/python/cpython/issues/106052."""
    assert _POSSESSIVE_GROUP.search(r"(?:a|b)*+") and _POSSESSIVE_GROUP.search(r"(?:a|b){1,4}+")
    package = Path(mcp_sessions.__file__).parent
    assert [path.name for path in package.rglob("*.py") if _POSSESSIVE_GROUP.search(path.read_text())] == []
