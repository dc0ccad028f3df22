"""The overlay: a database for the fields of sessions that a system can't store."""

from .protection import ProtectingOverlay as Overlay
from .store import OverlayStore

__all__ = ["Overlay", "OverlayStore"]
