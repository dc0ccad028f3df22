"""Reads each subject's credential for the backend from a file of the operator."""

import json
import logging

from ...json_documents import is_object
from .operator_file import OperatorFile

logger = logging.getLogger(__name__)


class SubjectCredentials:
    """The credentials in a file with a JSON object, subject → credential. If it can't be read, there are none."""

    def __init__(self, path: str) -> None:
        accepts = 'a file such as {"ada": "CREDENTIAL"}'
        self._file = OperatorFile("--backend-tokens", path, _parse, accepts)

    def check(self) -> None:
        """Raise `BadSetting` if the file can't be read or parsed."""
        self._file.check()

    def of_subject(self, subject: str) -> str:
        """Return the subject's credential, "" if there is none."""
        try:
            return self._file.read().get(subject, "")
        except (OSError, ValueError):
            logger.error("%s can't be read, so nobody has a credential for the backend", self._file.path)
            return ""


def _parse(content: bytes) -> dict[str, str]:
    credentials = json.loads(content)
    if not is_object(credentials) or not all(isinstance(value, str) for value in credentials.values()):
        raise ValueError("not an object of strings")
    return credentials
