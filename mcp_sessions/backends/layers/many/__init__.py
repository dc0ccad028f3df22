"""Several backends as one: which of them has a session, how their lists are merged, and what happens if one fails."""

from collections.abc import Mapping

from ...base import SessionBackend
from .backend import Many

__all__ = ["Many", "combine_backends"]


def combine_backends(backends: Mapping[str, SessionBackend]) -> SessionBackend:
    """Return one backend for all of these. A single one is returned as it is, whatever its name.

    Raise `ValueError` for a bad name, or if there is none.
    """
    if not backends:
        raise ValueError("no backend is given")
    if len(backends) == 1:
        (only,) = backends.values()
        return only
    return Many(backends)
