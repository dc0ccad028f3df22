"""Guayaba's Public API v1, as far as a client of sessions and archives sees it.

No server can be had to compare it with. What is documented it keeps to, and refuses what a server may refuse; what
the documents leave open is a switch of a `Reading`, and `READINGS` has whole sets of those.
"""

from ..http import Request
from .fake import FakeGuayaba
from .faults import Fault, html_page, limited, redirected, shaped
from .readings import READINGS, Reading
from .store import MAIN, Agent, Applied, Archive, Session

__all__ = [
    "MAIN",
    "READINGS",
    "Agent",
    "Applied",
    "Archive",
    "FakeGuayaba",
    "Fault",
    "Reading",
    "Request",
    "Session",
    "html_page",
    "limited",
    "redirected",
    "shaped",
]
