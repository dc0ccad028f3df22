"""`local:`, which stands for several backends: the agents found on this machine, and the embedded store."""

from collections.abc import Sequence

from ..backends.registry import BACKENDS
from ..errors import Invalid
from .default_paths import url_in_data_folder

LOCAL = "local:"
_AGENTS = {"claude": "claude-code", "codex": "codex", "opencode": "opencode"}
"""name → scheme."""


def local_backends() -> Sequence[tuple[str, str]]:
    """Return the names and URLs of the agents whose files this user has, and of the store, which has no name."""
    agents = [(name, f"{scheme}:") for name, scheme in _AGENTS.items() if _is_found(scheme)]
    return [*agents, ("", url_in_data_folder("sessions.db"))]


def _is_found(scheme: str) -> bool:
    own_path = BACKENDS[scheme].own_path
    try:
        return own_path is not None and own_path().exists()
    except (Invalid, OSError):  # the home folder is unknown, or not readable
        return False
