"""The limit on how many calls one caller may make in a minute."""

from math import ceil

import anyio

from ..errors import RateLimited

_MAX_SUBJECTS = 10_000


class RateLimiter:
    """A token bucket for each caller, which refills evenly by `per_minute` calls; 0 sets no limit."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._tokens: dict[str, tuple[float, float]] = {}

    def count(self, subject: str) -> None:
        """Count a call. Raise `RateLimited`, with the seconds to wait, if it is one too many."""
        if not self._per_minute:
            return
        now = anyio.current_time()
        tokens, counted_at = self._tokens.pop(subject, (float(self._per_minute), now))
        tokens = min(tokens + (now - counted_at) * self._per_minute / 60, self._per_minute)
        self._tokens[subject] = (tokens - 1 if tokens >= 1 else tokens, now)
        if len(self._tokens) > _MAX_SUBJECTS:
            del self._tokens[next(iter(self._tokens))]  # the caller who has been idle longest
        if tokens < 1:
            seconds = ceil((1 - tokens) * 60 / self._per_minute)
            raise RateLimited(
                f"more than {self._per_minute} calls a minute. Call again in {seconds} second{'s' * (seconds > 1)}."
            )
