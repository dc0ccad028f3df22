"""The overlay: what a system can't store about its sessions is kept beside it, in a database of our own."""

from .backend import Overlay
from .store import OverlayStore

__all__ = ["Overlay", "OverlayStore"]
