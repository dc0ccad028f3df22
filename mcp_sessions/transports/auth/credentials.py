"""What the backend is called with for each subject, from a file of the operator's."""

import json
import logging

from ...json_documents import is_object
from .operator_file import WatchedFile

logger = logging.getLogger(__name__)


class SubjectCredentials:
    """A JSON object, subject → credential. While it can't be read, nobody has one."""

    def __init__(self, path: str) -> None:
        accepts = 'a file such as {"ada": "CREDENTIAL"}'
        self._file = WatchedFile("--backend-tokens", path, _parsed, accepts)

    def check(self) -> None:
        """Raises `BadSetting` for a file that is no such object."""
        self._file.check()

    def of(self, subject: str) -> str:
        """ "" for a subject that has none."""
        try:
            return self._file.read().get(subject, "")
        except (OSError, ValueError):
            logger.error("%s can't be read, so nobody has a credential for the backend", self._file.path)
            return ""


def _parsed(content: bytes) -> dict[str, str]:
    known = json.loads(content)
    if not is_object(known) or not all(isinstance(value, str) for value in known.values()):
        raise ValueError("no object of strings")
    return known
