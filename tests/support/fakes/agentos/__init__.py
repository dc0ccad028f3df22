"""Agno AgentOS's REST API, as far as a client of sessions sees it, of agno 3.1.10 and 2.5.6.

It answers as the real ones do, their errors, losses and oddities included: D1 to D14 name those that were measured,
in the issue about AgentOS. `tests/backends/agentos/test_fake.py` compares it with them.
"""

from ..http import Request
from .fake import FakeAgentOs, Fault
from .runs import RunInFlight
from .store import Database
from .system import ONE_TABLE, TWO_TABLES, Version

__all__ = ["ONE_TABLE", "TWO_TABLES", "Database", "FakeAgentOs", "Fault", "Request", "RunInFlight", "Version"]
