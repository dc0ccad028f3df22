"""The limit on how many calls one caller may make in a minute."""

from math import ceil

import anyio

from ..errors import RateLimited

_MOST_SUBJECTS = 10_000


class RateLimiter:
    """A token bucket for each caller, which refills evenly by `per_minute` calls; 0 sets no limit."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, subject: str) -> None:
        """Count a call. Raise `RateLimited`, with the seconds to wait, if it is one too many."""
        if not self._per_minute:
            return
        now = anyio.current_time()
        left, counted_at = self._left.pop(subject, (float(self._per_minute), now))
        left = min(left + (now - counted_at) * self._per_minute / 60, self._per_minute)
        self._left[subject] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _MOST_SUBJECTS:
            del self._left[next(iter(self._left))]  # the caller whose last call is longest ago
        if left < 1:
            seconds = ceil((1 - left) * 60 / self._per_minute)
            raise RateLimited(
                f"more than {self._per_minute} calls a minute. Call again in {seconds} second{'s' * (seconds > 1)}."
            )
