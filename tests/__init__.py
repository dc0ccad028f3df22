"""Tests. The servers that they start keep their caches in a temporary folder instead of the user's."""

import atexit
import os
from shutil import rmtree
from tempfile import mkdtemp

_CACHE = mkdtemp(prefix="mcp-sessions-cache-")
os.environ["XDG_CACHE_HOME"] = _CACHE
atexit.register(rmtree, _CACHE, ignore_errors=True)
