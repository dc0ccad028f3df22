"""Compares the server's answers with those that were sent early, and stores them for the next start."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from .answer_cache import MAX_REQUESTS, RequestKeys, Result
from .early_answers import EarlyAnswers

logger = logging.getLogger(__name__)


class AnswerCheck:
    """The first requests of a connection, whose answers may have been sent already."""

    def __init__(self, early: EarlyAnswers) -> None:
        self._early = early
        self._keys = RequestKeys()
        self._requests_left = MAX_REQUESTS
        self._requests: dict[str | int, tuple[str, str]] = {}

    def on_request(self, request_id: str | int, method: str, params: Mapping[str, Any] | None) -> None:
        """Remember a request that the server is going to answer."""
        if request_id in self._requests:
            # A mistake of the client: which request an answer is for can't be known, so neither is stored.
            self._requests[request_id] = (method, "")
        if not self._requests_left:
            return
        self._requests_left -= 1
        self._requests.setdefault(request_id, (method, self._keys.key_of(method, params)))

    def was_sent(self, request_id: str | int | None, line: bytes) -> bool:
        """Return whether this response was sent early, so that it must not be sent again. Store it if it is a result.

        A response that differs from what was sent is logged: the client continues with the earlier one.
        """
        if request_id is None or request_id not in self._requests:
            return False
        method, key = self._requests.pop(request_id)
        sent = self._early.sent.pop(request_id, None)
        if key:
            self._store(method, key, sent, json.loads(line).get("result"))
        return sent is not None

    def _store(self, method: str, key: str, sent: Result | None, result: Result | None) -> None:
        if sent is not None and sent != result:
            logger.warning(
                "the cached answer to %s was out of date. It is replaced now; reconnect to get the new one.", method
            )
        self._early.cache.update(key, result)
