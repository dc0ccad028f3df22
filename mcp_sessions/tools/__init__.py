"""All tools, by toolset, in the order in which they are offered."""

from .authoring import authoring
from .bulk import bulk
from .history import history
from .sessions import sessions
from .state import state

TOOLSETS = (sessions, history, state, bulk, authoring)
DEFAULT_TOOLSETS = ("sessions", "history", "state")
