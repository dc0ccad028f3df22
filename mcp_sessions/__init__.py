"""An MCP server that lets agents look after their sessions, whichever system stores the sessions."""

from importlib import import_module
from typing import TYPE_CHECKING

__version__ = "0.1.0"

if TYPE_CHECKING:
    from .backends.base import Capability, SessionBackend
    from .backends.registry import open_backend
    from .errors import SessionsError
    from .server.sessions_server import create_server

__all__ = ["Capability", "SessionBackend", "SessionsError", "__version__", "create_server", "open_backend"]

_HOMES = {
    "create_server": "server.sessions_server",
    "open_backend": "backends.registry",
    "SessionBackend": "backends.base",
    "Capability": "backends.base",
    "SessionsError": "errors",
}


def __getattr__(name: str) -> object:
    # Loaded on first use, so that `mcp-sessions --help` doesn't wait half a second for the SDK.
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f".{_HOMES[name]}", __name__), name)
