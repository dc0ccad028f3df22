"""How often one caller may call."""

from math import ceil

import anyio

from ..errors import RateLimited

_MOST_KEPT = 10_000


class Rate:
    """At most `per_minute` calls of each caller, as a bucket that fills evenly; 0 sets no limit."""

    def __init__(self, per_minute: int) -> None:
        self._per_minute = per_minute
        self._left: dict[str, tuple[float, float]] = {}

    def count(self, subject: str) -> None:
        """Raise `RateLimited`, with the seconds to wait, unless the caller may call now."""
        if not self._per_minute:
            return
        now = anyio.current_time()
        left, counted_at = self._left.pop(subject, (float(self._per_minute), now))
        left = min(left + (now - counted_at) * self._per_minute / 60, self._per_minute)
        self._left[subject] = (left - 1 if left >= 1 else left, now)
        if len(self._left) > _MOST_KEPT:
            del self._left[next(iter(self._left))]  # the one that has called least lately
        if left < 1:
            seconds = ceil((1 - left) * 60 / self._per_minute)
            raise RateLimited(
                f"more than {self._per_minute} calls a minute. Call again in {seconds} second{'s' * (seconds > 1)}."
            )
