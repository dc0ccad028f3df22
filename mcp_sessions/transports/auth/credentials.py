"""Reads each subject's credentials for the backends from a file of the operator."""

import json
import logging
from collections.abc import Mapping

from ...json_documents import Json, is_object
from .operator_file import OperatorFile

logger = logging.getLogger(__name__)


class SubjectCredentials:
    """The credentials in a file with a JSON object, subject → credential. If it can't be read, there are none.

    Instead of a credential, a subject may have an object, backend name → credential, with "" for the backend without a
    name. `only_name`: the name of the only backend, which has its credential under this name or "".
    """

    def __init__(self, path: str, *, only_name: str = "") -> None:
        accepts = 'a file such as {"ada": "CREDENTIAL"}'
        self._only_name = only_name
        self._file = OperatorFile("--backend-tokens", path, _parse, accepts)

    def check(self) -> None:
        """Raise `BadSetting` if the file can't be read or parsed."""
        self._file.check()

    def of_subject(self, subject: str) -> Mapping[str, str]:
        """Return the subject's credentials by backend name, "" for the backend without a name or the only one."""
        try:
            credentials = self._file.read().get(subject, {})
        except (OSError, ValueError):
            logger.error("%s can't be read, so nobody has a credential for the backend", self._file.path)
            return {}
        return {"": credentials.get(self._only_name, ""), **credentials} if self._only_name else credentials


def _parse(content: bytes) -> dict[str, dict[str, str]]:
    subjects = json.loads(content)
    if not is_object(subjects):
        raise ValueError("not an object")
    return {subject: _by_name(value) for subject, value in subjects.items()}


def _by_name(value: Json) -> dict[str, str]:
    credentials = value if is_object(value) else {"": value}
    if not all(isinstance(credential, str) for credential in credentials.values()):
        raise ValueError("not an object of strings")
    return credentials
