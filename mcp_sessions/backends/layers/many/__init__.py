"""Several backends as one: which of them has a session, how their lists are merged, and what happens if one fails."""

from .backend import Many

__all__ = ["Many"]
