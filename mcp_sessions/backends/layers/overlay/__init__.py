"""The overlay: a database for the fields of sessions that a system can't store."""

from .backend import Overlay
from .store import OverlayStore

__all__ = ["Overlay", "OverlayStore"]
