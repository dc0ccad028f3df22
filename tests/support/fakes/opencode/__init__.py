"""The first version of opencode's REST API, as far as a client of sessions sees it.

The contract suite runs on this fake and on a real server, so that they stay alike.
"""

from ..http import Request
from .fake import FakeOpencode, Fault
from .seeds import SeededSession, seeded

__all__ = ["FakeOpencode", "Fault", "Request", "SeededSession", "seeded"]
