"""Several backends as one: routes calls by session id, merges lists, and keeps working if one backend fails."""

from collections.abc import Mapping

from ...base import SessionBackend
from .backend import Many

__all__ = ["Many", "combine_backends"]


def combine_backends(backends: Mapping[str, SessionBackend]) -> SessionBackend:
    """Return one backend that combines several, given by name. A single backend is returned unchanged.

    Raise `ValueError` for a bad name, which a single backend may have, or if there is no backend.
    """
    if not backends:
        raise ValueError("no backend is given")
    if len(backends) == 1:
        (only,) = backends.values()
        return only
    return Many(backends)
