"""A layer that gives a backend a full-text index, for systems that can't search all of their sessions."""

from .backend import Indexed
from .store import IndexStore

__all__ = ["IndexStore", "Indexed"]
