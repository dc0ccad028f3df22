"""Compares the server's answers with those that were sent early, and stores them for the next start."""

import json
import logging
from collections.abc import Mapping
from typing import Any

from .answer_cache import MAX_REQUESTS, RequestKeys
from .early_answers import EarlyAnswers

logger = logging.getLogger(__name__)

_ANNOUNCED = ("tools/list", "prompts/list")


class AnswerCheck:
    """The first requests of a connection, whose answers may have been sent already."""

    def __init__(self, early: EarlyAnswers) -> None:
        self._early = early
        self._keys = RequestKeys()
        self._requests_left = MAX_REQUESTS
        self._requests: dict[str | int, tuple[str, str]] = {}
        self._was_initialized = False

    def on_request(self, request_id: str | int, method: str, params: Mapping[str, Any] | None) -> None:
        """Remember a request that the server is going to answer."""
        self._was_initialized = self._was_initialized or method == "initialize"
        if request_id in self._requests:
            # A mistake of the client: which request an answer is for can't be known, so neither is stored.
            self._requests[request_id] = (method, "")
        if not self._requests_left:
            return
        self._requests_left -= 1
        self._requests.setdefault(request_id, (method, self._keys.key_of(method, params)))

    def bytes_to_send(self, request_id: str | int | None, response: bytes) -> bytes:
        """Return the response, or nothing if it was sent early. Store it for the next start if it is a result.

        If it differs from what was sent, log that, and return a notification that tells the client to ask again, if the
        protocol has one.
        """
        if request_id is None or request_id not in self._requests:
            return response
        method, key = self._requests.pop(request_id)
        sent = self._early.sent.pop(request_id, None)
        result = json.loads(response).get("result") if key else None
        if key:
            self._early.cache.update(key, result)
        if sent is None:
            return response
        if sent == result:
            return b""
        logger.warning(
            "the cached answer to %s was out of date. It is replaced now; reconnect if you miss a change.", method
        )
        # Later versions of the protocol send it only on a stream that the client asked for.
        return _changed(method) if self._was_initialized and method in _ANNOUNCED else b""


def _changed(method: str) -> bytes:
    return json.dumps({"jsonrpc": "2.0", "method": f"notifications/{method}_changed"}).encode() + b"\n"
